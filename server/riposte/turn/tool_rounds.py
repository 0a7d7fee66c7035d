"""What a turn's model said and asked of tools, round by round, and what was answered. Pure but for its wait.

A round is one reply of the model. One that asks for tools is followed by another, which sees their results;
the last asks for none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from riposte.errors import BadValue, EngineError
from riposte.interfaces import Message, ToolUse

NOT_WAITED_FOR = "no tool call of that id is waiting for a result"


@dataclass(slots=True)
class _Round:
    first_clause: int  # its number among the turn's
    text: list[str] = field(default_factory=list)
    calls: list[ToolUse] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)  # by call
    refused: int = 0  # calls that the client has no part in


class ToolRounds:
    """The rounds of one turn, which may use these tools, and ask for some in `limit` rounds at most."""

    def __init__(self, tools: Sequence[dict[str, Any]], limit: int) -> None:
        self._names = [str(tool["function"]["name"]) for tool in tools]
        self._limit = limit
        self._rounds = [_Round(0)]
        self._clauses = 0  # passed to the voice
        self._answered = asyncio.Event()

    @property
    def asked(self) -> bool:
        """Does the current round ask for a tool?"""
        return bool(self._rounds[-1].calls)

    def begin(self) -> None:
        """Begin another round."""
        self._rounds.append(_Round(self._clauses))

    def say(self, text: str) -> str:
        """Note what the model says; return it as it goes out: the words of two rounds never touch."""
        current = self._rounds[-1]
        before = "" if current.text else next((r.text[-1] for r in reversed(self._rounds) if r.text), "")
        current.text.append(text)
        apart = not before or before[-1].isspace() or text[0].isspace()
        return text if apart else f" {text}"

    def count_clause(self) -> None:
        """Note that a clause of the current round goes to the voice."""
        self._clauses += 1

    def ask(self, use: ToolUse) -> bool:
        """Note what the model asks for; False: the client has no part in it, the model is told what is wrong.

        Raises EngineError when the model has asked in too many rounds already.
        """
        if len(self._rounds) > self._limit:
            raise EngineError(f"the model asked for tools again after {self._limit} rounds of them")
        current = self._rounds[-1]
        current.calls.append(use)
        error = use.error
        if error is None and use.name not in self._names:
            error = f"there is no tool {use.name[:64]}; there are: {', '.join(self._names)}"
        if error is not None:
            current.refused += 1
            current.results[use.call] = msgspec.json.encode({"error": error}).decode()
        return error is None

    def tool_of(self, call: str) -> str:
        """Return the tool that this call waits for. Raises BadValue when it waits for none."""
        current = self._rounds[-1]
        use = next((use for use in current.calls if use.call == call), None)
        if use is None:
            raise BadValue(NOT_WAITED_FOR)
        if call in current.results:
            raise BadValue(f"the call of {use.name} has its result already; one a call is taken")
        return use.name

    def answer(self, call: str, content: str) -> None:
        """Take a result, in any order. Raises BadValue when its call does not wait for one."""
        self.tool_of(call)
        self._rounds[-1].results[call] = content
        self._answered.set()

    async def wait(self, deadline_s: float) -> None:
        """Wait until each call of the round has its result. Raises EngineError that names those without."""
        try:
            async with asyncio.timeout(deadline_s):
                while waiting := self._unanswered():
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            raise EngineError(
                f"no result of {', '.join(dict.fromkeys(waiting))} came within {deadline_s:g} s"
            ) from None

    def steps(self) -> list[Message]:
        """Return the rounds before the current one, as the next prompt has them behind the user's words."""
        return [message for one in self._rounds[:-1] for message in _messages(one, "".join(one.text))]

    def kept(
        self, heard: Sequence[str] | None = None, *, failed: bool = False
    ) -> tuple[tuple[Message, ...], str, int]:
        """Return the steps that are whole, the reply behind them, and the number of the reply's first clause.

        `heard`: the turn's clauses, as far as they were heard; None: all that was said. A call without its
        result is left out. Of a turn that failed, so are results that the model made nothing of: they may
        be what it failed on, and would fail the next turn as well.
        """
        steps: list[Message] = []
        ends = [one.first_clause for one in self._rounds[1:]] + [None]
        begun = self._rounds[-1].text or self._rounds[-1].calls
        last = self._rounds[-1] if begun else self._rounds[-2:][0]
        for one, end in zip(self._rounds, ends, strict=True):
            clauses = None if heard is None else heard[one.first_clause : end]
            text = "".join(one.text) if clauses is None else " ".join(filter(None, clauses))
            if not one.results or (failed and one is last):
                return tuple(steps), text, one.first_clause
            steps += _messages(one, text)
        # Cut off between its tools' results and what it makes of them.
        return tuple(steps), "", self._clauses

    def outcomes(self) -> dict[str, int]:
        """Count the calls by what came of them."""
        refused = sum(one.refused for one in self._rounds)
        answered = sum(len(one.results) for one in self._rounds) - refused
        calls = sum(len(one.calls) for one in self._rounds)
        return {"answered": answered, "refused": refused, "unanswered": calls - answered - refused}

    def _unanswered(self) -> list[str]:
        current = self._rounds[-1]
        return [use.name for use in current.calls if use.call not in current.results]


def _messages(one: _Round, text: str) -> list[Message]:
    calls = tuple(use for use in one.calls if use.call in one.results)
    results = (Message("tool", one.results[use.call]) for use in calls)
    # In the order of the calls: the format has no ids, only places.
    return [Message("assistant", text, calls), *results]
