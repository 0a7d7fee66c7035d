"""A session's ears: from its audio frames to utterances, whatever the client does or stops doing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine

import numpy as np

from riposte.config import Config
from riposte.errors import ClientError, TooLarge
from riposte.interfaces import SPEECH_RATE_HZ, Heard, Models
from riposte.settings import Settings
from riposte.turn.endpoint import Started, Stopped
from riposte.turn.microphone import EndpointRule, Microphone, Utterance

AUDIO_FRAME_S = 1.0  # the longest `audio` frame
HEARING_SETTINGS = ("audio_in_hz", "turn_detection", "language")  # a change of these begins anew


class Hearing:
    """Feed one microphone and report what it decides. It owns its timer and its tasks.

    `refused` gets what goes wrong where no frame of the client is there to be answered.
    """

    def __init__(
        self,
        models: Models,
        config: Config,
        *,
        settings: Callable[[], Settings],
        started: Callable[[Started], Awaitable[None]],
        stopped: Callable[[Stopped, Utterance], Awaitable[None]],
        partial: Callable[[Heard], Awaitable[None]],
        refused: Callable[[ClientError], Awaitable[None]],
    ) -> None:
        self._models = models
        self._config = config
        self._settings = settings
        self._started = started
        self._stopped = stopped
        self._partial = partial
        self._refused = refused
        self._microphone: Microphone | None = None
        self._at = 0  # session time goes on from one microphone to the next
        self._lock = asyncio.Lock()  # the client's frames and the stall timer both feed it
        self._stall: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def audio(self, pcm: bytes, now: float) -> None:
        """Hear one frame of s16 samples at the client's rate.

        Raises TooLarge, and uses nothing of it, when it or what waits for a turn is too long.
        """
        seconds = len(pcm) / 2 / self._settings().audio_in_hz
        if seconds > AUDIO_FRAME_S:
            raise TooLarge(f"the audio frame holds {seconds:.2f} s; {AUDIO_FRAME_S:g} s is allowed")
        async with self._lock:
            mic = self._mic()
            mic.admit(len(pcm))
            await self._decide(mic, await mic.push(pcm, now), now)
            self._arm(mic)

    async def end(self, now: float) -> Utterance:
        """Take what was heard since the last turn: the client says that the user has finished."""
        async with self._lock:
            self._disarm()
            return self._mic().take(None, now)

    async def clear(self) -> None:
        """Forget what no turn has used yet."""
        async with self._lock:
            self._disarm()
            self._mic().clear()

    def close(self) -> None:
        """Forget everything; the next frame begins anew, with the settings of then."""
        self._disarm()
        if self._microphone is not None:
            self._at = self._microphone.at
            self._microphone.close()
            self._microphone = None

    async def aclose(self) -> None:
        """Close, and end the tasks."""
        self.close()
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _mic(self) -> Microphone:
        if self._microphone is None:
            turn, vad, settings = self._config.turn, self._models.vad, self._settings()
            self._microphone = Microphone(
                self._models.asr,
                vad.open() if settings.turn_detection == "server" else None,
                window=vad.window,
                rate_hz=settings.audio_in_hz,
                rule=EndpointRule(turn.min_speech_ms, turn.silence_ms, turn.pre_roll_ms),
                language=settings.language,
                waiting_s=self._config.limits.audio_waiting_s,
                at=self._at,
            )
        return self._microphone

    async def _decide(self, mic: Microphone, events: list[Started | Stopped], now: float) -> None:
        for event in events:
            if isinstance(event, Started):
                await self._started(event)
            else:
                await self._stopped(event, mic.take(event.at, now))
        if mic.utterance is not None and mic.utterance.due():
            self._spawn(self._transcribe_ahead(mic.utterance), "transcript-ahead")

    async def _transcribe_ahead(self, utterance: Utterance) -> None:
        """Write long speech down while it goes on, so that little is left to do at its end."""
        # A failure is told at the end of the utterance, when the same audio is asked for again.
        with contextlib.suppress(asyncio.CancelledError, ClientError):
            heard = await utterance.ahead()
            if heard.stable and self._microphone is not None and self._microphone.utterance is utterance:
                await self._partial(heard)

    def _arm(self, mic: Microphone) -> None:
        """An open utterance that gets no audio is given silence, so that it ends all the same."""
        self._disarm()
        if mic.speaking:
            loop, stalled_s = asyncio.get_running_loop(), self._config.turn.stalled_ms / 1000
            self._stall = loop.call_later(stalled_s, lambda: self._spawn(self._stalled(mic), "stalled"))

    def _disarm(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    async def _stalled(self, mic: Microphone) -> None:
        async with self._lock:
            if mic is not self._microphone or not mic.speaking:
                return
            now = time.monotonic()
            silence = np.zeros(self._config.turn.stalled_ms * SPEECH_RATE_HZ // 1000, np.float32)
            try:
                await self._decide(mic, await mic.push_16k(silence, now), now)
            except ClientError as exc:
                await self._refused(exc)
            self._arm(mic)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
