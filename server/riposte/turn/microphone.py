"""One microphone: sound in at the client's rate, utterances and voice activity out.

Time is samples of session audio at 16 kHz, never wall clock, so that a recorded talk gives the same
decisions at any speed. Only the zero of a turn's timing needs wall clock: when a sample had arrived.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np

from riposte.audio import from_bytes
from riposte.errors import TooLarge
from riposte.interfaces import SPEECH_RATE_HZ, Asr, Heard, Listening, PcmF32, Priority, VadStream
from riposte.resample import Resampler
from riposte.turn.endpoint import Endpoint, Started, Stopped
from riposte.turn.held import HeldAudio

# Arrival times are kept this long: an end of turn looks back over its own silence and no further.
_ARRIVALS = 512


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """What counts as speech, and as its end."""

    min_speech_ms: int
    silence_ms: int
    pre_roll_ms: int  # kept from before the start: the detector needs a moment to be sure


class Utterance:
    """Speech on its way to becoming a turn, with the recognition that runs ahead of its end."""

    def __init__(self, listening: Listening, window_s: float, held_audio: HeldAudio) -> None:
        self.listening = listening
        self._held_audio = held_audio
        held_audio.add(self)
        self.samples = 0
        self.held = 0  # of them, how many are kept: all, until it is closed
        self.zero = 0.0  # when its last voiced sample, or its `end`, had arrived
        self._window = round(window_s * SPEECH_RATE_HZ)
        self._transcribed = 0
        self._ahead: asyncio.Task[Heard] | None = None

    def push(self, pcm: PcmF32) -> None:
        """Add samples at 16 kHz."""
        self.listening.push(pcm)
        self.samples += pcm.size
        self.held = self.samples
        self._held_audio.grew(pcm.size)

    def due(self) -> bool:
        """Is there a whole window of speech that could be written down ahead of the end?"""
        idle = self._ahead is None or self._ahead.done()
        return idle and self.samples - self._transcribed > self._window

    def ahead(self) -> asyncio.Task[Heard]:
        """Begin to write down what was heard so far. The task is this utterance's, and ends with it."""
        self._transcribed = self.samples
        self._ahead = asyncio.create_task(self.listening.transcribe(Priority.AHEAD), name="asr-ahead")
        return self._ahead

    async def transcribe(self) -> Heard:
        """Return all its words. Recognition ahead gives way."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait({self._ahead})
        return await self.listening.transcribe(Priority.FIRST)

    def close(self) -> None:
        """Drop the audio and whatever is being made of it. May be called twice."""
        if self._ahead is not None:
            self._ahead.cancel()
        self.listening.close()
        self.held = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """An utterance that silence ended, after its last voiced sample `at`."""

    at: int
    utterance: Utterance


class Microphone:
    """Resample, find voice, keep the utterance that no turn has taken yet.

    With `vad` None (push to talk) everything heard belongs to the utterance, until `take`.
    """

    def __init__(
        self,
        asr: Asr,
        vad: VadStream | None,
        *,
        window: int,
        rate_hz: int,
        rule: EndpointRule,
        language: str | None,
        waiting_s: float,
        held_audio: HeldAudio,
        at: int = 0,
    ) -> None:
        self.rate_hz = rate_hz
        self._asr = asr
        self._vad = vad
        self._window = window
        self._language = language
        self._held_audio = held_audio
        self._waiting = round(waiting_s * SPEECH_RATE_HZ)
        self._pre_roll = rule.pre_roll_ms * SPEECH_RATE_HZ // 1000
        self._endpoint = Endpoint(
            window=window,
            rate_hz=SPEECH_RATE_HZ,
            min_speech_ms=rule.min_speech_ms,
            silence_ms=rule.silence_ms,
            at=at,
        )
        self._resample = Resampler(rate_hz, SPEECH_RATE_HZ)
        self.at = at  # session time: samples at 16 kHz
        self._rest = np.empty(0, np.float32)  # not yet a whole window
        self._recent = np.empty(0, np.float32)  # pre-roll
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=_ARRIVALS)
        self.utterance: Utterance | None = None

    @property
    def speaking(self) -> bool:
        """Is an utterance open that only silence will end?"""
        return self._endpoint.speaking

    async def push(self, pcm: bytes, now: float) -> list[Started | Finished]:
        """Take s16 samples at the client's rate; return what they decide, in order."""
        return await self.push_16k(self._resample.push(from_bytes(pcm)), now)

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

    async def push_16k(self, pcm: PcmF32, now: float) -> list[Started | Finished]:
        """Take samples at 16 kHz: what `push` resamples to, or silence in place of a stalled client."""
        self.at += pcm.size
        self._arrivals.append((self.at, now))
        if self._vad is None:
            if self.utterance is None:
                self.utterance = self._listen()
            self.utterance.push(pcm)
            return []
        self._rest = np.concatenate((self._rest, pcm))
        whole = self._rest.size // self._window * self._window
        if not whole:
            return []
        windows, self._rest = self._rest[:whole], self._rest[whole:]
        decided: list[Started | Finished] = []
        for index, score in enumerate(await self._vad.score(windows)):
            window = windows[index * self._window : (index + 1) * self._window]
            event = self._endpoint.push(float(score))
            self._keep(window, event)
            if event is None and self.utterance is not None and self.utterance.samples >= self._waiting:
                event = self._endpoint.stop()  # speech without end: what there is becomes a turn
            if isinstance(event, Stopped):
                # Handed over here and now: the windows that follow may begin the next one.
                decided.append(Finished(event.at, self._hand_over(self._arrived(event.at, now))))
            elif event is not None:
                decided.append(event)
        return decided

    def end(self, now: float) -> tuple[Stopped | None, Utterance]:
        """Hand over what was heard since the last turn, be it nothing: the client says that it is all.

        Return also the end of the voice, when somebody was speaking.
        """
        if self.utterance is None:
            self.utterance = self._listen()
            self.utterance.push(self._recent)  # a word too short for the detector is still there
            self._recent = np.empty(0, np.float32)
        self._flush()
        return self._endpoint.stop(), self._hand_over(now)

    def clear(self) -> Stopped | None:
        """Forget audio that no turn has used yet; return the end of the voice, if somebody was speaking."""
        if self.utterance is not None:
            self.utterance.close()
            self.utterance = None
        stopped = self._endpoint.stop()
        self._recent = self._rest = np.empty(0, np.float32)
        # Session time goes on; the detector starts afresh, and so does its grid of windows.
        self._endpoint.at = self.at
        if self._vad is not None:
            self._vad.reset()
        return stopped

    def close(self) -> None:
        """Give everything back."""
        self.clear()
        if self._vad is not None:
            self._vad.close()

    def _listen(self) -> Utterance:
        listening = self._asr.listen(language=self._language)
        return Utterance(listening, self._asr.window_s, self._held_audio)

    def _hand_over(self, zero: float) -> Utterance:
        utterance, self.utterance = self.utterance or self._listen(), None
        utterance.zero = zero
        return utterance

    def _keep(self, window: PcmF32, event: Started | Stopped | None) -> None:
        if isinstance(event, Started):
            self.utterance = self._listen()
            self.utterance.push(self._recent)
            self._recent = np.empty(0, np.float32)
        if self.utterance is not None:
            self.utterance.push(window)
        else:
            self._recent = np.concatenate((self._recent, window))[-self._pre_roll - self._window :]

    def _flush(self) -> None:
        """Let what is no whole window yet be heard too: a pressed key ends in mid-window."""
        tail = np.concatenate((self._rest, self._resample.flush()))
        self._rest = np.empty(0, np.float32)
        self._endpoint.at = self.at  # the detector's grid of windows begins anew
        if self.utterance is not None:
            self.utterance.push(tail)

    def _arrived(self, sample: int, now: float) -> float:
        for end, at in self._arrivals:
            if end >= sample:
                return at
        return now
