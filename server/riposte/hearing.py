"""A session's ears: from its audio frames to utterances, whatever the client does or stops doing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

import numpy as np

from riposte.config import Config
from riposte.errors import ClientError, EngineError, TooLarge
from riposte.interfaces import SPEECH_RATE_HZ, Heard, Models
from riposte.settings import Settings
from riposte.turn.endpoint import Started, Stopped
from riposte.turn.held import HeldAudio
from riposte.turn.microphone import EndpointRule, Finished, Microphone, Utterance

log = logging.getLogger(__name__)

AUDIO_FRAME_S = 1.0  # the longest `audio` frame
SLICE_MS = 100  # heard at a time
HEARING_SETTINGS = ("audio_in_hz", "turn_detection", "language")  # a change of these begins anew


class Hearing:
    """Feed one microphone and report what it decides. It owns its timer and its tasks.

    `refused` gets what goes wrong where no frame of the client is there to be answered.
    """

    def __init__(
        self,
        models: Models,
        config: Config,
        held_audio: HeldAudio,
        *,
        settings: Callable[[], Settings],
        voice: Callable[[Started | Stopped], Awaitable[None]],
        finished: Callable[[Utterance], None],
        partial: Callable[[Heard], Awaitable[None]],
        refused: Callable[[ClientError], Awaitable[None]],
    ) -> None:
        self._models = models
        self._config = config
        self._held_audio = held_audio
        self._settings = settings
        self._voice = voice
        self._finished = finished
        self._partial = partial
        self._refused = refused
        self._microphone: Microphone | None = None
        self._at = 0  # session time goes on from one microphone to the next
        self._lock = asyncio.Lock()  # the client's frames and the stall timer both feed it
        self._stall: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def audio(self, pcm: bytes, now: float) -> None:
        """Hear one frame of s16 samples at the client's rate.

        Raises TooLarge, and uses nothing of it, when it or what waits for a turn is too long; what else is
        refused while it is heard is raised at its end.
        """
        rate_hz = self._settings().audio_in_hz
        seconds = len(pcm) / 2 / rate_hz
        if seconds > AUDIO_FRAME_S:
            raise TooLarge(f"the audio frame holds {seconds:.2f} s; {AUDIO_FRAME_S:g} s is allowed")
        if not pcm:
            return  # it says nothing, so it does not keep an utterance open either
        step = rate_hz * SLICE_MS // 1000 * 2
        refusal: ClientError | None = None
        async with self._lock:
            mic = self._mic()
            mic.admit(len(pcm))
            self._disarm()
            for at in range(0, len(pcm), step):
                async with _deadline(self._config.turn.asr_deadline_s):
                    decided = await mic.push(pcm[at : at + step], now)
                refusal = await self._decide(mic, decided) or refusal
                # A long frame's resampling would keep the loop for milliseconds at a stretch.
                await asyncio.sleep(0)
                if mic is not self._microphone:
                    return  # a newer connection took over meanwhile
            self._arm(mic, seconds)
        if refusal is not None:
            raise refusal

    async def end(self, now: float) -> Utterance:
        """Take what was heard since the last turn: the client says that the user has finished."""
        async with self._lock:
            self._disarm()
            stopped, utterance = self._mic().end(now)
        if stopped is not None:
            await self._voice(stopped)
        return utterance

    async def clear(self) -> None:
        """Forget what no turn has used yet."""
        async with self._lock:
            self._disarm()
            stopped = None if self._microphone is None else self._microphone.clear()
        if stopped is not None:
            await self._voice(stopped)

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
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._config.turn.stop_deadline_s)

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
                held_audio=self._held_audio,
                at=self._at,
            )
        return self._microphone

    async def _decide(self, mic: Microphone, events: list[Started | Finished]) -> ClientError | None:
        """Report what was decided, in order; return what refused a turn, if anything did."""
        refusal: ClientError | None = None
        for event in events:
            if isinstance(event, Started):
                await self._voice(event)
                continue
            await self._voice(Stopped(event.at))
            if mic is not self._microphone:
                event.utterance.close()
                continue
            try:
                self._finished(event.utterance)
            except ClientError as exc:
                event.utterance.close()
                refusal = exc
        if mic.utterance is not None and mic.utterance.due():
            self._spawn(self._transcribe_ahead(mic.utterance), "transcript-ahead")
        return refusal

    async def _transcribe_ahead(self, utterance: Utterance) -> None:
        """Write long speech down while it goes on, so that little is left to do at its end."""
        # A failure is told at the end of the utterance, when the same audio is asked for again.
        with contextlib.suppress(asyncio.CancelledError, ClientError):
            heard = await utterance.ahead()
            if heard.stable and self._microphone is not None and self._microphone.utterance is utterance:
                await self._partial(heard)

    def _arm(self, mic: Microphone, seconds: float) -> None:
        """An open utterance that gets no audio is given silence, so that it ends all the same.

        `seconds` is what the last frame lasts: at the speed of speech the next one comes no sooner.
        """
        self._disarm()
        if mic.speaking:
            loop, stalled_s = asyncio.get_running_loop(), seconds + self._config.turn.stalled_ms / 1000
            self._stall = loop.call_later(stalled_s, lambda: self._spawn(self._stalled(mic), "stalled"))

    def _disarm(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    async def _stalled(self, mic: Microphone) -> None:
        async with self._lock:
            if mic is not self._microphone or not mic.speaking:
                return
            silence = np.zeros(self._config.turn.stalled_ms * SPEECH_RATE_HZ // 1000, np.float32)
            try:
                async with _deadline(self._config.turn.asr_deadline_s):
                    decided = await mic.push_16k(silence, time.monotonic())
                refusal = await self._decide(mic, decided)
            except ClientError as exc:
                refusal = exc
            except Exception:
                # Here no frame's answer would tell of it, and the utterance would never end.
                log.exception("silence could not be heard")
                refusal = ClientError("internal error; the server's log has it")
            if refusal is not None:
                await self._refused(refusal)
            if mic is self._microphone:
                self._arm(mic, 0.0)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise EngineError(f"the voice detector gave nothing for {seconds:g} s") from None
