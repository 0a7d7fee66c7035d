"""One microphone: sound in at the client's rate, voice activity and utterances out.

Time is samples of session audio at 16 kHz, never wall clock, so that a recorded talk gives the same
decisions at any speed, however it is cut into frames. Only the zero of a turn's timing needs wall clock: when
a sample had arrived.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from riposte.audio import from_bytes
from riposte.errors import TooLarge
from riposte.interfaces import SPEECH_RATE_HZ, Asr, PcmF32, VadStream
from riposte.resample import Resampler
from riposte.turn.endpoint import HOP, Endpoint, EndpointRule, Started, Stopped, VoiceEvent
from riposte.turn.held import HeldAudio
from riposte.turn.utterance import Utterance

# Arrival times are kept this long: an end of turn looks back over its own silence and no further.
_ARRIVALS = 512
_TICK = SPEECH_RATE_HZ * 64 // 1000
_SILENT = 1e-12  # -120 dBFS


@dataclass(frozen=True, slots=True)
class Tick:
    """The user still speaks, `voice_ms` after the onset of this stretch of voice. Every 64 ms."""

    voice_ms: int


MicrophoneEvent = VoiceEvent | Tick


class Listener(Protocol):
    """Who is told what the voice does, at the sample where it does it; the microphone waits meanwhile."""

    async def heard(self, event: MicrophoneEvent) -> None:
        """Act on an event. At `Stopped` the utterance is still the microphone's: take it, or leave it."""

    def resumable(self, at: int) -> bool:
        """Would speech that began at session sample `at` go on with the utterance that was taken last?"""

    def clean(self, pcm: PcmF32, at: int) -> PcmF32:
        """Take the reply's own sound out of what was heard from session sample `at` on."""


class Microphone:
    """Resample, find voice, keep the utterance that no turn has taken yet.

    With `vad` None (push to talk) everything heard belongs to the utterance, until `end`.
    """

    def __init__(
        self,
        asr: Asr,
        vad: VadStream | None,
        listener: Listener,
        *,
        window: int,
        rate_hz: int,
        rule: EndpointRule,
        language: str | None,
        waiting_s: float,
        held_audio: HeldAudio,
        at: int = 0,
        keep_s: float = 0.0,
    ) -> None:
        self.rate_hz = rate_hz
        self.at = at  # session time: samples at 16 kHz
        self.endpoint = Endpoint(rule, rate_hz=SPEECH_RATE_HZ, at=at)
        self.utterance: Utterance | None = None  # in progress
        self.closed = False
        self._asr = asr
        self._vad = vad
        self._listener = listener
        self._window = window
        self._language = language
        self._held_audio = held_audio
        self._keep_s = keep_s
        self._waiting = round(waiting_s * SPEECH_RATE_HZ)
        # What was voice before it counted as such is kept too.
        self._pre_roll = (rule.pre_roll_ms + rule.min_speech_ms) * SPEECH_RATE_HZ // 1000
        self._resample = Resampler(rate_hz, SPEECH_RATE_HZ)
        self._rest = np.empty(0, np.float32)  # since the last whole window
        self._looked = 0  # samples of it that were looked at, whole hops
        self._score = 0.0  # of the last whole window
        self._recent = np.empty(0, np.float32)  # pre-roll
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=_ARRIVALS)
        self._taken: Utterance | None = None  # by a turn, and perhaps not finished
        self._ticked = 0

    @property
    def speaking(self) -> bool:
        """Is something open that only silence will end: an utterance, or what may become one?"""
        return self.endpoint.speaking or self.endpoint.onset is not None

    @property
    def judged_at(self) -> int:
        """Session time of what is being decided: not the frame's end, but the hop's."""
        return self.at if self._vad is None else self.endpoint.at

    async def push(self, pcm: bytes, now: float) -> None:
        """Take s16 samples at the client's rate; the listener is told what they do, in order."""
        await self.push_16k(self._resample.push(from_bytes(pcm)), now)

    def admit(self, pcm_bytes: int) -> None:
        """Raise TooLarge when so much more audio cannot wait for a turn, here or in all the server."""
        more = pcm_bytes // 2 * SPEECH_RATE_HZ // self.rate_hz
        waits = 0 if self.utterance is None else self.utterance.samples
        # Hands-free, a turn is made of what waits instead.
        if self._vad is None and waits and waits + more > self._waiting:
            limit_s = self._waiting / SPEECH_RATE_HZ
            raise TooLarge(f"{limit_s:g} s of audio already wait for a turn; send `end` or `clear` first")
        if self._vad is None or self.utterance is not None:  # else nobody speaks, and nothing is kept
            self._held_audio.admit(more)

    async def push_16k(self, pcm: PcmF32, now: float) -> None:
        """Take samples at 16 kHz: what `push` resamples to, or silence in place of a stalled client."""
        pcm = self._listener.clean(pcm, self.at)
        self.at += pcm.size
        self._arrivals.append((self.at, now))
        if self._vad is None:
            if self.utterance is None:
                self.utterance = self._listen()
            self.utterance.push(pcm)
            return
        self._let_go()
        sound = np.concatenate((self._rest, pcm))
        windows = sound.size // self._window
        try:
            scores = await self._vad.score(sound[: windows * self._window]) if windows else ()
        except BaseException:
            self._begin_grid()  # what could not be judged is lost
            raise
        if self.closed:
            return
        first, end = self._looked, sound.size // HOP * HOP
        levels = _levels_dbfs(sound[first:end])
        kept = first  # up to here the utterance has it
        for index, level in enumerate(levels):
            at = first + (index + 1) * HOP
            if at % self._window == 0:
                self._score = float(scores[at // self._window - 1])
            event = self._event(level)
            if event is None:
                continue
            self._keep(sound[kept:at])
            kept = at
            await self._act(event)
            if self.closed:
                return  # a newer connection took over meanwhile
        self._keep(sound[kept:end])
        self._rest = sound[windows * self._window :]
        self._looked = end - windows * self._window

    def end(self, now: float) -> tuple[Stopped | None, Utterance]:
        """Hand over what was heard since the last turn, be it nothing: the client says that it is all.

        Return also the end of the voice, when somebody was speaking.
        """
        self._drop_taken()
        if self.utterance is None:
            self.utterance = self._listen()
            self.utterance.push(self._recent)  # a word too short for the detector is still there
            self._recent = np.empty(0, np.float32)
        tail = np.concatenate((self._rest[self._looked :], self._resample.flush()))
        self.utterance.push(tail)  # a pressed key ends in mid-hop
        self._begin_grid()
        utterance, self.utterance = self.utterance, None
        utterance.zero = now
        return self.endpoint.stop(), utterance

    def take(self, stopped: Stopped, now: float) -> Utterance:
        """Hand over the utterance that silence ended. It still listens: its speaker may go on."""
        utterance, self.utterance = self.utterance, None
        assert utterance is not None
        utterance.zero = self._arrived(stopped.at, now)
        self._drop_taken()
        self._taken = utterance
        return utterance

    def forget(self) -> None:
        """Drop the utterance in progress: it is none, and what it went on with is as it was before."""
        utterance, self.utterance = self.utterance, None
        if utterance is None:
            return
        if utterance.continued:
            self._taken = utterance
        else:
            utterance.close()

    def clear(self) -> Stopped | None:
        """Forget audio that no turn has used yet; return the end of the voice, if somebody was speaking."""
        if self.utterance is not None:
            self.utterance.close()
            self.utterance = None
        self._drop_taken()
        stopped = self.endpoint.stop()
        self._recent = np.empty(0, np.float32)
        self._begin_grid()
        if self._vad is not None:
            self._vad.reset()
        return stopped

    def close(self) -> None:
        """Give everything back."""
        self.closed = True
        self.clear()
        if self._vad is not None:
            self._vad.close()

    def _event(self, level: float) -> MicrophoneEvent | None:
        """Look at one hop."""
        event = self.endpoint.push(level, self._score)
        if event is not None or self.utterance is None or not self.endpoint.speaking:
            return event
        if self.utterance.samples >= self._waiting:
            return self.endpoint.stop()  # speech without end: what there is becomes a turn
        onset = self.endpoint.onset or 0
        if not self.endpoint.paused and self.endpoint.at - self._ticked >= _TICK:
            self._ticked = self.endpoint.at
            return Tick((self.endpoint.at - onset) * 1000 // SPEECH_RATE_HZ)
        return None

    async def _act(self, event: MicrophoneEvent) -> None:
        if isinstance(event, Started):
            self._ticked = self.endpoint.at
            room = self._taken is not None and self._taken.samples < self._waiting
            if room and self._taken is not None and self._listener.resumable(event.at):
                self.utterance, self._taken = self._taken, None
                self.utterance.continued = True
            else:
                self._drop_taken()
                self.utterance = self._listen()
                self.utterance.push(self._recent)
            self._recent = np.empty(0, np.float32)
        await self._listener.heard(event)
        if isinstance(event, Stopped) and self.utterance is not None:
            self.forget()  # nobody took it

    def _keep(self, pcm: PcmF32) -> None:
        """Let the utterance have what was looked at; before one, the last of it is remembered."""
        if not pcm.size:
            return
        if self.utterance is not None:
            self.utterance.push(pcm)
            return
        if self._taken is not None:
            self._taken.push(pcm)
        self._recent = np.concatenate((self._recent, pcm))[-self._pre_roll :]

    def _let_go(self) -> None:
        """Close the utterance that a turn has taken, once its speaker can no longer go on with it."""
        voice = self.endpoint.onset is not None  # it may be he who goes on
        if self._taken is not None and not voice and not self._listener.resumable(self.endpoint.at):
            self._drop_taken()

    def _drop_taken(self) -> None:
        if self._taken is not None:
            self._taken.close()
            self._taken = None

    def _listen(self) -> Utterance:
        return Utterance(self._asr.listen(language=self._language), self._held_audio, keep_s=self._keep_s)

    def _begin_grid(self) -> None:
        """Begin the grid of windows and hops anew; session time goes on."""
        self._rest, self._looked, self._score = np.empty(0, np.float32), 0, 0.0
        self.endpoint.at = self.at

    def _arrived(self, sample: int, now: float) -> float:
        for end, at in self._arrivals:
            if end >= sample:
                return at
        return now


def _levels_dbfs(pcm: PcmF32) -> list[float]:
    """Return the level of every whole hop."""
    hops = pcm.reshape(-1, HOP)
    power = np.einsum("ij,ij->i", hops, hops) / HOP
    levels: list[float] = (10 * np.log10(np.maximum(power, _SILENT))).tolist()
    return levels
