"""Judge the use of tools, in sentences whose phrasings training never saw; a part of `eval_thinking`."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import Final

from engine_build.pico.grammar import Call, Exchange, tool_conversation
from engine_build.pico.grammar.dialogue import Split
from engine_build.pico.grammar.tools import TOOLS
from engine_build.pico.judge import Judge

TOOLS_BAR: Final = 0.95
_CALL: Final = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
_NAMES: Final = (
    ("called", "the right tool called, every argument right"),
    ("not_called", "no call where none is due, tools offered"),
    ("not_offered", "no call where no tool is offered"),
    ("success_told", "a success told right"),
    ("failure_told", "a failure told right, with its reason"),
    ("others_right", "other replies right with tools offered"),
)


def read_call(reply: str) -> Call | None:
    """Read the one call of a reply; None where there is none, or it is not well formed."""
    found = _CALL.fullmatch(reply.strip())
    if found is None:
        return None
    try:
        read = json.loads(found[1])
        return Call(read["name"], read["arguments"])
    except (ValueError, KeyError, TypeError):
        return None


def using_tools(judge: Judge, conversations: int, split: Split, shown: int) -> dict[str, float]:
    """Judge every turn of conversations with tools, each after right turns; print some mistakes.

    Which tools are offered, in what order and words, is drawn as in training; a few conversations offer none.
    """
    rng = random.Random(90_004)
    talks = [
        *(tool_conversation(rng, split, fresh=0.0) for _ in range(conversations)),
        *(tool_conversation(rng, split, fresh=0.0, offered=()) for _ in range(conversations // 5)),
        *(tool_conversation(rng, split, 1, 0.0, offered=TOOLS, share=1.0) for _ in range(conversations // 3)),
    ]
    asked = [
        (exchange, bool(talk.tools), prompts)
        for talk in talks
        for exchange, prompts in zip(talk.exchanges, judge.encoder.tool_prompts(talk), strict=True)
    ]
    firsts = judge.replies([first for _, _, (first, _) in asked])
    used = [(exchange, then) for exchange, _, (_, then) in asked if then is not None]
    told = judge.replies([then for _, then in used])
    called: list[bool] = []
    silent: dict[bool, list[bool]] = {True: [], False: []}
    others: list[bool] = []
    wrong: list[tuple[Exchange, str, str]] = []
    for (exchange, offered, _), reply in zip(asked, firsts, strict=True):
        if exchange.call is not None:
            called.append(read_call(reply) == exchange.call)
            if not called[-1]:
                wrong.append((exchange, exchange.call.text(), reply))
            continue
        silent[offered].append("<tool_call>" not in reply)
        if offered:
            others.append(exchange.accepts(reply))
        if not silent[offered][-1]:
            wrong.append((exchange, exchange.reply, reply))
    outcomes: dict[bool, list[bool]] = {True: [], False: []}
    for (exchange, _), reply in zip(used, told, strict=True):
        outcomes[exchange.reply.startswith("Sorry")].append(exchange.accepts(reply))
        if not exchange.accepts(reply):
            wrong.append((exchange, f"{exchange.result} -> {exchange.reply}", reply))
    rng.shuffle(wrong)
    for exchange, wanted, reply in wrong[:shown]:
        print(f"{exchange.intent}: {exchange.user!r}\n    wanted {wanted!r}\n    got    {reply!r}")
    return {
        "turns": len(asked),
        "calls": len(called),
        "called": _share(called),
        "not_called": _share(silent[True]),
        "not_offered": _share(silent[False]),
        "success_told": _share(outcomes[False]),
        "failure_told": _share(outcomes[True]),
        "others_right": _share(others),
    }


def table(
    title: str, figures: dict[str, float], bar: float | None
) -> tuple[tuple[str, float, float | None], ...]:
    """Write figures as rows of the table: what, share, bar."""
    return tuple(
        (f"{title}: {name}", figures[key], None if key == "others_right" else bar) for key, name in _NAMES
    )


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)
