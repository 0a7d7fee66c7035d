"""Whose turn it is: what the user's voice does becomes pauses, ends, barge-ins and backchannels.

Every decision is a function of what was heard, at the sample where it falls due: what a model has to say is
waited for, with the microphone held back meanwhile. So a recorded talk is decided the same at any speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Protocol

from riposte.config import Config
from riposte.errors import ClientError
from riposte.interfaces import Heard, Message, Models, PcmF32, Priority
from riposte.settings import Settings
from riposte.turn.backchannel import wish_of
from riposte.turn.draft import Budget, Draft, Verdict
from riposte.turn.endpoint import Due, Faded, Onset, Paused, Resumed, Started, Stopped
from riposte.turn.finished import wait_ms
from riposte.turn.microphone import Microphone, MicrophoneEvent, Tick
from riposte.turn.pipeline import Turn
from riposte.turn.utterance import Utterance

log = logging.getLogger(__name__)

_JUDGE_MS = 190  # of voice over a reply, before its words are looked at; then at every tick
_AGREED = 2  # looks in a row that want the floor: one alone may have cut a word in two
_LONG_MS = 300  # of voice, in which a backchannel would be told: one look is enough
_PARTIAL_TICKS = 4  # 256 ms of speech between two looks at its words
_NO_WORDS_MS = 400  # of silence after what has no words
_OPINION_S = 0.5  # for the language model and the turn detector to say whether a turn is over


class Floor(Protocol):
    """The session, as turn-taking sees it: who has the floor, and what can be done about it."""

    @property
    def replying(self) -> bool:
        """Is there a reply that a voice would interrupt?"""

    def resumable(self, at: int) -> bool:
        """Would speech that began at this session sample go on with what is being answered?"""

    def conversation(self, words: str) -> list[Message]:
        """Return the conversation with these words of the user at its end."""

    def voice(self, event: Started | Stopped) -> None:
        """Tell the client what its microphone hears."""

    def partial(self, heard: Heard) -> None:
        """Show the client the words so far."""

    def onset(self) -> None:
        """There may be a voice: duck the reply."""

    def no_barge_in(self) -> None:
        """It was none that wants the floor: let the reply go on."""

    def barge_in(self, utterance: Utterance) -> None:
        """Stop the reply, for this is said over it."""

    def supersede(self, utterance: Utterance) -> None:
        """All of this is to be answered: a turn that answered its beginning leaves the conversation."""

    def hold(self, draft: Draft) -> Turn:
        """Begin the turn that would follow, without anybody knowing."""

    def dropped(self) -> None:
        """A turn that was held was given up."""

    def finished(self, utterance: Utterance, draft: Draft | None) -> None:
        """The user has finished: begin the turn. Raises ClientError when it is refused."""


class TurnTaking:
    """Judges one microphone's events. It owns its tasks; `drop` and `aclose` end them."""

    def __init__(
        self,
        models: Models,
        config: Config,
        floor: Floor,
        *,
        key: str,
        settings: Callable[[], Settings],
        now: Callable[[], float],
    ) -> None:
        self._models = models
        self._config = config.turn
        self._floor = floor
        self._key = key
        self._settings = settings
        self._now = now
        self._budget = Budget(config.turn.drafts_per_second)
        self._draft: Draft | None = None
        self._over_reply = False  # the voice sounds over a reply, and it is not known what it wants
        self._agreed = 0
        self._listens = False  # what was said over the reply, up to this pause, wants nothing
        self._ticks = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._verdicts: set[asyncio.Task[Verdict]] = set()

    @property
    def busy(self) -> bool:
        """Does a model owe it something?"""
        return bool(self._tasks or self._verdicts) or (self._draft is not None and self._draft.busy)

    def drop(self) -> None:
        """Give up the answer that is held ready, for something else comes first. The words stay."""
        if self._draft is not None and self._draft.drop_turn():
            self._floor.dropped()

    def _give_up(self) -> None:
        """Forget a pause that was none."""
        self.drop()
        if self._draft is not None:
            self._draft.close()
            self._draft = None

    def reset(self) -> None:
        """Forget what the voice was about."""
        self._give_up()
        self._stop_looking()
        self._over_reply = self._listens = False
        self._floor.no_barge_in()  # also of an onset that will not become speech now

    async def aclose(self, deadline_s: float) -> None:
        """End the tasks."""
        self.reset()
        for task in (*self._tasks, *self._verdicts):
            task.cancel()
        if left := (*self._tasks, *self._verdicts):
            await asyncio.wait(left, timeout=deadline_s)

    async def heard(self, event: MicrophoneEvent, mic: Microphone, now: float) -> ClientError | None:
        """Act on an event; return what refused a turn, if anything did."""
        match event:
            case Onset():
                self._floor.onset()
            case Faded():
                self._floor.no_barge_in()
            case Started():
                self._begin(event)
            case Tick(voice_ms):
                await self._look(mic, voice_ms)
            case Paused():
                await self._pause(event, mic)
            case Due():
                await self._due(mic)
            case Resumed():
                self._listens = False
                self._give_up()
                if self._over_reply:
                    self._floor.onset()
            case Stopped():
                return self._end(event, mic, now)
        return None

    def _begin(self, event: Started) -> None:
        self._floor.voice(event)
        self._ticks, self._agreed, self._listens = 0, 0, False
        self._over_reply = self._floor.replying

    async def _look(self, mic: Microphone, voice_ms: int) -> None:
        """Listen to what is said while it is said."""
        utterance = mic.utterance
        assert utterance is not None
        self._ticks += 1
        if self._over_reply:
            if voice_ms >= _JUDGE_MS:
                await self._judge(utterance, sure=voice_ms >= _LONG_MS or utterance.continued)
        elif self._ticks % _PARTIAL_TICKS == 0 and utterance.idle and not self._tasks:
            self._spawn(self._show(utterance, utterance.samples), "partial")

    async def _judge(self, utterance: Utterance, *, sure: bool, cut: bool = True) -> None:
        """Find out what a voice over a reply wants.

        `sure`: one look is enough. `cut`: its last word may not be whole.
        """
        if not self._floor.replying:
            self._over_reply = False  # the reply is over: this is no interruption any more
            return
        try:
            async with asyncio.timeout(_OPINION_S):
                words = utterance.since_answered((await utterance.transcribe()).text)
                wish = wish_of(words, cut=cut)
        except (TimeoutError, ClientError):
            wish = "speaks"  # who cannot be understood is at least let speak
        self._agreed = self._agreed + 1 if wish == "speaks" else 0
        if self._agreed >= (1 if sure else _AGREED) and self._over_reply:
            self._interrupt(utterance)

    def _interrupt(self, utterance: Utterance) -> None:
        self._over_reply = False
        self._floor.barge_in(utterance)

    async def _pause(self, event: Paused, mic: Microphone) -> None:
        """Prepare an answer, in case this is the end."""
        utterance = mic.utterance
        assert utterance is not None
        if self._over_reply:
            await self._judge(utterance, sure=True, cut=False)
            if mic.closed:
                return  # its client left, or another took over, meanwhile
            if self._over_reply:
                self._listens = True
                self._floor.no_barge_in()  # so far it is a backchannel, or noise
                return
        self._stop_looking()
        self._give_up()
        verdict = asyncio.create_task(
            self._opinion(utterance, utterance.samples, utterance.tail()), name="verdict"
        )
        self._verdicts.add(verdict)
        verdict.add_done_callback(self._judged)
        draft = self._draft = Draft(event.at, verdict, self._now())
        if self._config.speculate and self._budget.take(event.at):
            draft.turn = self._floor.hold(draft)

    async def _due(self, mic: Microphone) -> None:
        """Say how long the silence has to be."""
        mic.endpoint.wait_ms = self._config.silence_max_ms
        if self._draft is None:
            mic.endpoint.wait_ms = min(_NO_WORDS_MS, self._config.silence_max_ms)
            return
        with contextlib.suppress(TimeoutError, ClientError):  # the turn itself will tell what failed
            async with asyncio.timeout(self._config.silence_max_ms / 1000):
                verdict = await self._draft.verdict()
            mic.endpoint.wait_ms = self._wait_ms(verdict)

    def _wait_ms(self, verdict: Verdict) -> int:
        settings, rule = self._settings(), self._config
        words = verdict.heard.text
        if not words:
            return min(_NO_WORDS_MS, rule.silence_max_ms)
        return wait_ms(
            words,
            language=settings.language,
            model=verdict.model,
            sound=verdict.sound,
            patience=settings.patience,
            earliest_ms=rule.silence_min_ms,
            latest_ms=rule.silence_max_ms,
        )

    def _end(self, event: Stopped, mic: Microphone, now: float) -> ClientError | None:
        self._floor.voice(event)
        self._stop_looking()
        over_reply, self._over_reply = self._over_reply, False
        draft, self._draft = self._draft, None
        if draft is not None and draft.text and mic.utterance is not None:
            mic.utterance.answered = draft.text
        if self._listens or (over_reply and self._floor.replying):
            self._floor.no_barge_in()
            return None  # a backchannel, or noise: the microphone forgets it
        try:
            self._floor.finished(mic.take(event, now), draft)
        except ClientError as exc:
            self._draft = draft
            self._give_up()
            return exc
        return None

    async def _opinion(self, utterance: Utterance, until: int, tail: PcmF32) -> Verdict:
        heard = await utterance.transcribe(until)
        if not utterance.since_answered(heard.text):
            return Verdict(Heard(""), None, None)
        self._floor.supersede(utterance)
        model, sound = await asyncio.gather(
            self._turn_end(heard.text, Priority.FIRST), self._sound_says(tail)
        )
        return Verdict(heard, model, sound)

    async def _sound_says(self, tail: PcmF32) -> float | None:
        if self._models.turn is None:
            return None
        with contextlib.suppress(TimeoutError, ClientError):
            async with asyncio.timeout(_OPINION_S):
                return await self._models.turn.finished(tail)
        return None

    async def _turn_end(self, words: str, priority: Priority) -> float | None:
        """Ask the language model, which has the words in its cache afterwards."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OPINION_S):
                return await self._models.llm.turn_end(
                    self._floor.conversation(words),
                    key=self._key,
                    priority=priority,
                    tools=self._settings().tools,
                )
        return None

    async def _show(self, utterance: Utterance, until: int) -> None:
        """Write down what was heard so far, show it, and let the language model read it meanwhile."""
        # A failure is told at the end of the utterance, when its words are asked for again.
        with contextlib.suppress(ClientError):
            heard = await utterance.ahead(until)
            if utterance.since_answered(heard.text):
                self._floor.partial(heard)
                await self._turn_end(heard.text, Priority.AHEAD)

    def _stop_looking(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _judged(self, verdict: asyncio.Task[Verdict]) -> None:
        self._verdicts.discard(verdict)
        if not verdict.cancelled() and (error := verdict.exception()) is not None:
            log.debug("a pause could not be judged", exc_info=error)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
