"""Find when each letter, and so each word, of a known text was said, by its best path through a CTC head.

The letters are peaks somewhere inside their sounds, so a boundary between two words is put in the middle
between the last letter of one and the first of the next: right to about 40 ms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
LEAD = 10  # frames of silence before what is aligned
POSITION = 2  # frames of mel in one position of the encoder
EDGE = 6.0  # frames of sound before a text's first letter, and behind its last


def letter_paths(
    log_probs: F32, texts: Sequence[str], positions: Sequence[int], letters: str
) -> list[NDArray[np.int64]]:
    """Return the most probable path of each text through [batch, time, 1 + letters], blank first.

    A path has one number a position: 2 i + 1 inside letter i, 2 i in the blank before it.
    """
    states = 2 * max(map(len, texts)) + 1
    labels = np.zeros((len(texts), states), np.int64)
    for row, text in zip(labels, texts, strict=True):
        row[1 : 2 * len(text) : 2] = [letters.index(letter) + 1 for letter in text]
    skips = np.zeros_like(labels, bool)  # over a blank, unless it parts two equal letters
    skips[:, 2:] = (labels[:, 2:] != 0) & (labels[:, 2:] != labels[:, :-2])
    rows = np.arange(len(texts))
    longest = log_probs.shape[1]
    steps = np.zeros((longest, len(texts), states), np.int8)
    best = np.full((len(texts), states), -np.inf, np.float32)
    best[:, :2] = np.take_along_axis(log_probs[:, 0], labels[:, :2], axis=1)
    finals = np.zeros(len(texts), np.int64)
    lasts = np.array([2 * len(text) for text in texts])
    paths = np.zeros((longest, len(texts)), np.int64)
    for at in range(longest):
        if at:
            came = np.full((3, *best.shape), -np.inf, np.float32)
            came[0], came[1, :, 1:], came[2, :, 2:] = best, best[:, :-1], best[:, :-2]
            came[2][~skips] = -np.inf
            steps[at] = came.argmax(axis=0)
            best = came.max(axis=0) + np.take_along_axis(log_probs[:, at], labels, axis=1)
        ended = np.array(positions) == at + 1
        blank_last = best[rows, lasts] >= best[rows, lasts - 1]
        finals[ended] = np.where(blank_last, lasts, lasts - 1)[ended]
    current = finals
    for at in range(longest - 1, -1, -1):
        inside = np.array(positions) > at
        paths[at] = current
        current = np.where(inside, current - steps[at, rows, current], current)
    return [paths[:count, row] for row, count in enumerate(positions)]


def word_spans(path: NDArray[np.int64], text: str, frames: int) -> F32:
    """Return where each word begins and ends, [words, 2], in frames of a mel that `LEAD` was put before."""
    at = {int(state): np.flatnonzero(path == state) for state in np.unique(path) if state % 2}
    found: list[tuple[float, float]] = []
    start = 0
    for word in text.split(" "):
        first, last = at.get(2 * start + 1), at.get(2 * (start + len(word) - 1) + 1)
        if first is None or last is None:  # the path has no room for every letter: squeezed speech
            return np.zeros((0, 2), np.float32)
        found.append((float(first[0] * POSITION - LEAD), float((last[-1] + 1) * POSITION - LEAD)))
        start += len(word) + 1
    spans = np.array(found, np.float32)
    middles = (spans[:-1, 1] + spans[1:, 0]) / 2
    gaps = spans[1:, 0] - spans[:-1, 1]
    spans[1:, 0] = np.where(gaps > 2 * EDGE, spans[1:, 0] - EDGE, middles)  # a pause belongs to neither
    spans[:-1, 1] = np.where(gaps > 2 * EDGE, spans[:-1, 1] + EDGE, middles)
    spans[0, 0] -= EDGE
    spans[-1, 1] += EDGE
    return spans.clip(0, frames)
