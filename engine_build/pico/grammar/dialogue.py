"""Write conversations: what a user says, what is replied, and what either was about."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, Literal

from engine_build.pico.grammar import intents, outside, written
from engine_build.pico.grammar.intent import Intent, Memory
from engine_build.pico.grammar.intents import BY_NAME, INTENTS
from engine_build.pico.grammar.paraphrases import MORE
from engine_build.pico.grammar.tools import Call, Schema
from engine_build.pico.grammar.unseen import UNSEEN

Split = Literal["train", "test", "unseen"]
# One name or thing in seven is made up: copying then works for names that no list holds.
FRESH_SHARE: Final = 0.15
MOST_TURNS: Final = 12
MORE_SHARE: Final = 0.45


@dataclass(frozen=True, slots=True)
class Exchange:
    """Hold one turn. `acceptable` lists every reply that is right here; `reply` is one of them.

    With `call`, a tool is called first, answers `result`, and `reply` speaks of that.
    """

    user: str
    reply: str
    intent: str
    slots: dict[str, str]
    acceptable: tuple[str, ...] = ()
    spoken: str = ""
    call: Call | None = None
    result: str = ""

    def accepts(self, reply: str) -> bool:
        """Tell whether a reply has the right intent and every slot."""
        return reply.strip() in self.acceptable


@dataclass(frozen=True, slots=True)
class Conversation:
    """Hold the turns of one conversation, oldest first, and the tools that were offered in it."""

    exchanges: tuple[Exchange, ...] = field(default_factory=tuple)
    tools: tuple[Schema, ...] = ()


def exchange(
    intent: Intent, rng: random.Random, memory: Memory, split: Split = "train", fresh: float = FRESH_SHARE
) -> Exchange:
    """Speak one turn of an intent and update what the conversation remembers."""
    phrasing = rng.choice(_phrasings(intent, rng, split))
    spoken, slots = intents.utter(intent, phrasing, rng, memory, fresh)
    acceptable = intent.replies(memory, slots)
    reply = rng.choice(acceptable)
    question = intents.is_question(phrasing)
    user = spoken if intent.name in outside.WRITTEN_ONLY else written.write(spoken, slots, question, rng)
    memory.awaited = None
    intent.keep(memory, slots)
    memory.reply = reply
    return Exchange(user, reply, intent.name, slots, acceptable, spoken)


def _phrasings(intent: Intent, rng: random.Random, split: Split) -> tuple[str, ...]:
    if split == "test":
        return intent.held
    if split == "unseen":
        return UNSEEN[intent.name]
    more = MORE.get(intent.name, ()) if rng.random() < MORE_SHARE else ()
    return more or intent.phrasings


def choose(rng: random.Random, memory: Memory) -> Intent:
    """Choose what is said next, given what was said so far."""
    if memory.awaited is not None and rng.random() < 0.9:
        return BY_NAME["message_body"]
    return rng.choices(INTENTS, [intent.weight * intent.fits(memory) for intent in INTENTS])[0]


def turn_count(rng: random.Random) -> int:
    """Draw a length: many short conversations, a tail up to twelve turns."""
    return rng.choices(range(1, MOST_TURNS + 1), (8, 5, 5, 5, 4, 4, 3, 3, 2, 2, 2, 2))[0]


def conversation(
    rng: random.Random, split: Split = "train", turns: int | None = None, fresh: float = FRESH_SHARE
) -> Conversation:
    """Write one conversation of `turns` turns; "
    ""test" and "unseen" speak only phrasings that training never sees."""
    memory = Memory()
    count = turns if turns is not None else turn_count(rng)
    exchanges: list[Exchange] = []
    while len(exchanges) < count:
        intent = choose(rng, memory)
        if split != "unseen" or intent.name in UNSEEN:
            exchanges.append(exchange(intent, rng, memory, split, fresh))
    return Conversation(tuple(exchanges))


def drill(rng: random.Random, names: tuple[str, ...], turns: int, fresh: float = FRESH_SHARE) -> Conversation:
    """Write a conversation about some intents only: sums and recall need more practice than the rest."""
    memory = Memory()
    few = [BY_NAME[name] for name in names]
    exchanges: list[Exchange] = []
    for _ in range(turns):
        weights = [intent.weight * intent.fits(memory) for intent in few]
        exchanges.append(exchange(rng.choices(few, weights)[0], rng, memory, "train", fresh))
    return Conversation(tuple(exchanges))


def memory_conversation(
    rng: random.Random,
    subject: Literal["name", "list"],
    gap: int = 4,
    split: Split = "train",
    fresh: float = FRESH_SHARE,
) -> Conversation:
    """Write a conversation that tells a name or a list, talks of `gap` other things, and asks for it."""
    memory = Memory()
    told = {"name": ["name_tell"], "list": ["list_add", "list_add"]}[subject]
    asked = {"name": "name_ask", "list": "list_read"}[subject]
    shut = {"name_tell", "name_ask", "list_add", "list_remove", "list_clear", "list_read"}
    turns = [exchange(BY_NAME[name], rng, memory, split, fresh) for name in told]
    while len(turns) < len(told) + gap:
        intent = choose(rng, memory)
        if intent.name not in shut:
            turns.append(exchange(intent, rng, memory, split, fresh))
    return Conversation((*turns, exchange(BY_NAME[asked], rng, memory, split, fresh)))
