"""Define the three tools that pico knows: the one source for training, tests and examples.

The schemas are plain values that `json` writes, in the form of OpenAI's `tools`. Their texts are short,
because all of them stand in front of every conversation, and pico reads 1,024 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Schema: TypeAlias = "dict[str, Any]"
STATES: Final = ("on", "off", "dimmer", "brighter")
TIMER_ACTIONS: Final = ("start", "cancel", "check")
LIST_ACTIONS: Final = ("add", "remove", "clear", "read")


def function(name: str, description: str, properties: Schema, required: Sequence[str]) -> Schema:
    """Write a tool as OpenAI's API does."""
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": properties, "required": list(required)},
        },
    }


SET_LIGHT: Final = function(
    "set_light",
    "Change a light: its state, its brightness in percent, or its colour.",
    {
        "room": {"type": "string"},
        "light": {"type": "string"},
        "state": {"type": "string", "enum": list(STATES)},
        "brightness": {"type": "integer"},
        "colour": {"type": "string"},
    },
    ("light",),
)
TIMER: Final = function(
    "timer",
    "Start, cancel or check the timer.",
    {
        "action": {"type": "string", "enum": list(TIMER_ACTIONS)},
        "hours": {"type": "integer"},
        "minutes": {"type": "integer"},
        "seconds": {"type": "integer"},
    },
    ("action",),
)
SHOPPING_LIST: Final = function(
    "shopping_list",
    "Add to, remove from, clear or read the shopping list.",
    {
        "action": {"type": "string", "enum": list(LIST_ACTIONS)},
        "items": {"type": "array", "items": {"type": "string"}},
    },
    ("action",),
)
TOOLS: Final = (SET_LIGHT, TIMER, SHOPPING_LIST)
"""Offer these, or some of them; pico calls a tool by its name, and by no other schema than this."""


@dataclass(frozen=True, slots=True)
class Call:
    """Hold one call of a tool."""

    name: str
    arguments: dict[str, Any]

    def text(self) -> str:
        """Write the call as Qwen2.5's chat template does."""
        written = json.dumps(self.arguments, ensure_ascii=False)
        return f'<tool_call>\n{{"name": "{self.name}", "arguments": {written}}}\n</tool_call>'


def name_of(tool: Mapping[str, Any]) -> str:
    """Return the name that a schema offers."""
    return str(tool["function"]["name"])


def fits(call: Call, tools: Sequence[Schema] = TOOLS) -> bool:
    """Tell whether a call names an offered tool and obeys its schema."""
    schema = next((tool["function"]["parameters"] for tool in tools if name_of(tool) == call.name), None)
    if schema is None:
        return False
    properties = schema["properties"]
    return set(schema.get("required", ())) <= set(call.arguments) <= set(properties) and all(
        _obeys(value, properties[key]) for key, value in call.arguments.items()
    )


def _obeys(value: object, schema: Schema) -> bool:
    if "enum" in schema and value not in schema["enum"]:
        return False
    match schema["type"]:
        case "string":
            return isinstance(value, str) and value != ""
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "array":
            return isinstance(value, list) and all(_obeys(each, schema["items"]) for each in value)
    return False
