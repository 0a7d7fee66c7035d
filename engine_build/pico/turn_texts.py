"""What people say around turns: short answers, fillers, sentences with a pause, halves of them alone.

A text is a tuple of parts that are spoken separately, with a pause between. Halves of sentences are never a
sentence of the test split.
"""

from __future__ import annotations

import random

from engine_build.pico.grammar import spoken_sentence
from engine_build.pico.grammar.dialogue import Split
from engine_build.pico.grammar.speech import split_of

Parts = tuple[str, ...]

_ANSWERS = (
    "mm hmm,mm hmm,uh huh,uh huh,hmm,mm,yes,yes,yeah,yep,no,no,nope,okay,okay,right,"
    "right,sure,stop,stop,wait,wait,hello,hello,hi,hey,oh,ah,aha,wow,um,uh,i see,got it,"
    "go on,hang on,hold on,wait a moment,one moment,just a moment,thanks,thank you,please,"
    "cancel,cancel that,never mind,exactly,good,great,fine,perfect,all right,all right,"
    "of course,really,not now,excuse me,sorry,pardon,what,what was that,goodbye,bye,"
    "good morning,good night,good evening,yes please,no thanks,no thank you,be quiet,stop it,"
    "enough,again,continue,pause,louder,quieter,maybe,true,correct,wrong,yes yes,no no,"
    "no no no,stop stop,wait wait,okay okay,oh okay,oh no,uh huh yes,mm hmm yes,yeah right,"
    "yeah sure,that's right,riposte"
)
SHORT_ANSWERS = tuple(_ANSWERS.split(","))
FILLERS = ("um", "uh", "okay", "wait", "well", "so", "hey", "oh", "no", "yes", "right", "please", "hmm")

# How a synthesiser is made to say what has no spelling that it knows.
_ESPEAK = {"mm hmm": ("[[m:h'm:]]", "[[mmh'mm]]", "[['@mh@m]]", "[[m'mh@m]]"), "mm": ("[[mm:]]",)}
_FLITE = {"mm hmm": ("um hum", "um hm", "em hum"), "hmm": ("hum",), "mm": ("um",)}


def respelt(text: str, engine: str, rng: random.Random) -> str:
    """Return what to give a synthesiser so that it says the text."""
    for label, spellings in (_ESPEAK if engine == "espeak" else _FLITE).items():
        text = " ".join(
            rng.choice(spellings) if part == label else part for part in _around(text, label)
        ).strip()
    return text


def _around(text: str, label: str) -> list[str]:
    parts = f" {text} ".split(f" {label} ")
    return [piece for part in parts for piece in (part.strip(), label)][:-1]


def in_two(rng: random.Random, split: Split) -> Parts:
    """Cut a sentence of at least three words between two words, finished or not."""
    while True:
        words = spoken_sentence(rng, split).split()
        if len(words) < 3:
            continue
        at = rng.randrange(1, len(words))
        halves = " ".join(words[:at]), " ".join(words[at:])
        if split == "test" or all(split_of(half) == "train" for half in halves):
            return halves


def half(rng: random.Random, split: Split) -> str:
    """Return the beginning of a sentence, or its end."""
    return rng.choice(in_two(rng, split))


def with_filler(rng: random.Random) -> Parts:
    """Put a filler before a sentence, or where somebody stops to think, in one breath or in two."""
    filler = rng.choice(FILLERS)
    if rng.random() < 0.5:
        sentence = spoken_sentence(rng, "train")
        return (filler, sentence) if rng.random() < 0.5 else (f"{filler} {sentence}",)
    first, second = in_two(rng, "train")
    return (f"{first} {filler}", second) if rng.random() < 0.5 else (first, f"{filler} {second}")


def training_text(rng: random.Random, words: list[str]) -> Parts:
    """Draw what a training utterance says.

    A third are words that are no sentence, which keeps the decoder listening: with sentences alone it learns
    the grammar by heart and guesses.
    """
    kind = rng.random()
    if kind < 0.03:
        return (rng.choice(words),)
    if kind < 0.33:
        return (" ".join(rng.choices(words, k=rng.randint(2, 7))),)
    if kind < 0.40:
        return (rng.choice(SHORT_ANSWERS),)
    if kind < 0.43:
        return with_filler(rng)
    if kind < 0.51:
        return (half(rng, "train"),)
    if kind < 0.60:
        return in_two(rng, "train")
    return (spoken_sentence(rng, "train"),)


def test_text(subset: str, index: int, rng: random.Random) -> Parts:
    """Draw what an utterance of a test set says: always the test split's."""
    if subset == "paused":
        return in_two(rng, "test")
    if subset == "halves":
        return (half(rng, "test"),)
    if subset == "short":
        return (SHORT_ANSWERS[index % len(SHORT_ANSWERS)],)
    sentence = spoken_sentence(rng, "test")
    return (sentence, spoken_sentence(rng, "test")) if subset == "pairs" else (sentence,)
