"""Expand and match phrasings: `(a|b)` chooses, `[a]` may be left out, `{slot}` is filled."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

# One in three: frequent enough to be learned, rare enough that the plain phrasing stays the usual one.
OPTIONAL_SHARE: Final = 0.35


@dataclass(frozen=True, slots=True)
class Slot:
    """Name a place that is filled when the phrasing is spoken."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Offer alternatives; an optional part offers leaving it out as well."""

    branches: tuple[tuple[Part, ...], ...]
    optional: bool


Part: TypeAlias = "str | Slot | Choice"

_TOKEN: Final = re.compile(r"[()\[\]|]|\{(\w+)\}|[^()\[\]|{}]+")
_CLOSERS: Final = {"(": ")", "[": "]"}


@cache
def parse(text: str) -> tuple[Part, ...]:
    """Parse a phrasing; raise ValueError where brackets do not match."""
    tokens = list(_TOKEN.finditer(text))
    branches, end = _branches(tokens, 0, "")
    if end != len(tokens) or len(branches) != 1:
        raise ValueError(f"phrasing {text!r} has a loose bracket or bar; put alternatives in ( )")
    return branches[0]


def _branches(tokens: list[re.Match[str]], at: int, closer: str) -> tuple[tuple[tuple[Part, ...], ...], int]:
    branches: list[tuple[Part, ...]] = []
    parts: list[Part] = []
    while at < len(tokens):
        token = tokens[at]
        mark = token.group()
        if mark == closer:
            return (*branches, tuple(parts)), at + 1
        if mark == "|":
            branches.append(tuple(parts))
            parts = []
            at += 1
        elif mark in _CLOSERS:
            inner, at = _branches(tokens, at + 1, _CLOSERS[mark])
            parts.append(Choice(inner, mark == "["))
        elif mark in ")]":
            raise ValueError(f"unexpected {mark!r} in phrasing {token.string!r}")
        else:
            parts.append(Slot(token.group(1)) if token.group(1) else mark)
            at += 1
    if closer:
        raise ValueError(f"missing {closer!r} in a phrasing")
    return (*branches, tuple(parts)), at


def expand(text: str, rng: random.Random, fill: Callable[[str], str]) -> str:
    """Speak a phrasing once, with random choices and filled slots."""
    return " ".join("".join(_speak(parse(text), rng, fill)).split())


def _speak(parts: tuple[Part, ...], rng: random.Random, fill: Callable[[str], str]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Slot):
            yield fill(part.name)
        elif not part.optional or rng.random() < OPTIONAL_SHARE:
            yield from _speak(rng.choice(part.branches), rng, fill)


def variants(text: str) -> int:
    """Count the wordings of a phrasing, its slots left open."""

    def count(parts: tuple[Part, ...]) -> int:
        total = 1
        for part in parts:
            if isinstance(part, Choice):
                total *= sum(count(branch) for branch in part.branches) + part.optional
        return total

    return count(parse(text))


def literals(text: str) -> set[str]:
    """List the fixed words of a phrasing."""

    def walk(parts: tuple[Part, ...]) -> Iterator[str]:
        for part in parts:
            if isinstance(part, str):
                yield from part.split()
            elif isinstance(part, Choice):
                for branch in part.branches:
                    yield from walk(branch)

    return set(walk(parse(text)))


def pattern(text: str, fill: Callable[[str], str]) -> str:
    """Write a phrasing as a regular expression over words that each end in one space."""

    def walk(parts: tuple[Part, ...]) -> str:
        out: list[str] = []
        for part in parts:
            if isinstance(part, str):
                out.extend(re.escape(word) + " " for word in part.split())
            elif isinstance(part, Slot):
                out.append(f"(?:{fill(part.name)})")
            else:
                out.append(f"(?:{'|'.join(walk(branch) for branch in part.branches)})" + "?" * part.optional)
        return "".join(out)

    return walk(parse(text))
