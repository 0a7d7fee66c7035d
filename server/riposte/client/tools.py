"""Python functions that the model may call: their schemas, and how a call is answered.

A function's signature is its schema: `room: Literal["kitchen", "hall"]` becomes an enum, a default makes
an argument optional, Annotated[int, msgspec.Meta(ge=1, description="…")] says more. What the model sends
is checked against it before the function runs.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec

from riposte.wire.frames import ToolCall, ToolResult

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_CALLS_AT_ONCE = 16
RESULT_CHARS = 4_000  # what a server takes by default; of a longer one the turn would hear nothing

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call, under this name and with these arguments (JSON schema)."""

    name: str
    description: str
    parameters: dict[str, Any]
    function: Function
    arguments: type[msgspec.Struct] | None = None  # what the arguments must fit, where a signature says it

    def schema(self) -> dict[str, Any]:
        """Return the entry of `hello.tools`, in OpenAI's form."""
        described = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": described}

    async def call(self, arguments: str) -> str:
        """Run the function with these JSON arguments; return the content of a `tool_result`.

        A str is passed on as it is, anything else as JSON.
        """
        if self.arguments is not None:
            given: msgspec.Struct = msgspec.json.decode(arguments, type=self.arguments)
            values = {name: getattr(given, name) for name in given.__struct_fields__}
        else:
            values = msgspec.json.decode(arguments, type=dict[str, Any])
        result = self.function(**values)
        if inspect.isawaitable(result):
            result = await result
        return result if isinstance(result, str) else _written(result)


def tool(
    function: Function,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: dict[str, Any] | None = None,
) -> Tool:
    """Make a tool of a function, async or quick; usable as a decorator.

    The name, the description (its docstring's first line) and the JSON schema of its arguments come from
    the function, unless given. Raises TypeError for a signature that no schema can express.
    """
    name = name or function.__name__
    if not _NAME.fullmatch(name):
        raise TypeError(f"{name!r} cannot be a tool's name: letters, digits, _ and - (64 at most)")
    if description is None:
        description = (inspect.getdoc(function) or "").split("\n")[0].strip()
    if parameters is not None:
        return Tool(name, description, parameters, function)
    arguments = _arguments(name, function)
    (schema,), inner = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    parameters = inner.pop(schema["$ref"].rpartition("/")[2])
    parameters.pop("title", None)
    if inner:
        parameters["$defs"] = inner
    return Tool(name, description, parameters, function, arguments)


def _arguments(name: str, function: Function) -> type[msgspec.Struct]:
    hints = get_type_hints(function, include_extras=True)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{name}({parameter.name}): a tool's arguments have names of their own")
        if parameter.name not in hints:
            raise TypeError(f"{name}({parameter.name}): write its type, or pass parameters={{…}}")
        typed = (parameter.name, hints[parameter.name])
        fields.append(typed if parameter.default is parameter.empty else (*typed, parameter.default))
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


class Toolbox:
    """The tools of one connection. A task a call, which ends with its turn, its deadline or `aclose`."""

    def __init__(
        self,
        tools: Sequence[Tool | Function | dict[str, Any]],
        answer: Callable[[ToolResult], Awaitable[None]],
        *,
        deadline_s: float,
    ) -> None:
        self._answer = answer
        self._deadline_s = deadline_s
        self._calls: dict[asyncio.Task[None], int] = {}  # each with its turn
        self.replace(tools)

    def replace(self, tools: Sequence[Tool | Function | dict[str, Any]]) -> None:
        """Offer these from now on. A dict is a schema whose calls the user of the client answers."""
        made = [entry if isinstance(entry, Tool | dict) else tool(entry) for entry in tools]
        self.schemas = [entry.schema() if isinstance(entry, Tool) else entry for entry in made]
        self._tools = {entry.name: entry for entry in made if isinstance(entry, Tool)}
        self._by_hand = {entry.get("function", {}).get("name") for entry in made if isinstance(entry, dict)}

    def take(self, call: ToolCall) -> None:
        """Answer a call, unless it is one that the user of the client answers. Does not wait."""
        if not self._tools or call.name in self._by_hand:
            return
        task = asyncio.create_task(self._run(call), name=f"tool-{call.name}")
        self._calls[task] = call.turn
        task.add_done_callback(self._calls.pop)

    def end(self, turn: int) -> None:
        """The turn is over: nobody waits for its calls."""
        for task, of_turn in self._calls.items():
            if of_turn == turn:
                task.cancel()

    async def aclose(self) -> None:
        """End every call."""
        calls = tuple(self._calls)
        for task in calls:
            task.cancel()
        if calls:
            await asyncio.wait(calls)

    async def _run(self, call: ToolCall) -> None:
        content = await self._content(call)
        if len(content) > RESULT_CHARS:
            content = _error(f"the result has {len(content)} characters; {RESULT_CHARS} fit")
        try:
            await self._answer(ToolResult(call.call, content))
        except Exception as exc:
            log.info("the result of %s could not be sent: %s", call.name, exc)

    async def _content(self, call: ToolCall) -> str:
        found = self._tools.get(call.name)
        if found is None:
            return _error(f"there is no tool {call.name[:64]!r}; there are {', '.join(self._tools)}")
        if len(self._calls) > _CALLS_AT_ONCE:
            return _error(f"{_CALLS_AT_ONCE} calls are running already; try again")
        try:
            async with asyncio.timeout(self._deadline_s) as deadline:
                return await found.call(call.arguments)
        except msgspec.MsgspecError as exc:
            return _error(f"the arguments do not fit: {exc}")
        except Exception as exc:
            if isinstance(exc, TimeoutError) and deadline.expired():
                return _error(f"{call.name} took over {self._deadline_s:g} s")
            # The model is told, and tells the user: to raise is how a tool says no.
            log.warning("the tool %s failed: %r", call.name, exc)
            log.debug("its trace", exc_info=exc)
            return _error(str(exc) or type(exc).__name__)


def _error(sentence: str) -> str:
    return _written({"error": sentence[:500]})


def _written(result: Any) -> str:
    # With the spaces that `json` and chat templates write: small models have seen no other form.
    return json.dumps(msgspec.to_builtins(result, str_keys=True), ensure_ascii=False)
