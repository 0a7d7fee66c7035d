"""Cut long speech at its pauses, as it arrives.

Pure: samples in, samples out. Where it cuts depends on the samples alone, never on how they were
pushed, so a recording is cut the same way each time; and what the first so many samples alone would have
given can still be told later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from riposte.interfaces import SPEECH_RATE_HZ, PcmF32

# The stretch that has to be quiet. The closure of a "t" or "k" lasts up to 100 ms and is no pause.
PAUSE = SPEECH_RATE_HZ // 5
# Where a pause is looked for: in the last 40 % of what the model can hear. An earlier cut makes more
# segments, a later search finds no pause in a long sentence.
SEARCHED = 0.4
_STEP = SPEECH_RATE_HZ // 100

# A pause between sentences: longer than any closure inside a word, and this far below the loudest.
SENTENCE_PAUSE = SPEECH_RATE_HZ * 3 // 10
_QUIET = 10 ** (-25.0 / 10)  # 25 dB
_FIRST = 4 * SPEECH_RATE_HZ  # samples of room to begin with; it doubles


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples `begin` … `end` of an utterance; its first `known` samples decide that it ends there."""

    begin: int
    end: int
    known: int


class Segments:
    """The samples of one utterance, closed into segments of at most `limit` samples.

    `phrase`: a segment that is longer closes at its first pause between sentences; None: only at the limit.
    For models that were taught short utterances. Samples are kept until `clear`, 64 kB a second.
    Not thread-safe: it belongs to whoever pushes.
    """

    def __init__(self, limit: int, phrase: int | None = None) -> None:
        if limit < 4 * PAUSE:
            raise ValueError(f"a segment of {limit} samples has no room for a pause")
        self._limit = limit
        # Steps of the open segment that end before a pause between sentences may begin.
        self._spared = None if phrase is None else -(-phrase // _STEP)
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        self.closed: list[Segment] = []
        self.samples = 0
        self._kept = np.empty(0, np.float32)
        self._begin = 0  # of the open segment
        self._begin_scan()

    def push(self, pcm: PcmF32) -> None:
        """Add samples (copied), and close what they decide to be closed."""
        needed = self.samples + pcm.size
        if needed > self._kept.size:
            # What was handed out looks at the old array, which nobody writes to any more.
            kept = np.empty(max(needed, 2 * self._kept.size, _FIRST), np.float32)
            kept[: self.samples] = self._kept[: self.samples]
            self._kept = kept
        self._kept[self.samples : needed] = pcm
        self.samples = needed
        while (closed := self._scan()) is not None:
            self.closed.append(closed)
            self._begin = closed.end
            self._begin_scan()

    def slice(self, begin: int, end: int) -> PcmF32:
        """Return samples as an array that later pushes do not change."""
        return self._kept[begin : min(end, self.samples)]

    def closed_by(self, samples: int) -> int:
        """Return how many segments the first `samples` samples close."""
        return sum(segment.known <= samples for segment in self.closed)

    def open_at(self, samples: int) -> int:
        """Return where the segment begins that is open when so many samples are known."""
        count = self.closed_by(samples)
        return self.closed[count - 1].end if count else 0

    def _begin_scan(self) -> None:
        self._steps = 0  # of 10 ms, looked at
        self._loudest = 0.0
        self._quiet = 0  # steps in a row

    def _scan(self) -> Segment | None:
        """Look at the samples that are new; return the open segment when they close it."""
        begin = self._begin
        if self._spared is not None:
            new = self._kept[begin + self._steps * _STEP : min(self.samples, begin + self._limit)]
            for energy in _energies(new).tolist():
                self._steps += 1
                # What is quiet is told by what came before it: later samples do not move the cut.
                self._loudest = max(self._loudest, energy)
                quiet = self._steps > self._spared and energy < self._loudest * _QUIET
                self._quiet = self._quiet + 1 if quiet else 0
                if self._quiet * _STEP == SENTENCE_PAUSE:
                    known = begin + self._steps * _STEP
                    return Segment(begin, known - SENTENCE_PAUSE // 2, known)
        if self.samples - begin <= self._limit:
            return None
        cut = pause_in(self._kept[begin : begin + self._limit], int((1 - SEARCHED) * self._limit))
        return Segment(begin, begin + cut, begin + self._limit + 1)


def pause_in(pcm: PcmF32, first: int) -> int:
    """Return the middle of the quietest 200 ms that begin at `first` or later.

    Of several equally quiet ones the last: the rest, which is heard when somebody waits, is then short.
    """
    energy = _energies(pcm[first:])
    span = PAUSE // _STEP
    # Sums of neighbours, not differences of a running sum: those would not be equal in equal silence.
    quiet = np.convolve(energy, np.ones(span), mode="valid")[::-1]
    best = len(quiet) - 1 - int(quiet.argmin())
    return first + best * _STEP + PAUSE // 2


def _energies(pcm: PcmF32) -> NDArray[np.float64]:
    steps = pcm[: pcm.size // _STEP * _STEP].reshape(-1, _STEP)
    energies: NDArray[np.float64] = np.einsum("ij,ij->i", steps, steps, dtype=np.float64)
    return energies
