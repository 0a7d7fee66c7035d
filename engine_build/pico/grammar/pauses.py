"""Where somebody pauses in a sentence: in front of a word that is needed, or where it could have ended."""

from __future__ import annotations

import random
import re
from typing import Final, NamedTuple

from engine_build.pico.grammar.intents import is_whole
from engine_build.pico.grammar.written import CONTRACTIONS

# What an address or an attention-getter consists of: a pause behind it is neither kind.
_OPENERS: Final = frozenset(
    ["hey", "hi", "hello", "okay", "so", "and", "well", "now", "riposte", "please", "excuse", "me", "a",
     "question", "there"]
)  # fmt: skip
# Ends that the grammar's phrasings may ask for and English does not: behind "is it cold in brussels"
# nobody can know that "tomorrow" comes.
_ADJUNCT: Final = re.compile(
    r"(for me|any more|now|please|today|tomorrow|tonight|again|outside|this week(end)?|at the weekend"
    r"|(on|next|this) \w+|tomorrow (morning|evening|afternoon)|in here|to meet you|in \w+ (today|tomorrow))"
    r"( please| now)?"
)
_COURTESY: Final = frozenset(["please", "now", "for me", "now please", "please now", "for me please"])
_LONG: Final = {re.compile(rf"\b{re.escape(short)}(?=\s|$)"): long for long, short in CONTRACTIONS.items()}


class Pause(NamedTuple):
    """A sentence in two parts, with a pause between them."""

    before: str
    after: str


def unfinished_split(sentence: str, rng: random.Random) -> Pause | None:
    """Split a user's sentence in front of a needed word: "turn on the … kitchen lights".

    None where there is no such place: too short, or no sentence that the grammar's users say.
    """
    return _choose(sentence, rng, ends=False)


def finished_split(sentence: str, rng: random.Random) -> Pause | None:
    """Split a user's sentence where it could have ended: "turn on the lights … in the kitchen".

    In front of a courtesy only where there is no other place; None where there is none at all.
    """
    return _choose(sentence, rng, ends=True)


def could_end(pause: Pause) -> bool:
    """Tell whether what stands before the pause may be all that somebody wanted to say."""
    return sounds_whole(pause.before) or _ADJUNCT.fullmatch(pause.after) is not None


def sounds_whole(text: str) -> bool:
    """Tell whether words in spoken form are a whole sentence of the grammar, contractions included."""
    for short, long in _LONG.items():
        text = short.sub(long, text)
    return is_whole(text)


def pauses(sentence: str) -> list[Pause]:
    """List the places inside a sentence, behind its second word and what it is opened with."""
    words = sentence.split()
    return [
        Pause(" ".join(words[:kept]), " ".join(words[kept:]))
        for kept in range(2, len(words))
        if not _OPENERS.issuperset(words[:kept])
    ]


def _choose(sentence: str, rng: random.Random, *, ends: bool) -> Pause | None:
    if not sounds_whole(sentence):
        return None
    places = [pause for pause in pauses(sentence) if could_end(pause) is ends]
    telling = [pause for pause in places if pause.after not in _COURTESY]
    return rng.choice(telling or places) if places else None
