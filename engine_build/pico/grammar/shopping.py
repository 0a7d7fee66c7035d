"""Keep the shopping list of a conversation."""

from __future__ import annotations

import random
from typing import Final

from engine_build.pico.grammar import kinds
from engine_build.pico.grammar.intent import Intent, Memory, Slots
from engine_build.pico.grammar.words import listed

# Longer lists are read to nobody, and every reply repeats the list.
MOST_ITEMS: Final = 7


def _whole(memory_items: list[str]) -> str:
    return f"Your list has {listed(memory_items)}." if memory_items else "Your list is empty."


def _split(slots: Slots) -> list[str]:
    return slots["items"].split(" and ")


def _added(memory: Memory, slots: Slots) -> list[str]:
    return [*memory.items, *(item for item in dict.fromkeys(_split(slots)) if item not in memory.items)]


def _add(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"Okay, I added {listed(_split(slots))}. {_whole(_added(memory, slots))}",)


def _keep_added(memory: Memory, slots: Slots) -> None:
    memory.items = _added(memory, slots)


def _remove(memory: Memory, slots: Slots) -> tuple[str, ...]:
    item = slots["listed"]
    if item not in memory.items:
        return (f"Sorry, I cannot find {item}. {_whole(memory.items)}",)
    return (f"Okay, I removed {item}. {_whole([each for each in memory.items if each != item])}",)


def _keep_removed(memory: Memory, slots: Slots) -> None:
    memory.items = [item for item in memory.items if item != slots["listed"]]


def _keep_none(memory: Memory, slots: Slots) -> None:
    memory.items = []


def _has(memory: Memory, slots: Slots) -> tuple[str, ...]:
    item = slots["listed"]
    return (f"Yes, {item} is on your list." if item in memory.items else f"No, {item} is not on your list.",)


def _draw_listed(rng: random.Random, memory: Memory) -> dict[str, str]:
    # Mostly something that is on the list: the other answer is learned from few examples.
    if memory.items and rng.random() < 0.75:
        return {"listed": rng.choice(memory.items)}
    return {"listed": kinds.draw("item", rng)[0]}


def _has_list(memory: Memory) -> float:
    return 3.0 if memory.items else 0.25


INTENTS: Final = (
    Intent(
        "list_add",
        (
            "add {items} to (the|my) [shopping] list", "put {items} on (the|my) [shopping] list",
            "add {items}",
            "buy {items}", "(i|we) need [to buy] {items}", "we are out of {items}",
            "(i|we) have no [more] {items}",
            "{items} [should go] on the [shopping] list", "write {items} on (the|my) list", "and {items}",
            "also {items}",
            "i want to buy {items}", "do not let me forget {items} at the store",
            "i would like to buy {items}",
            "note {items} for (the store|shopping)",
        ),
        ("the list needs {items}", "get {items} on my list", "also put {items} on it"),
        _add, weight=3.0, keep=_keep_added,
        fits=lambda memory: 1.2 if len(memory.items) < MOST_ITEMS - 2 else 0.0,
    ),
    Intent(
        "list_remove",
        (
            "(remove|delete|take) {listed} from (the|my) [shopping] list",
            "take {listed} off (the|my) [shopping] list",
            "remove {listed}", "i do not need {listed} [any more]", "(i|we) have [enough] {listed}",
            "no {listed}",
            "cross {listed} off (the|my) list", "i [already] bought {listed}", "delete {listed}",
            "forget the {listed}",
            "we [already] have {listed} [at home]",
        ),
        ("{listed} can go from the list", "get {listed} off my list"),
        _remove, weight=1.3, draw=_draw_listed, keep=_keep_removed, fits=_has_list,
    ),
    Intent(
        "list_read",
        (
            "what is on (the|my) [shopping] list", "read [me] (the|my) [shopping] list",
            "what do (i|we) need [to buy]",
            "show [me] (the|my) [shopping] list", "tell me (the|my) [shopping] list", "what should i buy",
            "what is [still] on the list", "what have i put on the list", "what do i have to buy",
            "my [shopping] list",
            "read the list back [to me]", "what did i add [to the list]", "which things are on (the|my) list",
        ),
        ("say my shopping list", "what things do i need from the store"),
        lambda memory, slots: (_whole(memory.items),), weight=1.6, fits=_has_list,
    ),
    Intent(
        "list_has",
        (
            "is {listed} on (the|my) [shopping] list", "are {listed} on (the|my) [shopping] list",
            "did i add {listed}",
            "have i got {listed} on (the|my) list", "do i [already] have {listed} on (the|my) list",
            "is {listed} there on (the|my) list", "did i put {listed} on (the|my) list",
            "does (the|my) list have {listed}",
        ),
        ("can you see {listed} on my list",),
        _has, weight=0.9, draw=_draw_listed, fits=_has_list,
    ),
    Intent(
        "list_clear",
        (
            "(clear|empty|delete|reset) (the|my) [shopping] list",
            "remove everything from (the|my) [shopping] list",
            "delete everything [on the list]", "start a new [shopping] list", "throw away (the|my) list",
            "take everything off (the|my) list", "i [already] bought everything",
            "forget (the|my) [shopping] list",
        ),
        ("make my list empty",),
        lambda memory, slots: ("Okay, your list is empty now.",), weight=0.6, keep=_keep_none, fits=_has_list,
    ),
)  # fmt: skip
