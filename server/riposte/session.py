"""One client: its settings, microphone, conversation, turns, and the outbox of whoever is connected.

Frames are acted on one after the other (`receive`); each turn is a task of its own (turn/pipeline), which
waits for the end of the one before it. `aclose` ends what is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Coroutine, Sequence

from riposte.config import Config
from riposte.conversation import Exchange
from riposte.errors import BadValue, ClientError, Draining, RateLimited, TooLarge
from riposte.hearing import HEARING_SETTINGS, Hearing
from riposte.interfaces import SPEECH_RATE_HZ, Heard, Models, Sampling
from riposte.log import log_turn
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.settings import Settings, default_settings, known_voice, patched, restored
from riposte.turn.endpoint import Started, Stopped
from riposte.turn.held import HeldAudio
from riposte.turn.machine import Action, CancelReply, DropTurn, StartTurn, TurnMachine
from riposte.turn.microphone import Utterance
from riposte.turn.outbox import Outbox
from riposte.turn.pipeline import Turn
from riposte.turn.spec import Deadlines, TurnEnd, TurnSpec
from riposte.turn.tool_rounds import NOT_WAITED_FOR
from riposte.wire import frames as wire


class Session:
    """One client's side of the server. `paced` False: sound leaves as fast as it is made."""

    def __init__(
        self,
        session_id: str,
        models: Models,
        config: Config,
        metrics: Metrics,
        held_audio: HeldAudio,
        memory: Memory,
        *,
        paced: bool = True,
    ) -> None:
        self.id = session_id
        self.draining = False
        self.used_at = time.monotonic()
        self._models = models
        self._config = config
        self._metrics = metrics
        self._paced = paced
        self._memory = memory
        self._defaults = default_settings(
            models,
            instructions=config.llm.instructions,
            max_tokens=config.llm.max_tokens,
            temperature=config.llm.temperature,
        )
        self.settings = restored(memory.settings, self._defaults, models, config.limits)
        self._machine = TurnMachine(memory.turn)
        self._hearing = Hearing(
            models,
            config,
            held_audio,
            settings=lambda: self.settings,
            voice=self._voice,
            finished=self._finished,
            partial=self._partial,
            refused=self._refused,
        )
        self._outbox: Outbox | None = None
        self._turn: Turn | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # of turns, and of what is done between them
        self._left = asyncio.Event()  # no client is connected
        self._left.set()
        self._turn_times: deque[float] = deque(maxlen=config.limits.turns_per_minute)

    # -- the connection

    @property
    def attached(self) -> bool:
        """Is a client connected?"""
        return self._outbox is not None

    async def turns_over(self) -> None:
        """Wait until no turn is in progress."""
        while self._turn is not None:
            await self._turn.ended.wait()

    async def left(self) -> None:
        """Wait until no client is connected."""
        await self._left.wait()

    @property
    def in_turn(self) -> bool:
        """Is a turn in progress?"""
        return self._turn is not None

    @property
    def outbox_bytes(self) -> int:
        """How much waits to be sent to its client."""
        return 0 if self._outbox is None else self._outbox.waiting_bytes

    def attach(self) -> Outbox:
        """Begin a connection; an older one is closed with 4001. Return what it must send."""
        self.hang_up(4001, "a newer connection took this session over")
        self._outbox = Outbox(self._config.limits.outbox_bytes, self._on_sent)
        self._left.clear()
        return self._outbox

    def detach(self, outbox: Outbox) -> None:
        """End that connection: its reply is cancelled, what it said and was told is kept."""
        if outbox is not self._outbox:
            return  # a newer one took over
        self.cancel()
        self._act(self._machine.on_clear())
        self._outbox = None
        self._left.set()
        self._hearing.close()
        self.used_at = time.monotonic()

    def cancel(self) -> None:
        """Stop the reply in progress, as the client's `cancel` does."""
        self._act(self._machine.on_cancel())

    def bid_farewell(self, code: int, error: ClientError) -> None:
        """Tell the client why, then close its connection with this WebSocket code."""
        if self._outbox is not None:
            self._act(self._machine.on_clear())  # an utterance still open will not become a turn
            self._outbox.put_now(wire.Error(error.code, str(error)))
            self._outbox.close(code, str(error))

    def hang_up(self, code: int, reason: str) -> None:
        """Cancel the reply and close the connection with this WebSocket code, without an error."""
        if self._outbox is not None:
            outbox = self._outbox
            self.detach(outbox)
            outbox.close(code, reason)

    def keep_nothing(self) -> None:
        """Write nothing more to disk, whenever the turn in progress ends: the session was deleted."""
        self._memory.keep_nothing()

    async def aclose(self) -> None:
        """End everything that the session started. What does not within `turn.stop_deadline_s` is left."""
        if self._outbox is not None:
            self.detach(self._outbox)
        await self._hearing.aclose()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._config.turn.stop_deadline_s)
        self._models.llm.forget(self.id)

    # -- frames

    async def receive(self, frame: wire.ClientFrame) -> None:
        """Act on one frame of the client. Raises ClientError, and then nothing of the frame was used."""
        now = time.monotonic()
        heard_s = len(frame.pcm) / 2 / self.settings.audio_in_hz if isinstance(frame, wire.AudioIn) else 0.0
        self._metrics.count_frame_in(heard_s)
        match frame:
            case wire.AudioIn(pcm):
                await self._hearing.audio(pcm, now)
            case wire.Text(text):
                self._admit(text)
                self._act(self._machine.on_text(text), zero=now)
            case wire.Say(text, voice):
                self._admit(text)
                if voice is not None:
                    known_voice(voice, self._models)
                self._act(self._machine.on_say(text, voice), zero=now)
            case wire.End():
                self._admit()
                outbox = self._outbox
                utterance = await self._hearing.end(now)
                if outbox is not self._outbox:
                    utterance.close()  # a newer connection took over meanwhile
                else:
                    self._act(self._machine.on_end(), zero=now, utterance=utterance)
            case wire.Cancel():
                self.cancel()
            case wire.Clear():
                await self._hearing.clear()
                self._act(self._machine.on_clear())
            case wire.Played(turn, ms):
                self._played(turn, ms)
            case wire.Mark():
                await self._put(frame)
            case wire.ToolResult(call, content):
                if self._turn is None:
                    raise BadValue(NOT_WAITED_FOR)
                self._turn.tool_result(call, content, self._config.limits.text_chars)
            case wire.Hello():
                await self.hello(frame, resumed=False)

    async def hello(self, hello: wire.Hello, *, resumed: bool) -> None:
        """Apply a `hello` from the next turn on, and answer it."""
        if hello.session not in (None, self.id):
            raise BadValue("a connection has one session; open another connection for that one")
        changed = self._changed(hello)
        if any(getattr(changed, name) != getattr(self.settings, name) for name in HEARING_SETTINGS):
            await self._hearing.clear()
        self.configure(hello)
        new, models = self.settings, self._models
        await self._put(
            wire.Ready(
                version=wire.PROTOCOL_VERSION,
                session=self.id,
                resumed=resumed,
                audio_in_hz=new.audio_in_hz,
                audio_out_hz=new.audio_out_hz,
                models=wire.ModelNames(models.asr.name, models.llm.name, models.tts.name, models.vad.name),
                voices=[voice.id for voice in models.tts.voices],
            )
        )

    def configure(self, hello: wire.Hello) -> None:
        """Apply a `hello`'s settings; audio that no turn has used is forgotten where they change hearing."""
        old, self.settings = self.settings, self._changed(hello)
        if any(getattr(old, name) != getattr(self.settings, name) for name in HEARING_SETTINGS):
            self._hearing.close()
            self._act(self._machine.on_clear())

    def _changed(self, hello: wire.Hello) -> Settings:
        return patched(self.settings, hello, self._defaults, self._models, self._config.limits)

    def _admit(self, text: str | None = None) -> None:
        """Raise what refuses a new turn."""
        limits = self._config.limits
        if self.draining:
            raise Draining("the server is shutting down; no new turn is taken")
        if (refusal := self._memory.refusal) is not None:
            raise refusal
        if text is not None and len(text) > limits.text_chars:
            raise TooLarge(f"the text has {len(text)} characters; {limits.text_chars} are allowed")
        now = time.monotonic()
        if len(self._turn_times) == limits.turns_per_minute and now - self._turn_times[0] < 60:
            wait_s = 60 - (now - self._turn_times[0])
            sentence = f"more than {limits.turns_per_minute} turns a minute; try in {wait_s:.0f} s"
            raise RateLimited(sentence, math.ceil(wait_s))
        self._turn_times.append(now)

    # -- hearing

    async def _voice(self, event: Started | Stopped) -> None:
        started, outbox = isinstance(event, Started), self._outbox
        await self._put(wire.Speech("started" if started else "stopped", event.at * 1000 // SPEECH_RATE_HZ))
        if started and outbox is self._outbox:  # else a newer connection took over meanwhile
            if actions := self._machine.on_voice_started():
                self._metrics.count_barge_in()
            self._act(actions)

    def _finished(self, utterance: Utterance) -> None:
        try:
            self._admit()
        except ClientError:
            self._act(self._machine.on_clear())
            raise
        self._act(self._machine.on_voice_stopped(), zero=utterance.zero, utterance=utterance)

    async def _partial(self, heard: Heard) -> None:
        if self._outbox is not None:
            if self._machine.announced is None:
                self._metrics.count_draft("shown")
            turn = self._machine.on_partial()
            self._outbox.begin(turn)
            await self._put(wire.Transcript(turn, heard.text, heard.stable, False))

    async def _refused(self, error: ClientError) -> None:
        await self._put(wire.Error(error.code, str(error)))

    # -- turns

    def _act(
        self, actions: list[Action], *, zero: float | None = None, utterance: Utterance | None = None
    ) -> None:
        for action in actions:
            match action:
                case CancelReply(turn, reason):
                    self._cancel(turn, reason)
                case StartTurn():
                    if action.announced:
                        self._metrics.count_draft("used")
                    self._start(action, zero if zero is not None else 0.0, utterance)
                case DropTurn(turn):
                    self._metrics.count_draft("dropped")
                    if self._outbox is not None:
                        done = wire.Done(turn, "dropped", None, wire.Usage(), wire.Timing("speech"))
                        self._outbox.end(done, self._keep(None))
                        self._metrics.observe_done(done)
                        log_turn(self.id, done)

    def _cancel(self, turn: int, reason: wire.EndReason) -> None:
        current = self._turn
        if current is None or current.spec.number != turn:
            return
        outbox = current.outbox
        outbox.retire(turn)  # first: from here on nothing of it can follow
        if current.playback is not None and current.playback.sent_ms:
            outbox.put_now(wire.Playback(turn, 0.0))
        current.stop(reason)

    def _start(self, action: StartTurn, zero: float, utterance: Utterance | None) -> None:
        outbox = self._outbox
        assert outbox is not None, "turns start on a connection's frames only"
        settings, turn = self.settings, self._config.turn
        spec = TurnSpec(
            number=action.turn,
            clock=action.clock,
            zero=zero,
            text=action.text,
            utterance=utterance,
            say=action.say,
            modalities=frozenset({"audio"}) if action.say else settings.modalities,
            voice=action.voice or settings.voice,
            audio_out_hz=settings.audio_out_hz,
            sampling=Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature),
            conversation_key=self.id,
            tools=settings.tools,
            tool_rounds=turn.tool_rounds,
            ahead_ms=turn.ahead_ms if self._paced else None,
            deadlines=Deadlines(
                asr_s=turn.asr_deadline_s,
                llm_s=turn.llm_deadline_s,
                tts_s=turn.tts_deadline_s,
                tool_s=turn.tool_deadline_s,
                stop_s=turn.stop_deadline_s,
            ),
            prompt=lambda user: self._memory.prompt(settings, user),
            shorten=lambda own: self._memory.shorten(settings, own),
        )
        outbox.begin(action.turn)
        new = Turn(spec, self._models, outbox, lambda end: self._on_end(outbox, end), action.announced)
        self._turn, before = new, self._turn
        task = self._spawn(new.run(before), f"turn-{self.id[-6:]}-{action.turn}")
        task.add_done_callback(lambda _: new.conclude(new.reason or "cancelled"))

    def _on_end(self, outbox: Outbox, end: TurnEnd) -> None:
        """Keep what a finished turn leaves, and tell the client that it is over. Awaits nothing."""
        done = end.done
        self._machine.on_ended(done.turn, unseen=end.unseen)
        exchange = self._memory.add(end)
        if self._turn is not None and self._turn.spec.number == done.turn:
            self._turn = None
        if end.unseen:
            outbox.forget(done.turn)
        else:
            outbox.end(done, self._keep(exchange))
            self._metrics.observe_done(done)
        self._metrics.count_tool_calls(end.tool_calls)
        log_turn(self.id, done, end.tool_calls, user=end.user, reply=end.reply, heard=end.heard)
        self.used_at = time.monotonic()
        if end.user and self._memory.make_room(self.settings, end.context_tokens):
            # Now, while nobody waits, the shorter conversation is brought into the model's cache.
            self._spawn(self._prefill(), f"prefill-{self.id[-6:]}")

    def _keep(self, exchange: Exchange | None) -> asyncio.Future[ClientError | None] | None:
        """Have the session as it stands written to disk, with this turn of it."""
        return self._memory.keep(self.settings, self._defaults, self._machine.turn, exchange)

    async def _prefill(self) -> None:
        prompt = self._memory.prompt(self.settings)
        with contextlib.suppress(TimeoutError):  # a hint: nobody waits for it
            async with asyncio.timeout(self._config.turn.llm_deadline_s):
                await self._models.llm.prefill(prompt, key=self.id, tools=self.settings.tools)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _played(self, turn: int, ms: int) -> None:
        if ms < 0:
            raise BadValue(f"played.ms is {ms}; it counts from 0")
        current = self._turn
        if current is not None and current.spec.number == turn and current.playback is not None:
            current.playback.played(ms)
            return
        if (exchange := self._memory.played(turn, ms)) is not None:
            self._keep(exchange)

    def _on_sent(self, frames: Sequence[wire.ServerFrame]) -> None:
        sound_bytes, turn = 0, self._turn
        for frame in frames:
            if isinstance(frame, wire.AudioOut):
                sound_bytes += len(frame.pcm)
                if frame.seq == 0 and turn is not None and turn.spec.number == frame.turn:
                    turn.first_audio_sent()
        self._metrics.count_frames_out(len(frames), sound_bytes / 2 / self.settings.audio_out_hz)

    async def _put(self, frame: wire.ServerFrame) -> None:
        if self._outbox is not None:
            await self._outbox.put(frame)
