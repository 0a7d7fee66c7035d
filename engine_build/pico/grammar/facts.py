"""Ask for the small facts that fit into a small model."""

from __future__ import annotations

from typing import Final

from engine_build.pico.grammar import words
from engine_build.pico.grammar.intent import Intent, Memory, Replies, Slots
from engine_build.pico.grammar.words import month, number, proper, sentence

_COUNTRIES: Final = {capital: country for country, capital in words.CAPITALS.items()}


def a(noun: str) -> str:
    """Put the indefinite article before a noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _capital(memory: Memory, slots: Slots) -> tuple[str, ...]:
    country = slots["country"]
    return (f"The capital of {proper(country)} is {proper(words.CAPITALS[country])}.",)


def _capital_of(memory: Memory, slots: Slots) -> tuple[str, ...]:
    capital = slots["capital"]
    return (f"{proper(capital)} is the capital of {proper(_COUNTRIES[capital])}.",)


def _language(memory: Memory, slots: Slots) -> tuple[str, ...]:
    country = slots["speaking"]
    return (f"In {proper(country)} people speak {proper(words.LANGUAGES[country])}.",)


def _opposite(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"The opposite of {slots['word']} is {words.OPPOSITES[slots['word']]}.",)


def _legs(memory: Memory, slots: Slots) -> tuple[str, ...]:
    count = words.LEGS[slots["walker"]]
    return (f"{sentence(a(slots['walker']))} has {number(count) if count else 'no'} legs.",)


def _hue(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"{sentence(slots['thing'])} is {words.HUES[slots['thing']]}.",)


def _fact(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"{sentence(slots['fact'])} is {proper(words.FACTS[slots['fact']])}.",)


def _day(verb: str, step: int) -> Replies:
    def replies(memory: Memory, slots: Slots) -> tuple[str, ...]:
        other = words.DAYS[(words.DAYS.index(slots["day"]) + step) % 7]
        return (f"{proper(other)} comes {verb} {proper(slots['day'])}.",)

    return replies


def _month(verb: str, step: int) -> Replies:
    def replies(memory: Memory, slots: Slots) -> tuple[str, ...]:
        other = words.MONTHS[(words.MONTHS.index(slots["month"]) + step) % 12]
        return (f"{month(other)} comes {verb} {month(slots['month'])}.",)

    return replies


def _month_days(memory: Memory, slots: Slots) -> tuple[str, ...]:
    days = words.MONTH_DAYS[words.MONTHS.index(slots["month"])]
    return (f"{month(slots['month'])} has {number(days)} days.",)


INTENTS: Final = (
    Intent(
        "capital",
        (
            "what is the capital of {country}", "(which|what) city is the capital of {country}",
            "the capital of {country}",
            "do you know the capital of {country}", "tell me the capital of {country}",
            "name the capital of {country}",
            "which city is the capital in {country}", "capital of {country}",
            "what is the capital city of {country}",
        ),
        ("which capital has {country}", "what is the name of the capital of {country}"),
        _capital, weight=2.0,
    ),
    Intent(
        "capital_of",
        (
            "{capital} is the capital of (which|what) country",
            "(which|what) country has the capital {capital}",
            "of which country is {capital} the capital", "where is {capital}",
            "in (which|what) country is {capital}",
            "(which|what) country is {capital} in", "do you know where {capital} is",
            "tell me where {capital} is",
        ),
        ("which country does {capital} belong to",),
        _capital_of, weight=1.3,
    ),
    Intent(
        "language",
        (
            "(what|which) language do they speak in {speaking}", "what do people speak in {speaking}",
            "(what|which) language is spoken in {speaking}", "what is the language of {speaking}",
            "how do people talk in {speaking}",
            "do you know the language of {speaking}", "tell me the language of {speaking}",
            "the language of {speaking}",
        ),
        ("which language do people speak in {speaking}",),
        _language,
    ),
    Intent(
        "opposite",
        (
            "what is the opposite of {word}", "the opposite of {word}", "tell me the opposite of {word}",
            "opposite of {word}",
            "do you know the opposite of {word}", "(what|which) word is the opposite of {word}",
            "name the opposite of {word}",
            "what is not {word} but the opposite", "give me the opposite of {word}",
        ),
        ("which word means the opposite of {word}",),
        _opposite, weight=2.0,
    ),
    Intent(
        "sound",
        (
            "what does (a|the) {beast} say", "(what|which) sound does (a|the) {beast} make",
            "how does (a|the) {beast} sound",
            "what noise does (a|the) {beast} make", "make the sound of (a|the) {beast}",
            "what does (a|the) {beast} sound like",
            "the sound of (a|the) {beast}", "tell me what (a|the) {beast} says",
            "what do you hear from (a|the) {beast}",
        ),
        ("how does (a|the) {beast} go",),
        lambda memory, slots: (f"{sentence(a(slots['beast']))} says {words.SOUNDS[slots['beast']]}.",),
        weight=0.9,
    ),
    Intent(
        "baby",
        (
            "what is (a|the) baby {parent} [called]", "what is (a|the) young {parent} called",
            "what do you call a baby {parent}",
            "what is the baby of a {parent} [called]", "the baby of a {parent}",
            "how is a baby {parent} called",
            "what is the word for a baby {parent}", "tell me what a baby {parent} is called",
        ),
        ("what do you call the baby of a {parent}",),
        lambda memory, slots: (f"A baby {slots['parent']} is called a {words.BABIES[slots['parent']]}.",),
        weight=0.9,
    ),
    Intent(
        "legs",
        (
            "how many legs (does|has) (a|the) {walker} [have]", "how many legs are on a {walker}",
            "the number of legs of a {walker}",
            "what number of legs has a {walker}", "tell me how many legs a {walker} has",
            "do you know how many legs a {walker} has",
            "count the legs of a {walker}", "how many legs are there on a {walker}",
        ),
        ("on how many legs does a {walker} walk",),
        _legs, weight=0.9,
    ),
    Intent(
        "hue",
        (
            "what colour (is|has) {thing}", "which colour (is|has) {thing}",
            "what is the colour of {thing}", "the colour of {thing}",
            "do you know the colour of {thing}", "tell me the colour of {thing}",
            "name the colour of {thing}", "how does {thing} look",
        ),
        ("do you know what colour {thing} is",),
        _hue,
    ),
    Intent(
        "count",
        (
            "how many {count}", "tell me how many {count}", "do you know how many {count}",
            "can you tell me how many {count}",
            "say how many {count}", "do you remember how many {count}", "so how many {count}",
            "i want to know how many {count}",
        ),
        ("i would like to know how many {count}",),
        lambda memory, slots: (f"{words.COUNTS[slots['count']]}.",), weight=1.2,
    ),
    Intent(
        "fact",
        (
            "what is {fact}", "(which|who) is {fact}", "do you know {fact}", "tell me {fact}",
            "name {fact}", "can you name {fact}",
            "what do you call {fact}", "do you know what {fact} is", "i want to know {fact}",
        ),
        ("i would like to know {fact}",),
        _fact, weight=1.2,
    ),
    Intent(
        "day_after",
        (
            "(what|which) day (is|comes) after {day}", "what comes after {day}", "the day after {day}",
            "which day follows {day}",
            "what is the day after {day}", "what is the next day after {day}",
            "tell me the day after {day}", "after {day} comes what",
        ),
        ("what follows after {day}",), _day("after", 1), weight=0.9,
    ),
    Intent(
        "day_before",
        (
            "(what|which) day (is|comes) before {day}", "what comes before {day}", "the day before {day}",
            "what was the day before {day}",
            "what is the day before {day}", "what is the last day before {day}",
            "tell me the day before {day}", "before {day} comes what",
        ),
        ("which day do we have before {day}",), _day("before", -1), weight=0.9,
    ),
    Intent(
        "month_after",
        (
            "(what|which) month (is|comes) after {month}", "what comes after {month}",
            "the month after {month}",
            "which month follows {month}", "what is the month after {month}",
            "what is the next month after {month}",
            "tell me the month after {month}", "after {month} comes what",
        ),
        ("what follows after {month}",), _month("after", 1), weight=0.9,
    ),
    Intent(
        "month_before",
        (
            "(what|which) month (is|comes) before {month}", "what comes before {month}",
            "the month before {month}",
            "what was the month before {month}", "what is the month before {month}",
            "what is the last month before {month}",
            "tell me the month before {month}", "before {month} comes what",
        ),
        ("which month do we have before {month}",), _month("before", -1), weight=0.9,
    ),
    Intent(
        "month_days",
        (
            "how many days (does|has) {month} [have]", "how many days are in {month}",
            "how long is {month}", "the number of days in {month}",
            "tell me how many days {month} has", "do you know how many days {month} has",
            "how many days are there in {month}",
            "what number of days has {month}",
        ),
        ("count the days of {month}",), _month_days, weight=0.9,
    ),
)  # fmt: skip
