"""Python functions as tools: their schemas, and what a call is answered with."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

import msgspec
import pytest

from riposte.client import Tool, tool
from riposte.client.tools import Toolbox
from riposte.wire.frames import ToolCall, ToolResult

PATIENCE_S = 5.0


async def set_light(room: Literal["kitchen", "hall"], on: bool = True) -> dict[str, Any]:
    """Switch a light.

    Rooms are those of the house.
    """
    return {"room": room, "on": on}


def minutes(count: Annotated[int, msgspec.Meta(ge=1, description="how long")]) -> str:
    return f"{count} minutes"


class Point(msgspec.Struct):
    x: int


def move(to: Point) -> int:
    return to.x


def test_a_schema_is_read_off_the_function() -> None:
    assert tool(set_light).schema() == {
        "type": "function",
        "function": {
            "name": "set_light",
            "description": "Switch a light.",
            "parameters": {
                "type": "object",
                "properties": {
                    "room": {"enum": ["hall", "kitchen"]},
                    "on": {"type": "boolean", "default": True},
                },
                "required": ["room"],
                "additionalProperties": False,
            },
        },
    }
    count = tool(minutes).parameters["properties"]["count"]
    assert count == {"type": "integer", "minimum": 1, "description": "how long"}


def test_structs_of_arguments_stand_in_the_schema() -> None:
    parameters = tool(move).parameters
    assert parameters["properties"]["to"] == {"$ref": "#/$defs/Point"}
    assert parameters["$defs"]["Point"]["properties"] == {"x": {"type": "integer"}}


def test_a_schema_of_ones_own_is_taken_as_it_is() -> None:
    parameters = {"type": "object", "properties": {"room": {"type": "string"}}}
    made = tool(lambda **given: given, name="raw", description="as it is", parameters=parameters)
    assert made.schema()["function"] == {"name": "raw", "description": "as it is", "parameters": parameters}


def untyped(room) -> None: ...  # type: ignore[no-untyped-def]


def variadic(*rooms: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (untyped, r"untyped\(room\): write its type"),
        (variadic, r"variadic\(rooms\): a tool's arguments have names"),
        (lambda: None, "'<lambda>' cannot be a tool's name"),
    ],
)
def test_a_function_that_no_schema_can_express_is_refused(function: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        tool(function)


async def answered(
    *tools: Any, name: str, arguments: str = "{}", deadline_s: float = PATIENCE_S
) -> dict[str, Any] | str:
    results: asyncio.Queue[ToolResult] = asyncio.Queue()
    box = Toolbox(tools, results.put, deadline_s=deadline_s)
    box.take(ToolCall(1, "c1", name, arguments))
    async with asyncio.timeout(PATIENCE_S):
        result = await results.get()
    await box.aclose()
    assert result.call == "c1"
    try:
        decoded: dict[str, Any] = json.loads(result.content)
    except ValueError:
        return result.content
    return decoded


async def test_a_call_runs_the_function_with_its_arguments() -> None:
    arguments = '{"room": "hall", "on": false}'
    assert await answered(set_light, name="set_light", arguments=arguments) == {"room": "hall", "on": False}


async def test_a_default_is_used_and_a_str_is_passed_as_it_is() -> None:
    assert await answered(set_light, name="set_light", arguments='{"room": "hall"}') == {
        "room": "hall",
        "on": True,
    }
    assert await answered(minutes, name="minutes", arguments='{"count": 3}') == "3 minutes"


async def fails() -> None:
    raise OSError("the bulb is broken")


async def gives_up() -> None:
    raise TimeoutError


async def rambles() -> str:
    return "m" * 4_001


async def hangs() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("nothing", "{}", "there is no tool 'nothing'; there are set_light, fails, gives_up, hangs, rambles"),
        ("set_light", '{"room": "cellar"}', "the arguments do not fit: Invalid enum value 'cellar'"),
        ("set_light", '{"rooms": "hall"}', "the arguments do not fit: Object contains unknown field"),
        ("set_light", "{room: hall}", "the arguments do not fit: JSON is malformed"),
        ("set_light", "[]", "the arguments do not fit: Expected `object`, got `array`"),
        ("fails", "{}", "the bulb is broken"),
        ("gives_up", "{}", "TimeoutError"),
        ("hangs", "{}", "hangs took over 0.05 s"),
        ("rambles", "{}", "the result has 4001 characters; 4000 fit"),
    ],
)
async def test_what_goes_wrong_becomes_an_error_for_the_model(
    name: str, arguments: str, sentence: str
) -> None:
    tools = (set_light, fails, gives_up, hangs, rambles)
    result = await answered(*tools, name=name, arguments=arguments, deadline_s=0.05)
    assert isinstance(result, dict)
    assert result["error"].startswith(sentence)


async def test_a_call_ends_with_its_turn() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    results: list[ToolResult] = []

    async def answer(result: ToolResult) -> None:
        results.append(result)

    box = Toolbox([waits], answer, deadline_s=PATIENCE_S)
    box.take(ToolCall(3, "c1", "waits", "{}"))
    async with asyncio.timeout(PATIENCE_S):
        await began.wait()
        box.end(3)
        await ended.wait()
    await box.aclose()
    assert results == []


async def test_calls_of_schemas_without_a_function_are_left_to_the_user() -> None:
    by_hand = {"type": "function", "function": {"name": "by_hand", "parameters": {}}}
    results: list[ToolResult] = []

    async def answer(result: ToolResult) -> None:
        results.append(result)

    box = Toolbox([by_hand, minutes], answer, deadline_s=PATIENCE_S)
    box.take(ToolCall(1, "c1", "by_hand", "{}"))
    await box.aclose()
    assert (box.schemas[0], results) == (by_hand, [])


def test_a_tool_may_be_made_by_hand() -> None:
    made = Tool("ping", "Say pong.", {"type": "object", "properties": {}}, lambda: "pong")
    assert Toolbox([made], lambda result: asyncio.sleep(0), deadline_s=1).schemas == [made.schema()]
