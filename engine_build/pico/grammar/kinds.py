"""Fill the slots of phrasings, and say which words each slot can hold."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from engine_build.pico.grammar import words
from engine_build.pico.grammar.words import number

HOURS: Final = [number(hour) for hour in range(1, 13)]
MINUTES: Final = [
    "fifteen",
    "thirty",
    "forty five",
    "ten",
    "twenty",
    "forty",
    "fifty",
    "five past",
    "twenty five",
    "o'clock",
]
DAY_PARTS: Final = [
    "in the morning",
    "in the evening",
    "tomorrow",
    "tomorrow morning",
    "on monday",
    "on friday",
    "on sunday",
]
WHENS: Final = [
    "tomorrow", "tonight", "later", "in the morning", "in the evening", "at noon", "on the weekend",
    "next week",
    *(f"on {day}" for day in words.DAYS), *(f"at {hour}" for hour in HOURS), "in ten minutes", "in one hour",
    "in twenty minutes", "in two hours", "in half an hour",
]  # fmt: skip
LEVELS: Final = [number(level) for level in [*range(5, 101, 5), *range(1, 100, 7)]]

LISTS: Final[dict[str, Sequence[str]]] = {
    "name": words.NAMES, "petname": [*words.PET_NAMES, *words.NAMES], "room": words.ROOMS,
    "colour": words.LIGHT_COLOURS,
    "opening": words.OPENINGS, "level": LEVELS, "degrees": [number(value) for value in range(14, 29)],
    "genre": words.GENRES, "task": words.TASKS, "body": words.BODIES, "relative": words.RELATIVES,
    "object": words.THINGS, "place": words.PLACES, "day": words.DAYS, "month": words.MONTHS,
    "city": words.CITIES,
    "country": list(words.CAPITALS), "capital": list(words.CAPITALS.values()),
    "speaking": list(words.LANGUAGES),
    "word": list(words.OPPOSITES), "beast": list(words.SOUNDS), "parent": list(words.BABIES),
    "walker": list(words.LEGS),
    "thing": list(words.HUES), "count": list(words.COUNTS), "fact": list(words.FACTS), "when": WHENS,
    "years": [number(value) for value in range(4, 100)], "value": [number(value) for value in range(101)],
    "left": [number(value) for value in range(101)], "right": [number(value) for value in range(101)],
    "relday": ["today", "tomorrow", "tonight", "this weekend", "on monday",
    "on saturday"], "item": words.ITEMS,
    "listed": words.ITEMS, "favourite": [
        *words.COLOURS, *words.FOODS, *words.ANIMALS, *words.SEASONS, *words.DRINKS, *words.SPORTS,
        *words.DAYS,
    ],
    "subject": ["colour", "food", "animal", "season", "drink", "sport", "day"],
    "device": [*words.LIGHTS, *words.DEVICES], "lamp": words.LIGHTS, "large": [],
}  # fmt: skip

FAVOURITES: Final[dict[str, Sequence[str]]] = {
    "colour": words.COLOURS, "food": words.FOODS, "animal": words.ANIMALS, "season": words.SEASONS,
    "drink": words.DRINKS, "sport": words.SPORTS, "day": words.DAYS,
}  # fmt: skip

_ONSETS: Final = [
    "b",
    "br",
    "c",
    "ch",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gl",
    "gr",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "r",
    "s",
    "sh",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "z",
]
_VOWELS: Final = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "oo", "ee"]
_ENDS: Final = ["", "", "n", "l", "r", "s", "t", "m", "x", "ck", "nd", "th"]


def invented(rng: random.Random) -> str:
    """Make up a word: only copying letters can repeat it, so training on some teaches to copy any."""
    syllables = rng.choice((1, 2, 2, 3))
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables)) + rng.choice(_ENDS)


def _placed(devices: Sequence[str]) -> Callable[[random.Random], tuple[str, dict[str, str]]]:
    def pick(rng: random.Random) -> tuple[str, dict[str, str]]:
        device = rng.choice(devices)
        roomed = rng.random()
        if roomed < 0.35:
            return f"the {device}", {"device": device}
        room = rng.choice(words.ROOMS)
        slots = {"device": device, "room": room}
        return (f"the {room} {device}" if roomed < 0.75 else f"the {device} in the {room}"), slots

    return pick


def _duration(rng: random.Random) -> tuple[str, dict[str, str]]:
    if rng.random() < 0.08:
        spoken = rng.choice(
            ["half an hour", "one and a half hours", "an hour", "a minute", "a quarter of an hour"]
        )
        return spoken, {"duration": spoken}
    unit = rng.choices(["minute", "second", "hour"], [6, 2, 2])[0]
    amount = (
        rng.choice([1, 2, 3, 4, 5, 6, 8, 10, 12])
        if unit == "hour"
        else rng.choice([*range(1, 61), 10, 5, 15, 20, 30])
    )
    spoken = f"{number(amount)} {unit}{'s' if amount != 1 else ''}"
    return spoken, {"duration": spoken}


def _time(rng: random.Random) -> tuple[str, dict[str, str]]:
    hour = rng.choice(HOURS)
    style = rng.random()
    if style < 0.4:
        spoken = hour
    elif style < 0.85:
        spoken = f"{hour} {rng.choice([each for each in MINUTES if 'past' not in each])}"
    else:
        spoken = f"{rng.choice(['half past', 'quarter past', 'quarter to', 'ten past', 'five to'])} {hour}"
    if rng.random() < 0.3:
        spoken = f"{spoken} {rng.choice(DAY_PARTS)}"
    return spoken, {"time": spoken}


def _contact(rng: random.Random) -> tuple[str, dict[str, str]]:
    contact = rng.choice(words.CONTACTS) if rng.random() < 0.3 else rng.choice(words.NAMES)
    return contact, {"contact": contact}


def _items(rng: random.Random) -> tuple[str, dict[str, str]]:
    items = rng.sample(words.ITEMS, rng.choices((1, 2, 3), (6, 3, 1))[0])
    return " and ".join(items), {"items": " and ".join(items)}


COMPOSED: Final[dict[str, Callable[[random.Random], tuple[str, dict[str, str]]]]] = {
    "placed": _placed([*words.LIGHTS * 3, *words.DEVICES]), "placedlamp": _placed(words.LIGHTS),
    "duration": _duration,
    "time": _time, "contact": _contact, "items": _items,
}  # fmt: skip
_FRESH: Final = frozenset({"name", "petname", "item", "contact"})


def draw(kind: str, rng: random.Random, fresh: float = 0.0) -> tuple[str, dict[str, str]]:
    """Fill one slot: its words, and the values understood from them."""
    if fresh and kind in _FRESH and rng.random() < fresh:
        word = invented(rng)
        return word, {kind: word}
    if kind == "items" and fresh and rng.random() < fresh:
        items = [
            invented(rng) if rng.random() < 0.6 else rng.choice(words.ITEMS)
            for _ in range(rng.choice((1, 1, 2)))
        ]
        return " and ".join(items), {"items": " and ".join(items)}
    if kind in COMPOSED:
        return COMPOSED[kind](rng)
    value = rng.choice(LISTS[kind])
    return value, {kind: value}


def _either(values: Sequence[str]) -> str:
    # Longest first, so that "kitchen window" is not cut at "kitchen".
    return "|".join(re.escape(value) + " " for value in sorted(set(values), key=len, reverse=True)).replace(
        "\\ ", " "
    )


@cache
def pattern(kind: str) -> str:
    """Write all fillers of a slot as a regular expression over words that each end in one space."""
    numbers = _either([number(value) for value in range(101)])
    if kind in {"placed", "placedlamp"}:
        rooms, devices = _either(words.ROOMS), _either(LISTS["device" if kind == "placed" else "lamp"])
        return f"the (?:{rooms})?(?:{devices})(?:in the (?:{rooms}))?"
    if kind == "duration":
        odd = _either(["half an hour", "one and a half hours", "an hour", "a minute", "a quarter of an hour"])
        return f"(?:{odd}|(?:{numbers})(?:minutes? |seconds? |hours? ))"
    if kind == "time":
        hours, past = _either(HOURS), "half past |quarter past |quarter to |ten past |five to "
        return f"(?:(?:{past})(?:{hours})|(?:{hours})(?:{_either(MINUTES)})?)(?:{_either(DAY_PARTS)})?"
    if kind == "contact":
        return f"(?:{_either([*words.CONTACTS, *words.NAMES])})"
    if kind == "items":
        return f"(?:{_either(words.ITEMS)})(?:and (?:{_either(words.ITEMS)}))*"
    if kind == "large":
        return f"(?:{_either([number(value) for value in range(101, 1000)])})"
    return f"(?:{_either(LISTS[kind])})"
