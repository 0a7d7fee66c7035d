"""Turn conversations of the grammar into rows of tokens with a weight each, and rows into dense batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from tokenizers import Tokenizer

from engine_build.pico.grammar import (
    Conversation,
    Exchange,
    conversation,
    drill,
    memory_conversation,
    tool_conversation,
    vocabulary,
)
from engine_build.pico.thinking_model import CONTEXT, tool_response, tools_text

# What the user says next is mostly chance, so it weighs little; whether the user has finished is what
# turn-taking asks.
USER_WEIGHT: Final = 0.3
BATCH_TOKENS: Final = 3072
POOL: Final = 48  # batches sorted by length together: padding stays under 3 %

SUMS: Final = (
    "sum_add",
    "sum_subtract",
    "sum_multiply",
    "sum_divide",
    "sum_half",
    "sum_double",
    "bigger",
    "smaller",
)
RECALL: Final = (
    "name_tell", "name_ask", "home_tell", "home_ask", "age_tell", "age_ask", "favourite_tell",
    "favourite_ask",
    "relative_tell", "relative_ask", "place_tell", "place_ask", "list_add", "list_remove", "list_read",
    "list_has",
)  # fmt: skip
LIST: Final = ("list_add", "list_remove", "list_read", "list_has", "list_clear")

BLUR_SHARE: Final = 0.3
SHOUT_SHARE: Final = 0.07
# Made-up names and things in the drills of memory: twice the share of ordinary talk.
FRESH_SHARE: Final = 0.3
# One row in three of the others is bare arithmetic, at half the tokens of a dialogue: ten thousand sums are
# to be learned.
TABLE_SHARE: Final = 0.33
TABLE_ROWS: Final = 15
# One row in three offers tools, but more than half the tokens are theirs: the schemas before each teach
# nothing. At two in five, lists were forgotten (93 % read back after four turns became 71).
TOOL_SHARE: Final = 0.33
# Changing one of these changes what is meant.
KEY_WORDS: Final = frozenset(
    [
        "on",
        "off",
        "up",
        "down",
        "not",
        "no",
        "plus",
        "minus",
        "times",
        "divided",
        "before",
        "after",
        "bigger",
        "smaller",
        "larger",
        "less",
        "more",
        "half",
        "double",
        "twice",
        "lock",
        "unlock",
        "open",
        "close",
        "closed",
        "locked",
        "unlocked",
        "next",
        "previous",
        "capital",
        "opposite",
        "language",
        "month",
        "months",
        "day",
        "days",
        "timer",
        "alarm",
        "list",
        "add",
        "remove",
        "delete",
        "subtract",
        "multiply",
        "divide",
        "name",
        "brighter",
        "darker",
        "louder",
        "quieter",
        "colour",
        "legs",
        "baby",
        "sound",
        "volume",
        "it",
        "that",
        "again",
        "thank",
        "thanks",
        "sorry",
        "hello",
        "goodbye",
        "yes",
        "stop",
        "cancel",
        "how",
        "who",
        "where",
        "what",
        "why",
        "when",
    ]
)
_ANY_WORDS: Final = [word for word in vocabulary() if word not in KEY_WORDS]

_WHO: Final = (
    "You are Riposte, a helpful voice assistant.", "You are a voice assistant.", "You are Riposte.",
    "You are a helpful assistant.",
    "You are Riposte, the voice of this house.", "You help with the house.",
    "You are an assistant that speaks.",
    "You are a friendly voice assistant.", "You are a helpful home assistant.",
)  # fmt: skip
_HOW: Final = (
    "Keep it short.", "Answer in one or two short sentences.", "Be kind.", "Be brief.", "Speak plainly.",
    "Do not use lists.",
    "Your answers are spoken aloud.", "Use simple words.", "Answer shortly and politely.",
    "Never use emoji or markdown.",
    "Numbers are spoken as words.", "If you do not know, say so.",
)  # fmt: skip


def instructions(rng: random.Random) -> str | None:
    """Write a system message for one conversation in three: it must not disturb."""
    if rng.random() > 0.33:
        return None
    return " ".join((rng.choice(_WHO), *rng.sample(_HOW, rng.choice((0, 0, 1, 1, 2, 3)))))


def practice(rng: random.Random) -> Conversation:
    """Write a training conversation: half of them as users talk, half of them drills of what is hard."""
    kind = rng.random()
    if kind < 0.12:
        return drill(rng, SUMS, rng.randint(2, 7))
    if kind < 0.30:
        return drill(rng, RECALL, rng.randint(3, 10), FRESH_SHARE)
    if kind < 0.42:
        return drill(rng, LIST, rng.randint(3, 9), FRESH_SHARE)
    if kind < 0.57:
        return memory_conversation(
            rng, rng.choice(("name", "list", "list")), rng.randint(0, 8), "train", FRESH_SHARE
        )
    if kind < 0.59:
        return conversation(rng, turns=rng.randint(13, 36))
    return conversation(rng)


def blur(exchange: Exchange, rng: random.Random) -> str | None:
    """Add, change or drop a word or two that carry no meaning; return None where there is none.

    Users word things as no phrasing does. A model that saw only clean phrasings guesses wildly at the first
    word that it does not know.
    """
    words = exchange.user.split()
    kept = {word for value in exchange.slots.values() for word in value.lower().split()} | KEY_WORDS
    if len(words) < 3 or exchange.intent in {"noise", "test", "message_body"}:
        return None
    changed = False
    for _ in range(rng.choice((1, 1, 2))):
        able = [
            place
            for place, word in enumerate(words)
            if not any(sign.isdigit() for sign in word) and word.lower().strip(".,!?") not in kept
        ]
        if not able:
            break
        place = rng.choice(able)
        other = rng.choice(_ANY_WORDS)
        kind = rng.random()
        words[place : place + 1] = [other, words[place]] if kind < 0.3 else [other] if kind < 0.75 else []
        changed = True
    return " ".join(words) if changed else None


@dataclass(frozen=True, slots=True)
class Row:
    """Hold the tokens of one conversation, and how much each counts when it is to be predicted."""

    tokens: list[int]
    weights: list[float]


class Encoder:
    """Write conversations exactly as the chat template does, with weights."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._end: int = self.words("<|im_end|>")[0]
        self._starts = {role: self.words(f"<|im_start|>{role}\n") for role in ("system", "user", "assistant")}
        self._newline = self.words("\n")

    def words(self, text: str) -> list[int]:
        """Encode text, special tokens included."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _say(self, row: Row, role: str, text: str, weight: float, end_weight: float) -> None:
        start, body = self._starts[role], self.words(text)
        row.tokens.extend((*start, *body, self._end, *self._newline))
        row.weights.extend(
            (*[0.0] * len(start), *[weight] * len(body), end_weight, *[0.0] * len(self._newline))
        )

    def prompt(self, turns: list[tuple[str, str]], user: str, system: str | None = None) -> list[int]:
        """Encode a conversation up to where the next reply begins."""
        row = Row([], [])
        if system is not None:
            self._say(row, "system", system, 0.0, 0.0)
        for said, replied in turns:
            self._say(row, "user", said, 0.0, 0.0)
            self._say(row, "assistant", replied, 0.0, 0.0)
        self._say(row, "user", user, 0.0, 0.0)
        return [*row.tokens, *self._starts["assistant"]]

    def opened(self, turns: list[tuple[str, str]], user: str) -> list[int]:
        """Encode a conversation up to the last word of an utterance that may go on."""
        behind = 1 + len(self._newline) + len(self._starts["assistant"])
        return self.prompt(turns, user)[:-behind]

    def tool_prompts(self, talk: Conversation) -> list[tuple[list[int], list[int] | None]]:
        """Encode each turn up to its reply, and up to what is said of a tool's result, if one is called.

        The turns before it went as the conversation says.
        """
        row = self._opening(talk, None)
        prompts: list[tuple[list[int], list[int] | None]] = []
        for exchange in talk.exchanges:
            self._say(row, "user", exchange.user, 0.0, 0.0)
            first = [*row.tokens, *self._starts["assistant"]]
            self._use_tool(row, exchange)
            then = [*row.tokens, *self._starts["assistant"]] if exchange.call is not None else None
            prompts.append((first, then))
            self._say(row, "assistant", exchange.reply, 0.0, 0.0)
        return prompts

    def _opening(self, talk: Conversation, system: str | None) -> Row:
        row = Row([], [])
        text = tools_text(talk.tools, system)
        if text is not None:
            self._say(row, "system", text, 0.0, 0.0)
        return row

    def _use_tool(self, row: Row, exchange: Exchange) -> None:
        if exchange.call is not None:
            self._say(row, "assistant", exchange.call.text(), 1.0, 1.0)
            self._say(row, "user", tool_response(exchange.result), 0.0, 0.0)

    def table(self, rng: random.Random) -> Row:
        """Encode replies of arithmetic without their questions; only what follows "is" counts."""
        row = Row([], [])
        for exchange in drill(rng, SUMS, TABLE_ROWS).exchanges:
            asked, _, answer = exchange.reply.rpartition(" is ")
            if exchange.intent in {"bigger", "smaller"}:
                asked, _, answer = exchange.reply.partition(" is ")
            start, given = self._starts["assistant"], self.words(f"{asked} is")
            found = (*self.words(f" {answer}"), self._end)
            row.tokens.extend((*start, *given, *found, *self._newline))
            row.weights.extend(
                (*[0.0] * (len(start) + len(given)), *[1.0] * len(found), *[0.0] * len(self._newline))
            )
        return row

    def row(self, talk: Conversation, system: str | None, rng: random.Random) -> Row:
        """Encode a conversation for training; some replies are cut short, as an interruption cuts them."""
        row = self._opening(talk, system)
        for place, exchange in enumerate(talk.exchanges):
            blurred = blur(exchange, rng) if rng.random() < BLUR_SHARE else None
            shouted = exchange.user.upper() if rng.random() < SHOUT_SHARE else exchange.user
            # Nonsense must not be learned, nor where it ends: only the reply to it counts.
            weights = (USER_WEIGHT, 1.0) if blurred is None else (0.0, 0.0)
            self._say(row, "user", shouted if blurred is None else blurred, *weights)
            self._use_tool(row, exchange)
            after = talk.exchanges[place + 1].intent if place + 1 < len(talk.exchanges) else "again"
            if rng.random() < 0.03 and after != "again" and not exchange.intent.startswith("list"):
                said = exchange.reply.split()
                self._say(row, "assistant", " ".join(said[: rng.randrange(1, len(said) + 1)]), 0.0, 0.0)
            else:
                self._say(row, "assistant", exchange.reply, 1.0, 1.0)
        del row.tokens[CONTEXT:], row.weights[CONTEXT:]
        return row


def batches(
    encoder: Encoder, first_pool: int, seed: int = 1
) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Yield pools of batches (tokens, weights) for ever. A pool depends on its number: training resumes."""
    pool = first_pool
    while True:
        rng = random.Random(seed * 1_000_003 + pool)
        rows: list[Row] = []
        total = 0
        while total < POOL * BATCH_TOKENS:
            kind = rng.random()
            if kind < TOOL_SHARE:
                rows.append(encoder.row(tool_conversation(rng), instructions(rng), rng))
            elif kind < TOOL_SHARE + (1 - TOOL_SHARE) * TABLE_SHARE:
                rows.append(encoder.table(rng))
            else:
                rows.append(encoder.row(practice(rng), instructions(rng), rng))
            total += len(rows[-1].tokens)
        yield _group(rows, rng)
        pool += 1


def _group(rows: list[Row], rng: random.Random) -> list[tuple[torch.Tensor, torch.Tensor]]:
    rows.sort(key=lambda row: len(row.tokens) + rng.random())
    groups: list[list[Row]] = []
    group: list[Row] = []
    for row in reversed(rows):
        if group and (len(group) + 1) * len(group[0].tokens) > BATCH_TOKENS:
            groups.append(group)
            group = []
        group.append(row)
    groups.append(group)
    rng.shuffle(groups)
    return [_stack(each) for each in groups]


def _stack(rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(row.tokens) for row in rows)
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    weights = torch.zeros(len(rows), width)
    for place, row in enumerate(rows):
        tokens[place, : len(row.tokens)] = torch.tensor(row.tokens)
        weights[place, : len(row.weights)] = torch.tensor(row.weights)
    return tokens, weights
