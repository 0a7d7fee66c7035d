"""Describe an intent: how it is asked, what fills its slots, what may be replied, and what is remembered."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from engine_build.pico.grammar import kinds

Slots: TypeAlias = "Mapping[str, str]"


@dataclass(slots=True)
class Memory:
    """Keep what a conversation has said so far, as the replies need it."""

    name: str | None = None
    home: str | None = None
    age: str | None = None
    device: str | None = None
    timer: str | None = None
    alarm: str | None = None
    reminder: str | None = None
    awaited: str | None = None
    reply: str | None = None
    items: list[str] = field(default_factory=list)
    favourites: dict[str, str] = field(default_factory=dict)
    relatives: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


Replies: TypeAlias = "Callable[[Memory, Slots], tuple[str, ...]]"
Draw: TypeAlias = "Callable[[random.Random, Memory], dict[str, str]]"


def draw_each(rng: random.Random, memory: Memory) -> dict[str, str]:
    """Leave every slot to its kind."""
    return {}


def keep_nothing(memory: Memory, slots: Slots) -> None:
    """Remember nothing of this exchange."""


def always(memory: Memory) -> float:
    """Weigh the intent alike in every conversation."""
    return 1.0


@dataclass(frozen=True, slots=True)
class Intent:
    """Join the phrasings of one wish with its replies.

    `held` phrasings are kept out of all training of the language model; "
        "they measure it. `draw` fills slots that depend
    on each other or on the conversation; the other slots are filled by their kinds.
    """

    name: str
    phrasings: tuple[str, ...]
    held: tuple[str, ...]
    replies: Replies
    weight: float = 1.0
    draw: Draw = draw_each
    keep: Callable[[Memory, Slots], None] = keep_nothing
    fits: Callable[[Memory], float] = always
    courtesy: bool = True
    """False where "please" and "could you" would change the meaning or sound silly."""

    def fill(
        self, rng: random.Random, memory: Memory, fresh: float
    ) -> tuple[Callable[[str], str], dict[str, str]]:
        """Return a filler for a phrasing and the slots that it writes into as it goes.

        `fresh` is the share of made-up words among names and things (see `kinds.invented`).
        """
        drawn = self.draw(rng, memory)
        slots: dict[str, str] = {}

        def take(name: str) -> str:
            if name in drawn:
                slots[name] = drawn[name]
                return drawn[name]
            surface, values = kinds.draw(name, rng, fresh)
            slots.update(values)
            return surface

        return take, slots


def fixed(*replies: str) -> Replies:
    """Reply the same whatever the slots."""
    return lambda memory, slots: replies
