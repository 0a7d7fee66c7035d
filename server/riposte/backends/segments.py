"""Cut long speech at its pauses, as it arrives.

Pure: samples in, samples out. Where it cuts depends on the samples alone, never on how they were
pushed, so a recording is cut the same way each time.
"""

from __future__ import annotations

import numpy as np

from riposte.interfaces import SPEECH_RATE_HZ, PcmF32

# The stretch that has to be quiet. The closure of a "t" or "k" lasts up to 100 ms and is no pause.
PAUSE = SPEECH_RATE_HZ // 5
# Where a pause is looked for: in the last 40 % of what the model can hear. An earlier cut makes more
# segments, a later search finds no pause in a long sentence.
SEARCHED = 0.4
_STEP = SPEECH_RATE_HZ // 100


class Segments:
    """The samples of one utterance, closed into segments of at most `limit` samples.

    Not thread-safe: it belongs to whoever pushes.
    """

    def __init__(self, limit: int) -> None:
        if limit < 4 * PAUSE:
            raise ValueError(f"a segment of {limit} samples has no room for a pause")
        self._limit = limit
        self._pieces: list[PcmF32] = []
        self._samples = 0

    def push(self, pcm: PcmF32) -> list[PcmF32]:
        """Add samples (copied); return the segments that are closed by them, in order."""
        if pcm.size == 0:
            return []
        self._pieces.append(np.array(pcm, np.float32))
        self._samples += pcm.size
        closed: list[PcmF32] = []
        while self._samples > self._limit:
            whole = self.open()
            cut = pause_in(whole[: self._limit], int((1 - SEARCHED) * self._limit))
            closed.append(whole[:cut].copy())  # a view would keep the rest alive
            self._pieces = [whole[cut:]]
            self._samples -= cut
        return closed

    def open(self) -> PcmF32:
        """Return what is not closed yet, as an array that later pushes do not change."""
        if len(self._pieces) != 1:
            self._pieces = [np.concatenate([np.empty(0, np.float32), *self._pieces])]
        return self._pieces[0]

    def clear(self) -> None:
        """Drop what is open."""
        self._pieces, self._samples = [], 0


def pause_in(pcm: PcmF32, first: int) -> int:
    """Return the middle of the quietest 200 ms that begin at `first` or later.

    Of several equally quiet ones the last: the rest, which is heard when somebody waits, is then short.
    """
    tail = pcm[first:]
    steps = tail[: tail.size // _STEP * _STEP].reshape(-1, _STEP)
    energy = np.einsum("ij,ij->i", steps, steps, dtype=np.float64)
    span = PAUSE // _STEP
    # Sums of neighbours, not differences of a running sum: those would not be equal in equal silence.
    quiet = np.convolve(energy, np.ones(span), mode="valid")[::-1]
    best = len(quiet) - 1 - int(quiet.argmin())
    return first + best * _STEP + PAUSE // 2
