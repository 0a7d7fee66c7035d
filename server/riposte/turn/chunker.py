"""A stream of text to clauses that are fit to speak. Pure.

The first clause is short, so that sound begins early; later ones grow, because longer stretches sound
better and there is time while the earlier ones play (facts: kokoro-onnx, Kokoro-FastAPI, unmute).
"""

from __future__ import annotations

import re

# What ends a clause when white space follows it. A decimal point, a time ("8:30") and an
# abbreviation's inner points are followed by no space.
_SENTENCE_END = re.compile(r"[.!?…]+[\"')\]]*\s+|\n+")
_CLAUSE_END = re.compile(r"[.!?…,;:]+[\"')\]]*\s+|\s[-–—]+\s+|\n+")
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|st|vs|etc|e\.g|i\.e|no)\.\s+$", re.IGNORECASE)

# (characters from which a clause may end at a comma, characters after which it must end at a space)
_GROWTH = ((12, 48), (40, 120), (80, 240))
_MIN_WORDS = 2  # a one-word clause sounds clipped in every neural voice


class Chunker:
    """Collect text, give back clauses. Their concatenation is the text, but for white space between."""

    def __init__(self) -> None:
        self._text = ""
        self._count = 0

    def push(self, text: str) -> list[str]:
        """Add text; return the clauses that it completes, in order."""
        self._text += text
        clauses: list[str] = []
        while (cut := self._cut()) is not None:
            clause, self._text = self._text[:cut].strip(), self._text[cut:]
            if clause:
                clauses.append(clause)
                self._count += 1
        return clauses

    def finish(self) -> str | None:
        """Return what is left at the end of the reply, or None."""
        rest, self._text = self._text.strip(), ""
        return rest or None

    def _cut(self) -> int | None:
        soft, hard = _GROWTH[min(self._count, len(_GROWTH) - 1)]
        text = self._text[: hard + 1]  # no clause is longer, and a given text may have megabytes
        for end in _SENTENCE_END.finditer(text):
            head = text[: end.end()]
            if _ABBREVIATION.search(head) is None and (self._count or len(head.split()) >= _MIN_WORDS):
                return end.end()
        for end in _CLAUSE_END.finditer(text):
            head = text[: end.end()]
            if end.end() >= soft and len(head.split()) >= _MIN_WORDS and not _ABBREVIATION.search(head):
                return end.end()
        if len(text) <= hard:
            return None
        # A text without a single space is cut where it stands: a voice cannot be kept waiting.
        space = text.rfind(" ", 0, hard)
        return space + 1 if space > 0 else hard
