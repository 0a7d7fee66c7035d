"""Cut long speech at its pauses, as it arrives.

Pure: samples in, samples out. Where it cuts depends on the samples alone, never on how they were
pushed, so a recording is cut the same way each time.
"""

from __future__ import annotations

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
_PAUSE_DB = 25.0


class Segments:
    """The samples of one utterance, closed into segments of at most `limit` samples.

    `phrase`: a segment that is longer closes at its first pause between sentences; None: only at the limit.
    For models that were taught short utterances. Not thread-safe: it belongs to whoever pushes.
    """

    def __init__(self, limit: int, phrase: int | None = None) -> None:
        self._phrase = phrase
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
        while (cut := self._cut()) is not None:
            whole = self.open()
            closed.append(whole[:cut].copy())  # a view would keep the rest alive
            self._pieces = [whole[cut:]]
            self._samples -= cut
        return closed

    def _cut(self) -> int | None:
        """Return where the open segment closes, None while it goes on."""
        if self._phrase is not None and self._samples >= self._phrase + SENTENCE_PAUSE:
            cut = sentence_pause(self.open()[: self._limit], self._phrase)
            if cut is not None:
                return cut
        if self._samples <= self._limit:
            return None
        return pause_in(self.open()[: self._limit], int((1 - SEARCHED) * self._limit))

    def open(self) -> PcmF32:
        """Return what is not closed yet, as an array that later pushes do not change."""
        if len(self._pieces) != 1:
            self._pieces = [np.concatenate([np.empty(0, np.float32), *self._pieces])]
        return self._pieces[0]

    def clear(self) -> None:
        """Drop what is open."""
        self._pieces, self._samples = [], 0


def sentence_pause(pcm: PcmF32, first: int) -> int | None:
    """Return the middle of the first pause between sentences that begins at `first` or later, or None.

    What is quiet is told by what came before it alone, so that later samples do not move the cut.
    """
    levels = _energies(pcm)
    loudest = np.maximum.accumulate(levels)
    quiet = levels < loudest * 10 ** (-_PAUSE_DB / 10)
    span = SENTENCE_PAUSE // _STEP
    begin = -(-first // _STEP)
    runs = np.convolve(quiet[begin:], np.ones(span), mode="valid") if quiet.size - begin >= span else ()
    found = np.flatnonzero(np.asarray(runs) > span - 0.5)
    return None if found.size == 0 else (begin + int(found[0])) * _STEP + SENTENCE_PAUSE // 2


def _energies(pcm: PcmF32) -> NDArray[np.float64]:
    steps = pcm[: pcm.size // _STEP * _STEP].reshape(-1, _STEP)
    energies: NDArray[np.float64] = np.einsum("ij,ij->i", steps, steps, dtype=np.float64)
    return energies


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
