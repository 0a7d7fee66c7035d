"""A session's ears: from its audio frames to utterances, whatever the client does or stops doing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

import numpy as np

from riposte.config import Config
from riposte.errors import ClientError, EngineError, TooLarge
from riposte.interfaces import SPEECH_RATE_HZ, Models, PcmF32
from riposte.settings import Settings
from riposte.turn.clock import Clock
from riposte.turn.echo import EchoGate
from riposte.turn.endpoint import EndpointRule
from riposte.turn.held import HeldAudio
from riposte.turn.microphone import Microphone, MicrophoneEvent
from riposte.turn.utterance import Utterance
from riposte.turn_taking import Floor, TurnTaking

log = logging.getLogger(__name__)

AUDIO_FRAME_S = 1.0  # the longest `audio` frame
SLICE_MS = 100  # heard at a time
GAP_S = 1.0  # a client that sends nothing for longer, a muted one, lets session time stand still
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
        taking: TurnTaking,
        floor: Floor,
        *,
        clock: Clock,
        settings: Callable[[], Settings],
        refused: Callable[[ClientError], Awaitable[None]],
        at: int = 0,
    ) -> None:
        self._models = models
        self._config = config
        self._held_audio = held_audio
        self._taking = taking
        self._floor = floor
        self._clock = clock
        self._settings = settings
        self._refused = refused
        self.echo: EchoGate | None = None  # of the present microphone and its client's loudspeaker
        self._microphone: Microphone | None = None
        self._era = 0  # how often everything was forgotten
        self._at = at  # session time goes on from one microphone to the next
        self._arrived = 0.0  # when what is heard now had come
        self._refusal: ClientError | None = None  # of a turn, by what is heard now
        self._lock = asyncio.Lock()  # the client's frames and the stall timer both feed it
        self._stalls_at: float | None = None  # when the client has stopped sending; None: nobody speaks
        self._watching = False  # for that
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def at(self) -> int:
        """Session time: samples heard, at 16 kHz; what is decided is decided here."""
        return self._at if self._microphone is None else self._microphone.judged_at

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
        step, era = rate_hz * SLICE_MS // 1000 * 2, self._era
        async with self._lock:
            if era != self._era:
                return  # a newer connection took over while this waited
            mic = self._mic()
            mic.admit(len(pcm))
            self._disarm()
            if self.echo is not None and now - self._arrived > seconds + GAP_S:
                self.echo.skip()
            self._arrived, self._refusal = now, None
            try:
                for at in range(0, len(pcm), step):
                    async with _deadline(self._config.turn.asr_deadline_s):
                        await mic.push(pcm[at : at + step], now)
                    # A long frame's resampling would keep the loop for milliseconds at a stretch.
                    await asyncio.sleep(0)
                    if mic is not self._microphone:
                        return  # a newer connection took over meanwhile
            finally:
                if mic is self._microphone:
                    self._arm(mic, seconds)
            refusal = self._refusal
        if refusal is not None:
            raise refusal

    async def end(self, now: float) -> Utterance:
        """Take what was heard since the last turn: the client says that the user has finished."""
        async with self._lock:
            self._disarm()
            stopped, utterance = self._mic().end(now)
        self._taking.reset()
        if stopped is not None:
            self._floor.voice(stopped)
        return utterance

    async def clear(self) -> None:
        """Forget what no turn has used yet."""
        async with self._lock:
            self._disarm()
            stopped = None if self._microphone is None else self._microphone.clear()
        self._taking.reset()
        if stopped is not None:
            self._floor.voice(stopped)

    def close(self) -> None:
        """Forget everything; the next frame begins anew, with the settings of then."""
        self._era += 1
        self._disarm()
        self._taking.reset()
        if self._microphone is not None:
            self._at = self._microphone.at
            self._microphone.close()
            self._microphone = self.echo = None

    async def aclose(self) -> None:
        """Close, and end the tasks."""
        self.close()
        await self._taking.aclose(self._config.turn.stop_deadline_s)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._config.turn.stop_deadline_s)

    async def heard(self, event: MicrophoneEvent) -> None:
        """Have the microphone's event judged."""
        mic = self._microphone
        if mic is not None:
            self._refusal = await self._taking.heard(event, mic, self._arrived) or self._refusal

    def resumable(self, at: int) -> bool:
        """Would speech that began at this session sample go on with what is being answered?"""
        return self._floor.resumable(at)

    def clean(self, pcm: PcmF32, at: int) -> PcmF32:
        """Return what was heard without the reply's own sound."""
        return pcm if self.echo is None else self.echo.clean(pcm, at)

    def _mic(self) -> Microphone:
        if self._microphone is None:
            turn, vad, settings = self._config.turn, self._models.vad, self._settings()
            if turn.echo_gate and settings.turn_detection == "server":
                self.echo = EchoGate()
            self._microphone = Microphone(
                self._models.asr,
                vad.open() if settings.turn_detection == "server" else None,
                self,
                window=vad.window,
                rate_hz=settings.audio_in_hz,
                rule=EndpointRule(
                    min_speech_ms=turn.min_speech_ms,
                    pause_ms=turn.pause_ms,
                    silence_min_ms=turn.silence_min_ms,
                    silence_max_ms=turn.silence_max_ms,
                    pre_roll_ms=turn.pre_roll_ms,
                ),
                language=settings.language,
                waiting_s=self._config.limits.audio_waiting_s,
                held_audio=self._held_audio,
                at=self._at,
                keep_s=0.0 if self._models.turn is None else self._models.turn.window_s,
            )
        return self._microphone

    def _arm(self, mic: Microphone, seconds: float) -> None:
        """An open utterance that gets no audio is given silence, so that it ends all the same.

        `seconds` is what the last frame lasts: at the speed of speech the next one comes no sooner.
        """
        if not mic.speaking:
            self._disarm()
            return
        self._stalls_at = self._clock.now() + seconds + self._config.turn.stalled_ms / 1000
        if not self._watching:
            self._watching = True
            self._spawn(self._watch(), "stall")

    def _disarm(self) -> None:
        self._stalls_at = None

    async def _watch(self) -> None:
        """Wait for the client to stall. One task an utterance, and nothing a frame but another time."""
        try:
            while self._stalls_at is not None:
                if (wait_s := self._stalls_at - self._clock.now()) > 0:
                    await self._clock.sleep(wait_s)
                elif (mic := self._microphone) is not None:
                    await self._stalled(mic)
                else:
                    return
        finally:
            self._watching = False

    async def _stalled(self, mic: Microphone) -> None:
        async with self._lock:
            if mic is not self._microphone or self._stalls_at is None or self._clock.now() < self._stalls_at:
                return  # a frame came after all
            self._disarm()
            silence = np.zeros(self._config.turn.stalled_ms * SPEECH_RATE_HZ // 1000, np.float32)
            self._arrived, self._refusal = self._clock.now(), None
            try:
                async with _deadline(self._config.turn.asr_deadline_s):
                    await mic.push_16k(silence, self._arrived)
                refusal = self._refusal
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
