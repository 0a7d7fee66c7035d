"""Tell something in a conversation and ask for it later."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from engine_build.pico.grammar import kinds
from engine_build.pico.grammar.intent import Intent, Memory, Slots
from engine_build.pico.grammar.words import proper


def _keep_name(memory: Memory, slots: Slots) -> None:
    memory.name = slots["name"]


def _keep_home(memory: Memory, slots: Slots) -> None:
    memory.home = slots["city"]


def _keep_age(memory: Memory, slots: Slots) -> None:
    memory.age = slots["years"]


def _keep_favourite(memory: Memory, slots: Slots) -> None:
    memory.favourites[slots["subject"]] = slots["favourite"]


def _keep_relative(memory: Memory, slots: Slots) -> None:
    memory.relatives[slots["relative"]] = slots["petname"]


def _keep_place(memory: Memory, slots: Slots) -> None:
    memory.places[slots["object"]] = slots["place"]


def _name(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"Nice to meet you, {slots['name'].capitalize()}.",)


def _ask_name(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (
        f"Your name is {memory.name.capitalize()}." if memory.name else "You have not told me your name yet.",
    )


def _ask_home(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"You live in {proper(memory.home)}." if memory.home else "You have not told me where you live.",)


def _ask_age(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"You are {memory.age} years old." if memory.age else "You have not told me your age.",)


def _ask_favourite(memory: Memory, slots: Slots) -> tuple[str, ...]:
    subject = slots["subject"]
    if subject not in memory.favourites:
        return (f"You have not told me your favourite {subject}.",)
    return (f"Your favourite {subject} is {proper(memory.favourites[subject])}.",)


def _relative(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"Okay, your {slots['relative']} is called {slots['petname'].capitalize()}.",)


def _ask_relative(memory: Memory, slots: Slots) -> tuple[str, ...]:
    relative = slots["relative"]
    if relative not in memory.relatives:
        return (f"You have not told me the name of your {relative}.",)
    return (f"Your {relative} is called {memory.relatives[relative].capitalize()}.",)


def _place(memory: Memory, slots: Slots) -> tuple[str, ...]:
    verb = "are" if slots["object"].endswith("s") else "is"
    return (f"Okay, your {slots['object']} {verb} {slots['place']}.",)


def _ask_place(memory: Memory, slots: Slots) -> tuple[str, ...]:
    verb = "are" if slots["object"].endswith("s") else "is"
    if slots["object"] not in memory.places:
        return (f"You have not told me where your {slots['object']} {verb}.",)
    return (f"Your {slots['object']} {verb} {memory.places[slots['object']]}.",)


def _draw_favourite(rng: random.Random, memory: Memory) -> dict[str, str]:
    subject = rng.choice(list(kinds.FAVOURITES))
    return {"subject": subject, "favourite": rng.choice(kinds.FAVOURITES[subject])}


def _draw_told(slot: str, field: str) -> Callable[[random.Random, Memory], dict[str, str]]:
    def draw(rng: random.Random, memory: Memory) -> dict[str, str]:
        told = list(getattr(memory, field))
        return {slot: rng.choice(told) if told and rng.random() < 0.8 else kinds.draw(slot, rng)[0]}

    return draw


def _told(field: str) -> Callable[[Memory], float]:
    return lambda memory: 4.0 if getattr(memory, field) else 0.25


def _untold(field: str) -> Callable[[Memory], float]:
    return lambda memory: 0.4 if getattr(memory, field) else 1.0


INTENTS: Final = (
    Intent(
        "name_tell",
        (
            "my name is {name}", "i am {name}", "[you can] call me {name}", "i am called {name}",
            "the name is {name}",
            "hello i am {name}", "hi my name is {name}", "this is {name}", "{name} is my name",
            "hello this is {name}",
            "hi i am {name}", "my first name is {name}", "my friends call me {name}",
        ),
        ("people call me {name}", "hey there my name is {name}"),
        _name, weight=2.6, keep=_keep_name, fits=_untold("name"), courtesy=False,
    ),
    Intent(
        "name_ask",
        (
            "what is my name", "who am i", "do you know my name", "do you remember (my name|me|who i am)",
            "what am i called",
            "say my name", "tell me my name", "what did i say my name was", "can you remember my name",
            "how am i called",
            "what was my name [again]",
        ),
        ("do you still know my name", "what do my friends call me"),
        _ask_name, weight=1.6, fits=_told("name"),
    ),
    Intent(
        "home_tell",
        (
            "i live in {city}", "my home is in {city}", "i am from {city}", "my house is in {city}",
            "i am at home in {city}",
            "we live in {city}", "my home town is {city}", "i come from {city}",
        ),
        ("my flat is in {city}",),
        lambda memory, slots: (f"Okay, you live in {proper(slots['city'])}.",), keep=_keep_home,
        fits=_untold("home"), courtesy=False,
    ),
    Intent(
        "home_ask",
        (
            "where do i live", "where am i from", "do you know where i live", "which city do i live in",
            "what is my home town",
            "where is my home", "do you remember where i live", "tell me where i live",
            "in which city do i live",
            "where do i come from",
        ),
        ("where did i say i live", "which city am i from"),
        _ask_home, weight=0.8, fits=_told("home"),
    ),
    Intent(
        "age_tell",
        (
            "i am {years} years old", "i am {years}", "my age is {years}", "i turned {years} [today]",
            "i am {years} years of age",
            "i just turned {years}", "it is my birthday i am {years}", "i became {years} this year",
        ),
        ("i am now {years} years old",),
        lambda memory, slots: (f"Okay, you are {slots['years']} years old.",), weight=0.8, keep=_keep_age,
        fits=_untold("age"), courtesy=False,
    ),
    Intent(
        "age_ask",
        (
            "how old am i", "what is my age", "do you know how old i am", "do you know my age",
            "do you remember my age",
            "tell me my age", "what did i say my age was", "tell me how old i am",
        ),
        ("do you remember how old i am",),
        _ask_age, weight=0.7, fits=_told("age"),
    ),
    Intent(
        "favourite_tell",
        (
            "my favourite {subject} is {favourite}", "{favourite} is my favourite {subject}",
            "i like {favourite} most my favourite {subject}",
            "the {subject} i like (best|most) is {favourite}", "my best {subject} is {favourite}",
            "as a {subject} i like {favourite}",
            "remember [that] my favourite {subject} is {favourite}",
            "my favourite {subject} is [still] {favourite}",
        ),
        ("{favourite} is the {subject} i like best", "i have a favourite {subject} it is {favourite}"),
        lambda memory, slots: (f"Okay, your favourite {slots['subject']} is {proper(slots['favourite'])}.",),
        weight=2.0, draw=_draw_favourite, keep=_keep_favourite, courtesy=False,
    ),
    Intent(
        "favourite_ask",
        (
            "what is my favourite {subject}", "which {subject} do i like (best|most)",
            "do you know my favourite {subject}",
            "do you remember my favourite {subject}", "tell me my favourite {subject}",
            "what {subject} do i like",
            "what did i say my favourite {subject} is", "which {subject} is my favourite",
            "my favourite {subject} is what",
        ),
        ("what was my favourite {subject}", "which is my favourite {subject}"),
        _ask_favourite, weight=1.3, draw=_draw_told("subject", "favourites"), fits=_told("favourites"),
    ),
    Intent(
        "relative_tell",
        (
            "my {relative} is called {petname}", "my {relative}'s name is {petname}",
            "i have a {relative} called {petname}",
            "the name of my {relative} is {petname}", "{petname} is my {relative}",
            "{petname} is the name of my {relative}",
            "i have a {relative} [and] the name is {petname}", "my {relative} is {petname}",
            "remember [that] my {relative} is called {petname}",
        ),
        ("i call my {relative} {petname}", "we have a {relative} called {petname}"),
        _relative, weight=1.6, keep=_keep_relative, courtesy=False,
    ),
    Intent(
        "relative_ask",
        (
            "what is my {relative} called", "what is my {relative}'s name",
            "what is the name of my {relative}", "who is my {relative}",
            "do you know my {relative}'s name", "do you remember the name of my {relative}",
            "tell me the name of my {relative}",
            "do you know what my {relative} is called", "how is my {relative} called",
        ),
        ("what do i call my {relative}", "do you remember what my {relative} is called"),
        _ask_relative, weight=1.1, draw=_draw_told("relative", "relatives"), fits=_told("relatives"),
    ),
    Intent(
        "place_tell",
        (
            "i put (my|the) {object} {place}", "i left (my|the) {object} {place}",
            "(my|the) {object} is {place}",
            "(my|the) {object} are {place}", "remember [that] (my|the) {object} is {place}",
            "i have put (my|the) {object} {place}",
            "i hid (my|the) {object} {place}", "i keep (my|the) {object} {place}",
        ),
        ("you can find my {object} {place}", "i have left my {object} {place}"),
        _place, weight=1.4, keep=_keep_place, courtesy=False,
    ),
    Intent(
        "place_ask",
        (
            "where (is|are) my {object}", "where did i (put|leave) my {object}",
            "do you know where my {object} (is|are)",
            "i cannot find my {object}", "find my {object}", "tell me where my {object} (is|are)",
            "do you remember where i (put|left) my {object}", "i am looking for my {object}",
            "where is the {object}",
        ),
        ("where could my {object} be", "where have i put my {object}"),
        _ask_place, weight=1.1, draw=_draw_told("object", "places"), fits=_told("places"),
    ),
)  # fmt: skip
