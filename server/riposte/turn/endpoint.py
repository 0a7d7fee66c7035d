"""Voice probabilities to "started" and "stopped", counted in samples. Pure.

A plain rule: voice for `min_speech_ms` starts an utterance, silence for `silence_ms` ends it. How
finished the words are does not count yet.
"""

from __future__ import annotations

from dataclasses import dataclass

# Silero's own VADIterator: voice above 0.5, silence below 0.35; between them, as before.
VOICE_SCORE = 0.5
SILENCE_SCORE = 0.35


@dataclass(frozen=True, slots=True)
class Started:
    """The user began to speak at sample `at` of session audio."""

    at: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The user is taken to have finished; `at` is the sample after the last voiced window."""

    at: int


class Endpoint:
    """Turn one score a window into voice activity.

    Samples are counted from 0 at the session's first audio and only ever grow.
    """

    def __init__(
        self, *, window: int, rate_hz: int, min_speech_ms: int, silence_ms: int, at: int = 0
    ) -> None:
        self._window = window
        self._min_speech = min_speech_ms * rate_hz // 1000
        self._silence = silence_ms * rate_hz // 1000
        self.at = at  # samples scored
        self.speaking = False
        self._onset: int | None = None  # where the present stretch of voice began
        self._voiced = 0  # samples of voice since the onset
        self._last_voiced = at  # the sample after the last voiced window

    def push(self, score: float) -> Started | Stopped | None:
        """Take the next window's score; return what it decides, if anything."""
        begin, self.at = self.at, self.at + self._window
        voiced = score >= VOICE_SCORE or (self._onset is not None and score >= SILENCE_SCORE)
        if voiced:
            if self._onset is None:
                self._onset, self._voiced = begin, 0
            self._voiced += self._window
            self._last_voiced = self.at
            if not self.speaking and self._voiced >= self._min_speech:
                self.speaking = True
                return Started(self._onset)
        elif not self.speaking:
            self._onset = None
        elif self.at - self._last_voiced >= self._silence:
            return self.stop()
        return None

    def stop(self) -> Stopped | None:
        """End the open utterance now, whatever the silence; None when there is none."""
        if not self.speaking:
            return None
        self.speaking, self._onset = False, None
        return Stopped(self._last_voiced)
