"""Tell a reply's words from its tool calls, as the text comes. Pure.

The format is Qwen2.5's, which many models share: any number of

    <tool_call>
    {"name": "set_light", "arguments": {"room": "kitchen"}}
    </tool_call>

behind what is said, if anything is. White space before a call belongs to the format, not to the words.
"""

from __future__ import annotations

import secrets

import msgspec

from riposte.backends.detok import overlap
from riposte.interfaces import Piece, ToolUse

OPEN, CLOSE = "<tool_call>", "</tool_call>"
TOOL_MARKS = (OPEN, CLOSE, "<tool_response>", "</tool_response>")

# Objects and arrays in one call, an upper bound of how deep they nest: Python's own is near 1,000, and a
# call that could be read but not rendered again would spoil its conversation.
_MAX_NESTED = 256


class ToolCallReader:
    """One reply. How its text is cut into pieces changes nothing but when the words come."""

    def __init__(self) -> None:
        self._held = ""  # not decided yet; inside a call, what there is of it
        self._inside = False
        self._after_call = False  # and nothing was said since

    def read(self, piece: Piece) -> Piece:
        """Return the piece with the words of its text alone, and the calls that it completes."""
        text, calls = self.push(piece.text)
        if piece.finish is not None:
            rest, cut_off = self.finish()
            text, calls = text + rest, calls + cut_off
        return msgspec.structs.replace(piece, text=text, tool_calls=tuple(calls))

    def push(self, text: str) -> tuple[str, list[ToolUse]]:
        """Add text; return the words that may go out now, and the calls that are whole."""
        self._held += text
        said: list[str] = []
        calls: list[ToolUse] = []
        while (at := self._held.find(CLOSE if self._inside else OPEN)) >= 0:
            before = self._held[:at]
            if self._inside:
                calls.append(_tool_use(before))
                self._held = self._held[at + len(CLOSE) :]
            else:
                said.append(before.rstrip())
                self._held = self._held[at + len(OPEN) :]
            self._inside = not self._inside
            self._after_call = True
        if not self._inside:
            undecided = overlap(self._held, OPEN)
            words = self._held[: len(self._held) - undecided].rstrip()
            said.append(words)
            self._held = self._held[len(words) :]
            self._after_call = self._after_call and not words
        return "".join(said), calls

    def finish(self) -> tuple[str, list[ToolUse]]:
        """Return what the reply's end leaves: held back words, and a call that it cuts off."""
        held, self._held = self._held, ""
        if self._inside:
            self._inside = False
            return "", [_malformed(held, "the call was cut off")]
        return ("" if self._after_call and not held.strip() else held), []


def _tool_use(text: str) -> ToolUse:
    if text.count("{") + text.count("[") > _MAX_NESTED:
        return _malformed(text, "the call is nested too deeply")
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):  # strict: no NaN, no half of a surrogate pair
        return _malformed(text, "the call is not valid JSON")
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        return _malformed(text, 'the call has no "name"')
    arguments = value.get("arguments")
    if arguments is None:
        arguments = {}  # of a tool that takes none
    if not isinstance(arguments, dict):
        return _malformed(text, '"arguments" is not a JSON object', name)
    return ToolUse(_new_id(), name, msgspec.json.encode(arguments).decode())


def _malformed(text: str, error: str, name: str = "") -> ToolUse:
    return ToolUse(_new_id(), name, text.strip(), error)


def _new_id() -> str:
    return f"call_{secrets.token_hex(8)}"
