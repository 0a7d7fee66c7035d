"""Speech whose words' times are known: to be cut off at any moment, and paused between any two words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine_build.pico.log_mel import BANDS, FLOOR

F32 = NDArray[np.float32]
HEARD_SHARE = 0.7  # of a word: what is cut off earlier is not written
UNSURE = (0.4, 0.8)  # share of a word at which nobody could say whether it was said


@dataclass(frozen=True, slots=True)
class Timed:
    """Log10 mel power [frames, 80] with its words and where each begins and ends, [words, 2], in frames.

    Without spans the times are unknown.
    """

    log_mel: F32
    text: str
    spans: F32

    def voiced(self, log_mel: F32) -> Timed:
        """Return the same words in a sound that was made from this one, perhaps faster or slower."""
        scale = np.float32(len(log_mel) / max(len(self.log_mel), 1))
        return Timed(log_mel, self.text, self.spans * scale)

    def then(self, other: Timed, pause: int) -> Timed:
        """Return this, a pause of so many frames, and other speech."""
        silence = np.full((pause, BANDS), self.log_mel.min(), np.float32)
        spans = np.zeros((0, 2), np.float32)
        if len(self.spans) and len(other.spans):
            spans = np.concatenate([self.spans, other.spans + np.float32(len(self.log_mel) + pause)])
        return Timed(
            np.concatenate([self.log_mel, silence, other.log_mel]), f"{self.text} {other.text}", spans
        )

    def paused(self, rng: np.random.Generator, pause: int) -> Timed:
        """Put a pause of so many frames between two words."""
        if len(self.spans) < 2:
            return self
        word = int(rng.integers(1, len(self.spans)))
        near = round(float(self.spans[word - 1, 1] + self.spans[word, 0]) / 2)
        energy = self.log_mel.max(axis=1)
        low = max(near - 4, 0)
        at = low + int(energy[low : near + 5].argmin())  # the quietest place within 40 ms
        silence = np.full((pause, BANDS), self.log_mel.min(), np.float32)
        spans = self.spans.copy()
        spans[word:] += pause
        spans[word - 1, 1] = min(spans[word - 1, 1], at)
        spans[word, 0] = max(spans[word, 0], at + pause)
        return Timed(np.concatenate([self.log_mel[:at], silence, self.log_mel[at:]]), self.text, spans)

    def words_by(self, frame: float) -> str:
        """Return the words of which enough was said before a frame."""
        starts, ends = self.spans[:, 0], self.spans[:, 1]
        heard = int(np.count_nonzero(starts + HEARD_SHARE * (ends - starts) <= frame))
        return " ".join(self.text.split(" ")[:heard])

    def unsure_at(self, frame: float) -> bool:
        """Tell whether a frame is in the middle of a word."""
        starts, ends = self.spans[:, 0], self.spans[:, 1]
        share = (frame - starts) / np.maximum(ends - starts, 1)
        return bool(np.any((share > UNSURE[0]) & (share < UNSURE[1])))

    def cut(self, frame: int) -> Timed:
        """Return what was heard before a frame, with the click of an end within a sound."""
        log_mel = self.log_mel[:frame].copy()
        if frame < len(self.log_mel) and frame > 2:
            # The last windows see the sound's edge: they lose power, and what is left spreads over all bands.
            for at, kept, spread in ((-2, 0.7, 0.003), (-1, 0.25, 0.01)):
                power = 10 ** log_mel[at]
                log_mel[at] = np.log10(np.maximum(kept * power + spread * power.mean(), FLOOR))
        text = self.words_by(frame)
        return Timed(log_mel, text, self.spans[: len(text.split())].clip(0, frame))
