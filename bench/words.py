"""Words said against words heard."""

from __future__ import annotations

from collections.abc import Sequence


def word_errors(said: Sequence[str], heard: Sequence[str]) -> float:
    """Return the word error rate: words put in, left out or exchanged, over the words said."""
    errors = sum(distance(a, b) for a, b in zip(said, heard, strict=True))
    return errors / max(1, sum(len(text.split()) for text in said))


def distance(said: str, heard: str) -> int:
    """Return how many words have to be put in, left out or exchanged to make one text of the other."""
    a, b = said.split(), heard.split()
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        left, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            left, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, left + (word != other))
    return row[-1]


def has_both(heard: str, first: str, second: str) -> bool:
    """Tell whether a transcript holds both halves of what was said, misheard words aside.

    Of either half at least half the words have to be there, in order, one half after the other.
    """
    words = heard.split()
    most_before = [_common(first.split(), words[:cut]) for cut in range(len(words) + 1)]
    most_behind = [_common(second.split(), words[cut:]) for cut in range(len(words) + 1)]
    return any(
        2 * before >= len(first.split()) and 2 * behind >= len(second.split())
        for before, behind in zip(most_before, most_behind, strict=True)
    )


def _common(a: list[str], b: list[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        left = 0
        for j, other in enumerate(b, 1):
            left, row[j] = row[j], max(row[j], row[j - 1], left + (word == other))
    return row[-1]
