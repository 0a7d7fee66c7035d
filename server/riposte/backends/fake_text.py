"""What the fake language model makes of a conversation: tokens are words, and replies are what was said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from riposte.interfaces import Message, ToolUse

TOOL_MARK = "#tool "


def words_of(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def rendered(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> list[str]:
    rendered = [f"<tool {tool}>" for tool in tools]
    for message in messages:
        rendered += ["<begin>", f"<{message.role}>", *words_of(message.content)]
        rendered += [*map(call_token, message.tool_calls), "<end>"]
    return [*rendered, "<begin>", "<assistant>"]


def in_common(old: list[str], new: list[str]) -> int:
    pairs = enumerate(zip(old, new, strict=False))
    alike = next((index for index, (a, b) in pairs if a != b), min(len(old), len(new)))
    return min(alike, len(new) - 1)  # the last token is always computed: its logits are needed


def token_id(token: str) -> int:
    return sum(token.encode()) % 32_000  # hash() differs from run to run


def asked_for(messages: Sequence[Message]) -> str:
    """What the reply is about: the results of the tools just used, else the user's last words."""
    results: list[str] = []
    for message in reversed(messages):
        if message.role == "tool":
            results.insert(0, message.content)
        elif results or message.role == "user":
            return " and ".join(results) or message.content
    return " and ".join(results)


def said_back(messages: Sequence[Message]) -> str:
    asked = asked_for(messages)
    if messages and messages[-1].role == "tool":
        return f"The tool says: {asked}"
    if count := re.search(r"count to (\d{1,4})\b", asked, re.IGNORECASE):
        return ", ".join(str(n + 1) for n in range(int(count[1]))) + "."
    return f"You said: {asked}"


def until_stop(text: str, stops: Sequence[str]) -> str:
    return text[: min((text.find(stop) for stop in stops if stop and stop in text), default=len(text))]


def with_calls(text: str, number: int) -> tuple[str, list[ToolUse]]:
    """Split a text into its words and the calls that stand behind them."""
    said, *calls = text.split(TOOL_MARK)
    return said.rstrip(), [_tool_use(call, f"call-{number}-{index}") for index, call in enumerate(calls)]


def _tool_use(text: str, call: str) -> ToolUse:
    name, _, arguments = text.strip().partition(" ")
    try:
        value = msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.DecodeError:
        return ToolUse(call, name, arguments, "the call is not valid JSON")
    return ToolUse(call, name, msgspec.json.encode(value).decode())


def call_token(use: ToolUse) -> str:
    return f"<{use.name} {use.arguments}>"
