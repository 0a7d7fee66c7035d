"""Write spoken words the way people type them: capitals, digits, contractions, marks, slips."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Final

from engine_build.pico.grammar import words
from engine_build.pico.grammar.words import VALUES

SPOKEN_SHARE: Final = 0.6
CONTRACTIONS: Final = {
    "what is": "what's", "i am": "i'm", "do not": "don't", "did not": "didn't", "it is": "it's",
    "that is": "that's",
    "where is": "where's", "who is": "who's", "cannot": "can't", "i would": "i'd", "you are": "you're",
    "is not": "isn't",
    "how is": "how's", "i have": "i've", "we are": "we're", "let us": "let's", "there is": "there's",
    "when is": "when's",
}  # fmt: skip
_SIGNS: Final = {"plus": "+", "minus": "-", "times": "*", "divided by": "/"}
_WORDS_OF_NUMBERS: Final = frozenset(words.UNITS + words.TENS + ["hundred"])


def digits(phrase: str, clock: bool) -> str:
    """Write the number words of a phrase with digits; two numbers of a clock time become h:mm."""
    out: list[str] = []
    run: list[str] = []

    def flush() -> None:
        if not run:
            return
        hour, minute = VALUES.get(run[0]), VALUES.get(" ".join(run[1:]))
        if (
            clock
            and len(run) > 1
            and hour is not None
            and minute is not None
            and 1 <= hour <= 12
            and minute >= 10
        ):
            out.append(f"{hour}:{minute:02d}")
        elif (value := VALUES.get(" ".join(run))) is not None:
            out.append(str(value))
        else:
            out.extend(run)
        run.clear()

    for word in phrase.split():
        if word in _WORDS_OF_NUMBERS:
            run.append(word)
        else:
            flush()
            out.append(word)
    flush()
    return " ".join(out)


def contract(text: str, rng: random.Random, share: float) -> str:
    """Shorten some word pairs as speech does."""
    for long, short in CONTRACTIONS.items():
        if long in text and rng.random() < share:
            text = re.sub(rf"\b{long}\b(?! (?:it|they|we|you)$)(?= )", short, text)
    return text


def _slip(text: str, slots: Mapping[str, str], rng: random.Random) -> str:
    kept = {word for value in slots.values() for word in value.split()}
    every = text.split()
    able = [
        place for place, word in enumerate(every) if len(word) > 4 and word not in kept and word.isalpha()
    ]
    if not able:
        return text
    place = rng.choice(able)
    word = every[place]
    at = rng.randrange(1, len(word) - 1)
    every[place] = rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at] + word[at:],
        )
    )
    return " ".join(every)


def write(text: str, slots: Mapping[str, str], question: bool, rng: random.Random) -> str:
    """Write an utterance in one of the styles that users type, or leave it in spoken form (60 %)."""
    if rng.random() < SPOKEN_SHARE:
        return contract(text, rng, 0.15)
    if rng.random() < 0.06:
        text = _slip(text, slots, rng)
    if rng.random() < 0.6:
        for name, value in slots.items():
            text = text.replace(value, digits(value, name == "time"), 1) if value in text else text
        if "left" in slots and rng.random() < 0.5:
            for word, sign in _SIGNS.items():
                text = re.sub(rf"(\d) {word} (\d)", rf"\1 {sign} \2", text)
            if rng.random() < 0.3:
                text = re.sub(r"(\d) ([-+*/]) (\d)", r"\1\2\3", text)
        if rng.random() < 0.5:
            text = re.sub(r"(\d) percent", r"\1%", text)
    text = contract(text, rng, 0.5)
    style = rng.random()
    if style < 0.12:
        return text.replace("'", "")
    if style < 0.2:
        return f"{text}{'?' if question else rng.choice('.!')}"
    text = re.sub(r"\bi\b", "I", text)
    if style < 0.25:
        return text.upper()
    if style < 0.93:
        text = " ".join(
            word[:1].upper() + word[1:] if word.split("'")[0] in words.PROPER else word
            for word in text.split()
        )
        for name in ("name", "petname", "contact"):
            called = slots.get(name)
            if called is not None and " " not in called:
                text = re.sub(rf"\b{called}\b", called.capitalize(), text)
    text = text[:1].upper() + text[1:]
    text = re.sub(
        r"^(Hello|Hey|Hi|Please|Okay|Well)\b(?= \w+ \w)", r"\1," if rng.random() < 0.4 else r"\1", text
    )
    text = re.sub(r"(\w) please$", r"\1, please" if rng.random() < 0.5 else r"\1 please", text)
    ends = "?" if question else rng.choice(("", ".", ".", ".", "!"))
    return text if rng.random() < 0.25 else text + ends
