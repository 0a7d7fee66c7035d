"""Gather every intent, and speak one phrasing of it."""

from __future__ import annotations

import random
import re
from functools import cache
from typing import Final

from engine_build.pico.grammar import (
    clock,
    facts,
    home,
    kinds,
    media,
    outside,
    people,
    recall,
    shopping,
    sums,
    talk,
    template,
)
from engine_build.pico.grammar.intent import Intent, Memory
from engine_build.pico.grammar.paraphrases import MORE

INTENTS: Final[tuple[Intent, ...]] = (
    *home.INTENTS, *clock.INTENTS, *shopping.INTENTS, *people.INTENTS, *media.INTENTS, *sums.INTENTS,
    *facts.INTENTS,
    *talk.INTENTS, *recall.INTENTS, *outside.INTENTS,
)  # fmt: skip
BY_NAME: Final = {intent.name: intent for intent in INTENTS}

# Courtesy around orders, questions and statements. The bare phrasing is frequent, as in life.
ORDER_FRAMES: Final = (
    *["{body}"] * 9, "please {body}", "please {body}", "{body} please", "{body} please",
    "(could|can|would) you {body}",
    "(could|can|would) you please {body}", "i (want|would like) you to {body}", "(hey|okay) {body}",
    "riposte {body}",
    "[hey] riposte [please] {body}", "{body} now", "could you {body} please", "now {body}", "{body} for me",
    "and {body}",
)  # fmt: skip
QUESTION_FRAMES: Final = (
    *["{body}"] * 9, "{body} please", "hey {body}", "riposte {body}", "please tell me {body}",
    "tell me {body}", "okay {body}",
    "excuse me {body}", "so {body}", "[a] question {body}", "and {body}", "hey riposte {body}", "now {body}",
)  # fmt: skip
SAYING_FRAMES: Final = (
    *["{body}"] * 10,
    "hey {body}",
    "well {body}",
    "okay {body}",
    "{body} please",
    "riposte {body}",
    "so {body}",
)
_QUESTIONS: Final = frozenset(
    ["what", "who", "where", "when", "how", "which", "is", "are", "do", "does", "can", "could", "did",
    "will", "have", "am", "was", "why", "whose", "would", "in", "of", "on", "for"]
)  # fmt: skip
_STATEMENTS: Final = frozenset(
    ["i", "my", "it", "there", "we", "the", "you", "and", "also", "a", "an", "no", "that", "this"]
)


def is_question(phrasing: str) -> bool:
    """Tell whether a phrasing asks."""
    return re.sub(r"[(\[]", "", phrasing).split("|")[0].split()[0] in _QUESTIONS


def frames(intent: Intent, phrasing: str) -> tuple[str, ...]:
    """List the courtesy frames that fit a phrasing."""
    if not intent.courtesy:
        return ("{body}",)
    first = re.sub(r"[(\[]", "", phrasing).split("|")[0].split()[0]
    if is_question(phrasing):
        return QUESTION_FRAMES
    return (
        SAYING_FRAMES
        if first in _STATEMENTS or first.startswith("{") or first in {"tell", "please"}
        else ORDER_FRAMES
    )


def utter(
    intent: Intent, phrasing: str, rng: random.Random, memory: Memory, fresh: float
) -> tuple[str, dict[str, str]]:
    """Speak a phrasing of an intent in a courtesy frame; return the words and the slots."""
    take, slots = intent.fill(rng, memory, fresh)
    body = template.expand(phrasing, rng, take)
    frame = rng.choice(frames(intent, phrasing))
    return template.expand(frame, rng, lambda name: body), slots


@cache
def _wholes() -> re.Pattern[str]:
    forms: set[str] = set()
    for intent in INTENTS:
        for phrasing in (*intent.phrasings, *intent.held, *MORE.get(intent.name, ())):
            if "{salad}" in phrasing or "{noise}" in phrasing:
                continue
            body = template.pattern(phrasing, kinds.pattern)
            heads = {
                template.pattern(frame.split("{body}")[0], kinds.pattern)
                for frame in frames(intent, phrasing)
            }
            before = "|".join(sorted(heads - {""})) or "(?!)"
            forms.add(f"(?:{before})?(?:{body})(?:now |please |for me )?")
    # "my dog's name": a filler ends in a space, so the possessive is a word of its own in the expression.
    return re.compile(re.sub(r"(?<=\w)'s", " 's", "|".join(sorted(forms))))


def is_whole(sentence: str) -> bool:
    """Tell whether words in spoken form are a whole sentence of the grammar, not only its beginning."""
    return _wholes().fullmatch(sentence.replace("'s", " 's") + " ") is not None
