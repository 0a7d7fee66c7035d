"""Say things that are outside the domain: requests nobody taught, word salad, and no words at all."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from engine_build.pico.grammar import kinds
from engine_build.pico.grammar.intent import Intent, Memory, fixed

CANNOT: Final = "Sorry, I cannot do that. Ask me about lights, timers, lists or sums."
NOT_UNDERSTOOD: Final = "Sorry, I did not understand that."

SALAD: Final = [
    "apple",
    "river",
    "purple",
    "seven",
    "table",
    "window",
    "never",
    "sofa",
    "green",
    "because",
    "under",
    "letter",
    "cloud",
    "maybe",
    "spoon",
    "orange",
    "tomorrow",
    "horse",
    "with",
    "again",
    "street",
    "paper",
    "if",
    "yellow",
    "but",
    "and",
    "or",
    "mountain",
    "quickly",
    "bottle",
    "garden",
    "the",
    "a",
    "of",
    "to",
    "he",
    "she",
    "they",
    "winter",
    "chair",
    "round",
    "number",
    "ticket",
    "bread",
    "seldom",
    "candle",
    "north",
    "kitchen",
    "lamp",
    "train",
    "music",
    "wheel",
    "word",
    "sand",
    "forest",
    "city",
]
_TESTS: Final = ("test", "testing", "test test", "this is a test", "just a test", "one two three",
"testing one two three", "test one",
                 "check check", "hello world", "microphone check", "test message", "only a test", "a b c",
                 "blah blah", "hmm", "what", "why", "because", "maybe",
                 "and", "the", "so", "well", "uh", "um", "ah")  # fmt: skip


def salad(rng: random.Random) -> str:
    """Mix words without sense."""
    return " ".join(rng.choice(SALAD) for _ in range(rng.choice((1, 2, 3, 3, 4, 5, 6, 8))))


def noise(rng: random.Random) -> str:
    """Write what a cat on a keyboard or a probing program would write."""
    style = rng.random()
    if style < 0.3:
        return " ".join(kinds.invented(rng) for _ in range(rng.randint(1, 6)))
    if style < 0.45:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 16)))
    if style < 0.7:
        count = rng.choice(("", f" {rng.randint(0, 9)}", f" {rng.randint(0, 99)}"))
        stamp = rng.choice(("", f" {rng.randint(10**3, 10**10)}", f" {rng.randint(10**3, 10**10)}"))
        return (
            rng.choice(
                (
                    "test",
                    "Test",
                    "testing",
                    "TEST",
                    "ping",
                    "foo",
                    "probe",
                    "hello test",
                    "check",
                    "message",
                    "turn",
                )
            )
            + count
            + stamp
        )
    if style < 0.8:
        return str(rng.randint(0, 10 ** rng.randint(1, 10)))
    if style < 0.9:
        return "".join(rng.choice(".,!?#*-_/()<>[]{}=+%&$;:") for _ in range(rng.randint(1, 8)))
    return " ".join(
        rng.choice(("lorem", "ipsum", "foo", "bar", "xyz", "asdf", "qwerty", "null", "abc", "dolor"))
        for _ in range(rng.randint(1, 5))
    )


def _outside(
    make: Callable[[random.Random], str], slot: str
) -> Callable[[random.Random, Memory], dict[str, str]]:
    return lambda rng, memory: {slot: make(rng)}


INTENTS: Final = (
    Intent(
        "cannot",
        (
            "(book|find|order) [me] (a flight|a hotel|a taxi|a ticket|a table|a train) [to {city}]",
            "write [me] (a poem|a letter|an essay|a report|an email|some code|a program)",
            "who won the (game|world cup|election|race) [yesterday|last night]",
            "what is the price of (gold|oil|{item}|a house)", "how do i get to {city}",
            "translate {item} (into|to) (french|german|spanish|italian)",
            "(search|look) for {item} on the internet", "who is the (president|king|queen) of {country}",
            "how far is it to {city}", "what is in the news [today]", "(drive|bring|take) me to {city}",
            "(wash|clean|paint|cook|repair|bake) (the|my) (car|house|roof|dog|dinner|shoes)",
            "how do i (cook|bake|repair|grow|clean) {item}", "how many people live in {city}",
            "who wrote (the bible|this book|faust|that letter)", "when was {city} built",
            "explain (the internet|gravity|black holes|the theory of relativity|how a car works)",
            "how tall is the (tower|mountain|building)", "(buy|sell) [me] (a house|a car|stocks|gold)",
            "take a (picture|photo)", "send an email to the bank", "open the (browser|file|app)",
            "make (me|us) (a coffee|a sandwich|dinner|breakfast)", "give me money",
            "recommend [me] a (book|film|restaurant)", "what is the square root of {value}",
            "(draw|paint) [me] (a picture|a cat|a house)",
            "when does the (bus|train|shop|show) (come|leave|open|close|start)",
            "how do you spell {item}", "what does {word} mean", "how many calories are in {item}",
            "why is the sky blue", "what should i wear",
            "where is the (nearest|next) (shop|station|hospital|school)",
            "what is the recipe for {item}", "can you (dance|drive|swim|fly|cook|see me|walk|smell)",
            "read my emails", "update the software", "who was the first man on the moon",
        ),
        (
            "find out who won the race", "can you write an essay for me", "show me the way to {city}",
            "tell me the price of {item}", "tell me how to cook {item}",
        ),
        fixed(CANNOT), weight=3.6,
    ),
    Intent("test", (*_TESTS, "{salad}", "{salad}", "{salad}"), ("test three", "another test", "blah"),
    fixed(NOT_UNDERSTOOD), weight=1.2,
           draw=_outside(salad, "salad"), courtesy=False),
    Intent("noise", ("{noise}",), ("{noise}",), fixed(NOT_UNDERSTOOD), weight=1.0,
    draw=_outside(noise, "noise"), courtesy=False),
)  # fmt: skip

WRITTEN_ONLY: Final = frozenset({"noise"})
"""Intents that exist on a keyboard only: nobody speaks them, so hearing never sees them."""
