"""Give hearing its sentences: words in spoken form, split into training and test by the sentence itself."""

from __future__ import annotations

import random
import re
import zlib
from functools import cache
from typing import Final

from engine_build.pico.grammar import facts, intents, kinds, outside, talk, template, words, written
from engine_build.pico.grammar.dialogue import Split, choose
from engine_build.pico.grammar.intent import Memory
from engine_build.pico.grammar.intents import INTENTS

# The replies are heard as well: the voice is judged through our own ears.
REPLY_SHARE: Final = 0.15
TEST_SHARE: Final = 0.08
# Facts and small talk hold most of the rare words. At their weight in conversations some would be heard once
# a day.
RARE_SHARE: Final = 0.3
RARE_REPLY_SHARE: Final = 0.35


# Words of one or two sentences, which the hash would happen to keep from training altogether.
ALWAYS_TRAINED: Final = frozenset(
    [
        "agree",
        "mother's",
        "wife's",
        "apologize",
        "better",
        "breathe",
        "brother's",
        "chinese",
        "croak",
        "eyes",
        "foal",
        "her",
        "him",
        "horse's",
        "introduce",
        "japanese",
        "online",
        "pausing",
        "polish",
        "try",
        "wheel",
        "removed",
        "cousin's",
        "dog's",
        "cat's",
        "always",
        "afraid",
        "app",
        "begin",
    ]
)
_RARE: Final = (
    *facts.INTENTS, *facts.INTENTS, *talk.INTENTS,
    *[intent for intent in outside.INTENTS if intent.name not in outside.WRITTEN_ONLY]
)  # fmt: skip


def spoken_form(text: str) -> str:
    """Reduce written English to what hearing writes: lower case, apostrophes, number words."""
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower()).split())


def split_of(sentence: str) -> Split:
    """Tell for good which split a sentence belongs to. One word alone is always trained on."""
    if " " not in sentence or not ALWAYS_TRAINED.isdisjoint(sentence.split()):
        return "train"
    return "test" if zlib.crc32(sentence.encode()) % 1000 < 1000 * TEST_SHARE else "train"


def _any_sentence(rng: random.Random) -> str:
    memory = Memory()
    told = rng.random()
    if told < 0.3:
        # Some replies exist only once something was told.
        memory.items = rng.sample(kinds.LISTS["item"], rng.randint(1, 4))
        memory.name = kinds.draw("name", rng)[0]
        memory.timer, memory.alarm = kinds.draw("duration", rng)[0], kinds.draw("time", rng)[0]
    if told < 0.02:
        memory.awaited = kinds.draw("name", rng)[0]
    intent = choose(rng, memory)
    while intent.name in outside.WRITTEN_ONLY:
        intent = choose(rng, memory)
    reply_share = REPLY_SHARE
    if rng.random() < RARE_SHARE:
        intent, reply_share = rng.choice(_RARE), RARE_REPLY_SHARE
    text, slots = intents.utter(intent, rng.choice((*intent.phrasings, *intent.held)), rng, memory, 0.0)
    if rng.random() < reply_share:
        return spoken_form(rng.choice(intent.replies(memory, slots)))
    return written.contract(text, rng, 0.2)


def spoken_sentence(rng: random.Random, split: Split = "train") -> str:
    """Speak one sentence of the domain, in spoken form; "
    "about a fifth are replies, for the ears that judge the voice."""
    while True:
        sentence = _any_sentence(rng)
        if sentence and split_of(sentence) == split:
            return sentence


@cache
def _words() -> tuple[str, ...]:
    found: set[str] = set()
    for intent in INTENTS:
        if intent.name in outside.WRITTEN_ONLY:
            continue
        for phrasing in (*intent.phrasings, *intent.held):
            found |= template.literals(phrasing)
    found.update(written.CONTRACTIONS.values())
    for values in kinds.LISTS.values():
        found.update(word for value in values for word in value.split())
    found.update(outside.SALAD)
    found.update(f"{relative}'s" for relative in words.RELATIVES)
    # Replies and composed slots are drawn: enough of them that every word shows, from a fixed seed.
    rng = random.Random(0)
    for intent in INTENTS:
        for _ in range(0 if intent.name in outside.WRITTEN_ONLY else 400):
            memory = Memory(awaited="anna")
            if rng.random() < 0.7:
                memory.name, memory.home, memory.age, memory.timer, memory.device = (
                    "anna",
                    "paris",
                    "ten",
                    "ten minutes",
                    "the fan",
                )
                memory.items = ["milk", "eggs"]
            text, slots = intents.utter(intent, rng.choice(intent.phrasings), rng, memory, 0.0)
            found.update(spoken_form(" ".join((text, *intent.replies(memory, slots)))).split())
    return tuple(sorted(found - {"", "'s"}))


def vocabulary() -> list[str]:
    """List every word of the domain, sorted."""
    return list(_words())
