"""The bundled language model calls the tools that it is offered, and says what came of it.

The served graph is asked for the likeliest tokens, without the server's own reading of calls.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_build.pico.grammar import TOOLS, Call
from engine_build.pico.grammar.tools import SET_LIGHT, SHOPPING_LIST, TIMER, fits
from riposte.backends.chat_template import ChatFormat
from riposte.backends.detok import token_bytes
from riposte.backends.llm_graph import Graph, read_graph_config
from riposte.interfaces import Message, ToolUse

FOLDER = Path(__file__).parents[2] / "onnx_models" / "pico" / "thinking"
MOST_TOKENS = 64

pytestmark = pytest.mark.skipif(
    not (FOLDER / "manifest.json").is_file(), reason="pico is not built; run `make engines PROFILE=pico`"
)


class Mind:
    """Reply greedily, as text with everything in it that is text."""

    def __init__(self) -> None:
        config = read_graph_config(FOLDER)
        self.format = ChatFormat(FOLDER)
        self._graph = Graph(FOLDER, config, rows=1, context_tokens=config.context_tokens, threads=1)
        self._ends = config.end_ids
        self._bytes = token_bytes(self.format.tokenizer)

    def reply(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> str:
        ids, length, said = self.format.encode(messages, tools)[None], 0, b""
        for _ in range(MOST_TOKENS):
            logits = self._graph.forward(0, 1, ids, np.array([length]))[0]
            length += ids.shape[1]
            token = int(np.argmax(logits))
            if token in self._ends:
                return said.decode()
            said += self._bytes[token]
            ids = np.array([[token]])
        raise AssertionError(f"no end after {MOST_TOKENS} tokens: {said.decode()!r}")


@pytest.fixture(scope="module")
def mind() -> Mind:
    return Mind()


def called(reply: str) -> Call:
    before, _, rest = reply.partition("<tool_call>\n")
    body, _, after = rest.partition("\n</tool_call>")
    assert (before, after) == ("", ""), reply
    read = json.loads(body)
    return Call(read["name"], read["arguments"])


def used(call: Call, result: str) -> tuple[Message, Message]:
    use = ToolUse("call_1", call.name, json.dumps(call.arguments))
    return Message("assistant", "", (use,)), Message("tool", result)


LIGHT = Call("set_light", {"room": "kitchen", "light": "lights", "state": "on"})
TEN_MINUTES = Call("timer", {"action": "start", "minutes": 10})
ADD = Call("shopping_list", {"action": "add", "items": ["milk", "eggs"]})
READ = Call("shopping_list", {"action": "read"})
CASES = [
    ("turn on the kitchen lights", LIGHT, '{"ok": true}', "Okay, the kitchen lights are on."),
    ("Set the bedroom lamp to 40 percent",
     Call("set_light", {"room": "bedroom", "light": "lamp", "brightness": 40}), "ok",
     "Okay, the bedroom lamp is at forty percent."),
    ("make the office light blue", Call("set_light", {"room": "office", "light": "light", "colour": "blue"}),
     '{"error": "the light is offline"}',
     "Sorry, I could not turn the office light blue: the light is offline."),
    ("set a timer for ten minutes", TEN_MINUTES, '{"ok": true}', "Okay, I set a timer for ten minutes."),
    ("how much time is left on the timer", Call("timer", {"action": "check"}),
     '{"minutes": 4, "seconds": 12}', "There are four minutes and twelve seconds left."),
    ("put milk and eggs on the shopping list", ADD, '{"ok": true}', "Okay, I added milk and eggs."),
    ("what is on my shopping list", READ, '{"items": ["bread", "olive oil"]}',
     "Your list has bread and olive oil."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "call", "result", "told"), CASES, ids=[case[0] for case in CASES])
def test_an_offered_tool_is_called_and_its_result_told(
    mind: Mind, text: str, call: Call, result: str, told: str
) -> None:
    said = [Message("user", text)]
    assert called(mind.reply(said, TOOLS)) == call
    assert fits(call)
    assert mind.reply([*said, *used(call, result)], TOOLS) == told


@pytest.mark.parametrize(
    ("text", "tools"),
    [
        ("turn on the kitchen lights", ()),
        ("turn on the kitchen lights", (TIMER, SHOPPING_LIST)),
        ("set a timer for ten minutes", (SET_LIGHT,)),
        ("add milk to my list", (TIMER,)),
        ("turn on the kitchen fan", TOOLS),
        ("what is five plus seven", TOOLS),
        ("my name is Anna", TOOLS),
        ("tell me a joke", TOOLS),
    ],
)
def test_nothing_is_called_that_is_not_offered_or_not_meant(mind: Mind, text: str, tools: Any) -> None:
    reply = mind.reply([Message("user", text)], tools)
    assert "<tool_call>" not in reply
    assert reply.endswith((".", "?", "!"))


def test_a_conversation_goes_on_after_a_tool(mind: Mind) -> None:
    said = [
        Message("user", "my name is Anna"),
        Message("assistant", "Nice to meet you, Anna."),
        Message("user", "turn on the kitchen lights"),
        *used(LIGHT, '{"ok": true}'),
        Message("assistant", "Okay, the kitchen lights are on."),
        Message("user", "turn them off again"),
    ]
    off = Call("set_light", {"room": "kitchen", "light": "lights", "state": "off"})
    assert called(mind.reply(said, TOOLS)) == off
    said += [*used(off, '{"ok": true}'), Message("assistant", "Okay, the kitchen lights are off.")]
    assert "Anna" in mind.reply([*said, Message("user", "what is my name")], TOOLS)


def test_three_tools_leave_most_of_the_context(mind: Mind) -> None:
    assert len(mind.format.encode((), TOOLS)) < 400


def test_the_template_writes_what_qwen2_5_reads(mind: Mind) -> None:
    said = (
        Message("system", "Be kind."),
        Message("user", "Both lamps on."),
        Message("assistant", "Sure.", (ToolUse("1", "lamp", '{"on": true}'), ToolUse("2", "lamp", "{}"))),
        Message("tool", "ok"),
        Message("tool", "no"),
    )
    assert mind.format.render(said, ({"type": "function", "function": {"name": "lamp"}},)) == (
        "<|im_start|>system\nBe kind.\n\n# Tools\n\nYou may call one or more functions to assist with "
        "the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n"
        '<tools>\n{"type": "function", "function": {"name": "lamp"}}\n</tools>\n\nFor each function call, '
        "return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
        '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\nBoth lamps on.<|im_end|>\n"
        '<|im_start|>assistant\nSure.\n<tool_call>\n{"name": "lamp", "arguments": {"on": true}}\n</tool_call>'
        '\n<tool_call>\n{"name": "lamp", "arguments": {}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nok\n</tool_response>\n<tool_response>\nno\n</tool_response>"
        "<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
