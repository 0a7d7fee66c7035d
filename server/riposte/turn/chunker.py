"""A stream of text to clauses that are fit to speak. Pure.

The first clause is short, so that sound begins early; later ones grow towards sentences, because longer
stretches sound better and there is time while the earlier ones play (facts: kokoro-onnx, Kokoro-FastAPI,
unmute). Where a text is cut depends on its characters alone, not on the pieces in which they come.
"""

from __future__ import annotations

import re

# What ends a clause when white space follows it. A decimal point, a time ("8:30") and an
# abbreviation's inner points are followed by no space.
_SENTENCE_END = re.compile(r"[.!?…]+[\"')\]”’]*\s+|\n+")
_CLAUSE_END = re.compile(r"[.!?…,;:]+[\"')\]”’]*\s+|\s[-–]+\s+|(?<=[\w\s])—|\n+")
# A comma behind a letter ends the first clause before its space is seen, which comes with the next token,
# 5 ms later and more. Not where a quotation or a bracket may end behind it.
_COMMA = re.compile(r"(?<=[^\W\d_]),")
_OPENING = re.compile(r"(?:^|\s)[\"'(\[“‘«]")
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|st|vs|etc|e\.g|i\.e|no)\.\s+$", re.IGNORECASE)
_WORD = re.compile(r"\S+")
_WORDS_8 = re.compile(r"(?:\S+\s+){7}\S+\s")

_MIN_WORDS = 2  # a one-word clause sounds clipped in every neural voice
# Characters from which a clause may end at a comma: the first, the second … A sentence's end is always taken.
_SOFT = (11, 25, 60, 150)
# Without any mark the first ends within 8 words and 48 characters, a later one within twice what there is to
# play before it: no model and no voice need be faster than that.
_FIRST_HARD = 48
_GROWTH = 2
_HARD = (32, 240)  # and not below the one, nor above the other

# In front of these a cut sounds like a breath; behind these and those, torn.
_JOINING = frozenset(
    _WORD.findall("""
    and or but nor because that which who whose when where while whether if unless until since so than as
    with without for from in into on onto at to of by about after before between through during under over
    near et ou mais donc car parce que qui quand où si avec sans pour dans sur sous à au aux en par comme
    chez vers entre depuis pendant""")
)
_LEANING = _JOINING | frozenset(
    _WORD.findall("""
    a an the any some each every my your his her its our their this these those i we he she they is are was
    were be not very le la les un une des du de mon ma mes ton ta tes son sa ses notre nos votre vos leur
    leurs ce cet cette ces je tu il elle on ils est sont ne très""")
)


class Chunker:
    """Collect text, give back clauses. Their concatenation is the text, but for white space between."""

    def __init__(self) -> None:
        self._text = ""
        self._count = 0
        self._ahead = 0  # characters that are still to be played, if a clause takes half its time to make

    def push(self, text: str) -> list[str]:
        """Add text; return the clauses that it completes, in order."""
        self._text += text
        clauses: list[str] = []
        while (cut := self._cut()) is not None:
            clause, self._text = self._text[:cut].strip(), self._text[cut:]
            clauses.append(clause)
            self._count += 1
            self._ahead = max(0, self._ahead - len(clause) // _GROWTH) + len(clause)
        return clauses

    def finish(self) -> str | None:
        """Return what is left at the end of the reply, or None."""
        rest, self._text = self._text.strip(), ""
        return rest or None

    def _cut(self) -> int | None:
        # White space in front would count as length, and how much of it is here depends on the pieces.
        self._text = self._text.lstrip()
        first = self._count == 0
        least, most = _HARD
        hard = _FIRST_HARD if first else min(most, max(least, _GROWTH * self._ahead))
        text = self._text[: hard + 1]  # no clause is longer, and a given text may have megabytes
        full = len(text) > hard
        if first and (words := _WORDS_8.match(text)) is not None:
            text, full = words[0], True
        ends = [end.end() for end in _SENTENCE_END.finditer(text)]
        # A comma is a better place than the one between two words that the hard limit would find.
        soft = min(_SOFT[min(self._count, len(_SOFT) - 1)], hard * 2 // 3)
        ends += [end.end() for end in _CLAUSE_END.finditer(text) if len(text[: end.end()].strip()) >= soft]
        if first:
            commas = (end.end() for end in _COMMA.finditer(text) if end.end() >= soft)
            ends += [end for end in commas if _OPENING.search(text[:end]) is None]
        for end in sorted(ends):
            head = text[:end]
            if len(head.split()) >= _MIN_WORDS and _ABBREVIATION.search(head) is None:
                return end
        return _between_words(text, hard) if full else None


def _between_words(text: str, hard: int) -> int:
    """Return the best place to cut a text that has no mark: in its second half, before a phrase begins."""
    words = list(_WORD.finditer(text))
    # Behind the last word, where it is whole, what follows is not known.
    places = [(word.start(), word[0]) for word in words[1:]]
    if text[-1].isspace():
        places.append((len(text), ""))
    best, rank = hard, -1  # a text without a single space is cut where it stands
    for (start, following), before in zip(places, words, strict=False):
        if start > hard:
            break
        good = 0 if _bare(before[0]) in _LEANING else 2 if _bare(following) in _JOINING else 1
        if start < len(text) // 2:
            good = 0  # too short to be better than what comes later
        if good >= rank:
            best, rank = start, good
    return best


def _bare(word: str) -> str:
    return word.strip("\"'(“‘«").lower()
