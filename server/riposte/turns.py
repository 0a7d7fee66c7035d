"""A session's turns: begun, held ready, cancelled, ended, kept. Each is a task of its own (turn/pipeline).

What happens is told to the machine (turn/machine), and what it decides is carried out here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence

from riposte.conversation import Exchange
from riposte.errors import BadValue, ClientError, Draining, TooLarge
from riposte.history_db import Stored
from riposte.interfaces import SPEECH_RATE_HZ, Heard, Message, Models
from riposte.log import log_turn
from riposte.metrics import Metrics
from riposte.recording import Recording
from riposte.settings import Settings
from riposte.turn.admission import Admission, needs
from riposte.turn.draft import Draft
from riposte.turn.endpoint import Started, Stopped
from riposte.turn.gate import Gate
from riposte.turn.machine import Action, CancelReply, DropTurn, SetGain, StartTurn, TurnMachine
from riposte.turn.outbox import Outbox
from riposte.turn.pipeline import Turn
from riposte.turn.rate import Rate
from riposte.turn.spec import TurnEnd
from riposte.turn.tool_rounds import NOT_WAITED_FOR
from riposte.turn.utterance import Utterance
from riposte.turn_making import TurnMaking, Words
from riposte.wire import frames as wire


class Turns:
    """The turns of one session, and its floor (turn_taking.Floor).

    `outbox` is that of whoever is connected; turns begin while there is one. `clear_draft` is called when a
    turn that is held ready would answer what is no longer so.
    """

    def __init__(
        self,
        making: TurnMaking,
        models: Models,
        metrics: Metrics,
        *,
        settings: Callable[[], Settings],
        defaults: Settings,
        clear_draft: Callable[[], None],
        admission: Admission,
    ) -> None:
        self.outbox: Outbox | None = None
        self.recording: Recording | None = None  # of its connection
        self.draining = False
        self.used_at = making.clock.now()
        self._id = making.key
        self._models = models
        self._config = making.config
        self._metrics = metrics
        self._memory = making.memory
        self._settings = settings
        self._defaults = defaults
        self._clear_draft = clear_draft
        self._making = making
        self._session_at = making.session_at
        self._echo = making.echo
        self._clock = making.clock
        self._admission = admission
        self._machine = TurnMachine(self._memory.turn)
        self._turn: Turn | None = None
        self._spoken: tuple[Utterance, int] | None = None  # what was said last, and the turn that answers it
        self._released_at: int | None = None  # session sample at which its reply began to be given
        self._tasks: set[asyncio.Task[None]] = set()  # of turns, and of what is done between them
        self._rate = Rate(self._config.limits.turns_per_minute)

    @property
    def current(self) -> Turn | None:
        """The turn in progress."""
        return self._turn

    @property
    def busy(self) -> bool:
        """Does a model owe the turn in progress something?"""
        return self._turn is not None and self._turn.busy

    async def aclose(self) -> None:
        """End every task. What does not within `turn.stop_deadline_s` is left."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._config.turn.stop_deadline_s)

    # -- what the client asks for

    def admit(self, text: str | None = None, draft: Draft | None = None) -> None:
        """Raise what refuses a new turn, one that was held ready or not."""
        limits = self._config.limits
        if self.draining:
            raise Draining("the server is shutting down; no new turn is taken")
        if (refusal := self._memory.refusal) is not None:
            raise refusal
        if text is not None and len(text) > limits.text_chars:
            raise TooLarge(f"the text has {len(text)} characters; {limits.text_chars} are allowed")
        now = self._clock.now()
        self._rate.check(now)
        self._admission.admit(draft.turn.stages if draft is not None and draft.turn is not None else None)
        self._rate.count(now)

    def text(self, text: str, zero: float) -> None:
        """Answer a typed text."""
        self._clear_draft()
        self._act(self._machine.on_text(text), zero)

    def say(self, text: str, voice: str | None, zero: float) -> None:
        """Speak a text as it stands."""
        self._clear_draft()
        self._act(self._machine.on_say(text, voice), zero)

    def end(self, utterance: Utterance, zero: float) -> None:
        """Answer what was heard: the client says that it is all."""
        self.supersede(utterance)
        self._act(self._machine.on_end(), zero, words=utterance.transcribe, release=utterance.close)

    def cancel(self) -> None:
        """Stop the reply in progress. What it answered is done with."""
        self._spoken = None
        self._act(self._machine.on_cancel())

    def clear(self) -> None:
        """Forget that speech was announced as a turn."""
        self._act(self._machine.on_clear())

    def tool_result(self, call: str, content: str) -> None:
        """Take a tool's answer. Raises BadValue or TooLarge."""
        if self._turn is None:
            raise BadValue(NOT_WAITED_FOR)
        self._turn.tool_result(call, content, self._config.limits.text_chars)

    def played(self, turn: int, ms: int) -> None:
        """Believe how much the client has played of a turn. Raises BadValue."""
        if ms < 0:
            raise BadValue(f"played.ms is {ms}; it counts from 0")
        current = self._turn
        if current is not None and current.spec.number == turn and current.playback is not None:
            current.playback.played(ms)
            return
        if (exchange := self._memory.played(turn, ms)) is not None:
            self._clear_draft()  # it answers a conversation that has changed
            self._keep(exchange)

    # -- the floor

    @property
    def replying(self) -> bool:
        """Is there a reply that a voice would interrupt?"""
        return self._machine.reply is not None

    def resumable(self, at: int) -> bool:
        """Would speech that began at this session sample go on with what was answered last?"""
        if self._spoken is None or self._spoken[1] != self._machine.turn:
            return False  # nothing was said, or something else has been asked since
        if self._released_at is None:
            return self._turn is not None
        return at - self._released_at <= self._config.turn.join_ms * SPEECH_RATE_HZ // 1000

    def conversation(self, words: str) -> list[Message]:
        """Return the conversation with these words of the user at its end."""
        return self._memory.prompt(self._settings(), words)

    def voice(self, event: Started | Stopped) -> None:
        """Tell the client what its microphone hears."""
        if self.outbox is not None:
            at_ms = event.at * 1000 // SPEECH_RATE_HZ
            self.outbox.put_now(wire.Speech("started" if isinstance(event, Started) else "stopped", at_ms))

    def partial(self, heard: Heard) -> None:
        """Show the client the words so far."""
        if self.outbox is not None and self.outbox.close_code is None:
            turn = self._machine.on_partial()
            self.outbox.begin(turn)
            self.outbox.put_now(wire.Transcript(turn, heard.text, heard.stable, False))

    def onset(self) -> None:
        """There may be a voice: duck the reply."""
        self._act(self._machine.on_onset())

    def no_barge_in(self) -> None:
        """It was none that wants the floor: let the reply go on."""
        self._act(self._machine.on_no_barge_in())

    def barge_in(self, utterance: Utterance) -> None:
        """Stop the reply, for this is said over it."""
        continued = self._goes_on(utterance) == self._machine.reply
        if actions := self._machine.on_barge_in(continued=continued):
            self._metrics.count_barge_in()
        self._act(actions)

    def hold(self, draft: Draft) -> Turn:
        """Begin the turn that would follow, without anybody knowing."""
        outbox = self.outbox
        assert outbox is not None, "speech is heard on a connection's frames only"
        self._metrics.count_draft("made")
        action = StartTurn(self._machine.next_spoken, "speech")
        if self.recording is not None:
            self.recording.note("HoldTurn", {"turn": action.turn, "paused_at": draft.at})
        return self._begin(action, Gate(outbox, closed=True), draft.words, draft.turn_over)

    def dropped(self) -> None:
        """A turn that was held was given up."""
        self._metrics.count_draft("dropped")
        if self.recording is not None:
            self.recording.note("DropHeldTurn", {})

    def finished(self, utterance: Utterance, draft: Draft | None) -> None:
        """Begin the turn that the user has finished. Raises ClientError when it is refused."""
        try:
            self.admit(draft=draft)
        except ClientError:
            self.clear()
            raise
        if draft is None:
            self.supersede(utterance)
        self._spoken = (utterance, self._machine.next_spoken)
        actions, zero = self._machine.on_voice_stopped(), utterance.zero
        if draft is None:
            self._act(actions, zero, words=utterance.transcribe)
        else:
            self._act(actions, zero, words=draft.words, release=draft.close, draft=draft)

    def _goes_on(self, utterance: Utterance) -> int | None:
        """Return the turn that has answered the beginning of this, if one has."""
        if utterance.continued and self._spoken is not None and self._spoken[0] is utterance:
            return self._spoken[1]
        return None

    def supersede(self, utterance: Utterance) -> None:
        """All of this is answered now: who answered its beginning leaves the conversation."""
        turn = self._goes_on(utterance)
        if self._turn is not None and self._turn.spec.number == turn:
            self._turn.continued = True
        elif turn is not None and self._memory.forget(turn):
            self._keep(None, forgotten=turn)

    # -- carried out

    def _act(
        self,
        actions: list[Action],
        zero: float = 0.0,
        *,
        words: Words | None = None,
        release: Callable[[], None] | None = None,
        draft: Draft | None = None,
    ) -> None:
        outbox = self.outbox
        if self.recording is not None:
            self.recording.decided(actions)
        for action in actions:
            match action:
                case CancelReply(turn, reason, continued):
                    self._cancel(turn, reason, continued)
                case SetGain(turn, gain):
                    current = self._turn
                    if outbox is None or current is None or current.spec.number != turn:
                        continue
                    if "audio" in current.spec.modalities:
                        outbox.put_now(wire.Playback(turn, gain))
                        if (echo := self._echo()) is not None:
                            echo.gain(gain, self._session_at())
                case StartTurn():
                    self._start(action, zero, words, release, draft)
                case DropTurn(turn):
                    if outbox is not None:
                        done = wire.Done(turn, "dropped", None, wire.Usage(), wire.Timing("speech"))
                        outbox.end(done, self._keep(None))
                        self._metrics.observe_done(done)
                        log_turn(self._id, done)

    def _cancel(self, turn: int, reason: wire.EndReason, continued: bool) -> None:
        current = self._turn
        if current is None or current.spec.number != turn:
            return
        current.continued = current.continued or continued
        outbox = current.gate.outbox
        outbox.retire(turn)  # first: from here on nothing of it can follow
        if current.playback is not None and current.playback.sent_ms:
            outbox.put_now(wire.Playback(turn, 0.0))
            if (echo := self._echo()) is not None:
                echo.stopped(self._session_at())
        current.stop(reason)

    def _start(
        self,
        action: StartTurn,
        zero: float,
        words: Words | None,
        release: Callable[[], None] | None,
        draft: Draft | None,
    ) -> None:
        outbox = self.outbox
        assert outbox is not None, "turns start on a connection's frames only"
        outbox.begin(action.turn)
        turn = None if draft is None else draft.ready(action.turn)
        if turn is None:
            if draft is not None and draft.drop_turn():
                self.dropped()  # it failed: now the client is told
            turn = self._begin(action, Gate(outbox), words, release)
            turn.zero, turn.announced = zero, action.announced
        else:
            assert draft is not None
            self._metrics.count_draft("used", saved_s=self._clock.now() - draft.begun)
            turn.announced = action.announced
            turn.open(zero)
        self._turn = turn
        self._released_at = None if "audio" in turn.spec.modalities else self._session_at()

    def _begin(
        self, action: StartTurn, gate: Gate, words: Words | None, release: Callable[[], None] | None
    ) -> Turn:
        settings = self._settings()

        def released() -> None:
            self._admission.end(new.stages)
            if release is not None:
                release()

        spec = self._making.spec(action, settings, words, released)
        new = Turn(spec, self._models, gate, lambda end: self._on_end(gate.outbox, end))
        stages = needs(hears=words is not None, thinks=not action.say, sounds="audio" in spec.modalities)
        self._admission.begin(new.stages, stages, self._clock.now())
        task = self._spawn(new.run(self._turn), f"turn-{self._id[-6:]}-{action.turn}")
        task.add_done_callback(lambda _: new.conclude(new.reason or "cancelled"))
        return new

    def _on_end(self, outbox: Outbox, end: TurnEnd) -> None:
        """Keep what a finished turn leaves, and tell the client that it is over. Awaits nothing."""
        done = end.done
        self._machine.on_ended(done.turn, unseen=end.unseen)
        exchange = self._memory.add(end)
        if self._turn is not None and self._turn.spec.number == done.turn:
            self._turn = None
        unanswered = done.reason in ("error", "dropped")
        if unanswered and self._spoken is not None and self._spoken[1] == done.turn:
            self._spoken = None  # there is nothing to go on with
        if end.unseen:
            outbox.forget(done.turn)
        else:
            outbox.end(done, self._keep(exchange))
            self._metrics.observe_done(done)
        self._metrics.count_tool_calls(end.tool_calls)
        if end.playback is not None:
            self._metrics.count_starved(end.playback.starved_s)
        log_turn(self._id, done, end.tool_calls, user=end.user, reply=end.reply, heard=end.heard)
        self.used_at = self._clock.now()
        if end.user and self._memory.make_room(self._settings(), end.context_tokens):
            # Now, while nobody waits, the shorter conversation is brought into the model's cache.
            self._clear_draft()
            self._spawn(self._prefill(), f"prefill-{self._id[-6:]}")

    def _keep(
        self, exchange: Exchange | None, forgotten: int | None = None
    ) -> asyncio.Future[ClientError | None] | None:
        """Have the session as it stands written to disk, with this turn of it."""
        return self._memory.keep(self._settings(), self._defaults, self._machine.turn, exchange, forgotten)

    def stored(self) -> Stored:
        """Return the session as it stands."""
        return self._memory.stored(self._settings(), self._defaults, self._machine.turn)

    async def _prefill(self) -> None:
        settings = self._settings()
        prompt = self._memory.prompt(settings)
        with contextlib.suppress(TimeoutError):  # a hint: nobody waits for it
            async with asyncio.timeout(self._config.turn.llm_deadline_s):
                await self._models.llm.prefill(prompt, key=self._id, tools=settings.tools)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def sent(self, frames: Sequence[wire.ServerFrame]) -> None:
        """Note what was handed over to the connection."""
        if self.recording is not None:
            self.recording.sent(frames)
        sound_bytes, turn = 0, self._turn
        for frame in frames:
            if isinstance(frame, wire.AudioOut):
                sound_bytes += len(frame.pcm)
                if frame.seq == 0 and turn is not None and turn.spec.number == frame.turn:
                    turn.first_audio_sent()
                    self._released_at = self._session_at()
            elif isinstance(frame, wire.ToolCall) and self._released_at is None:
                self._released_at = self._session_at()  # what it asks for is being done
        self._metrics.count_frames_out(len(frames), sound_bytes / 2 / self._settings().audio_out_hz)
