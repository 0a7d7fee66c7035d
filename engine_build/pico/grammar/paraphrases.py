"""Read further phrasings for training the language model: the more it read, the better it takes a new one.

They are typed: hearing does not speak them, its sentences and its vocabulary stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_suffix(".txt")


def read_phrasings(text: str) -> dict[str, tuple[str, ...]]:
    """Read intents, each followed by its phrasings on indented lines."""
    found: dict[str, list[str]] = {}
    phrasings: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            phrasings.append(line.strip())
        else:
            phrasings = found.setdefault(line.strip(), [])
    return {name: tuple(each) for name, each in found.items()}


MORE: Final = read_phrasings(_FILE.read_text(encoding="utf-8"))
"""Training phrasings of the language model beyond those that hearing shares, by intent."""
