"""What a client may choose of tools, and what it is told when it cannot."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest

from riposte.backends.fake import FakeAsr, FakeLlm, FakeTts, FakeVad
from riposte.config import Limits
from riposte.errors import BadValue, ClientError, TooLarge, Unavailable
from riposte.interfaces import Models
from riposte.settings import Settings, default_settings, patched
from riposte.wire.frames import Hello

LIGHT = {"type": "function", "function": {"name": "set_light", "parameters": {"type": "object"}}}


def told(
    tools: list[dict[str, Any]] | None, settings: Settings | None = None, *, takes_tools: bool = True
) -> Settings:
    models = Models(FakeAsr(), FakeLlm(takes_tools=takes_tools), FakeTts(), FakeVad())
    defaults = default_settings(models, instructions="", max_tokens=8, temperature=0.0)
    return patched(settings or defaults, Hello(tools=tools), defaults, models, Limits(tools_chars=2_000))


def function(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": fields}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_tools_are_kept_until_they_are_taken_back() -> None:
    settings = told([LIGHT])
    assert settings.tools == (LIGHT,)
    assert told([], settings).tools == told(None, settings).tools == ()


def test_a_tool_has_one_spelling() -> None:
    odd = {
        "function": {"strict": True, "parameters": {"type": "object"}, "name": "set_light"},
        "type": "function",
    }
    (tool,) = told([odd]).tools
    assert msgspec.json.encode(tool) == msgspec.json.encode(LIGHT)


def test_what_json_cannot_say_becomes_what_it_can() -> None:
    odd = function(name="x", parameters={"b": b"\x00", 1: float("nan"), "d": datetime.date(2026, 1, 1)})
    (tool,) = told([odd]).tools
    assert tool["function"]["parameters"] == {"b": "AA==", "1": None, "d": "2026-01-01"}


@pytest.mark.parametrize(
    ("tools", "error", "says"),
    [
        ([LIGHT, function(name="no spaces")], BadValue, "tools[1].function.name"),
        ([function(name="x\n")], BadValue, "tools[0].function.name"),
        ([function(name="x" * 65)], BadValue, "tools[0].function.name"),
        ([function()], BadValue, "`name` - at `$.tools[0].function`"),
        ([{"type": "function"}], BadValue, "`function` - at `$.tools[0]`"),
        ([{"function": {"name": "x"}}], BadValue, "`type` - at `$.tools[0]`"),
        ([{"type": "x" * 10_000, "function": {"name": "x"}}], BadValue, "tools[0].type"),
        ([function(name="x", description=1)], BadValue, "tools[0].function.description"),
        ([function(name="x", parameters=[])], BadValue, "tools[0].function.parameters"),
        ([function(name="x", parameters=nested(3_000))], BadValue, "nested too deeply"),
        ([function(name="x", parameters={"a": msgspec.msgpack.Ext(1, b"")})], BadValue, "Ext"),
        ([LIGHT, function(name="x"), LIGHT], BadValue, "tools[2] is called 'set_light'"),
        ([function(name="x", description="é" * 1_990)], TooLarge, "characters of JSON; 2000 are allowed"),
        ([function(name=f"x{n}") for n in range(65)], TooLarge, "65 tools; 64 are allowed"),
    ],
)
def test_tools_that_cannot_be_used_are_refused(
    tools: list[dict[str, Any]], error: type[ClientError], says: str
) -> None:
    with pytest.raises(error) as raised:
        told(tools)
    assert says in str(raised.value)
    assert len(str(raised.value)) < 200


def test_a_model_that_takes_no_tools_is_offered_none() -> None:
    with pytest.raises(Unavailable, match="fake-llm"):
        told([LIGHT], takes_tools=False)
    assert told([], takes_tools=False).tools == ()
