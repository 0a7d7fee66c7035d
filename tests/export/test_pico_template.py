"""Training, `transformers` and the server turn a conversation with tools into the same tokens.

Needs `make test-build`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from engine_build.pico.grammar import Conversation, tool_conversation
from riposte.backends.chat_template import ChatFormat
from riposte.interfaces import Message, ToolUse

pytest.importorskip("torch", reason="pico's encoder needs torch: run `make test-build`")
pytest.importorskip("transformers", reason="comparing needs transformers: run `make test-build`")

pytestmark = [
    pytest.mark.build,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

CHECKPOINT = Path(__file__).parents[2] / "onnx_models" / "pico" / "checkpoints" / "thinking"
SYSTEM = "You are Riposte. Be kind."


def messages(talk: Conversation) -> list[Message]:
    """Write a conversation as the server keeps it, its last reply still to come."""
    said: list[Message] = []
    for each in talk.exchanges:
        said.append(Message("user", each.user))
        if each.call is not None:
            use = ToolUse("call_1", each.call.name, json.dumps(each.call.arguments))
            said += [Message("assistant", "", (use,)), Message("tool", each.result)]
        said.append(Message("assistant", each.reply))
    return said[:-1]


def as_transformers_wants(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {"type": "function", "function": {"name": use.name, "arguments": json.loads(use.arguments)}}
            for use in message.tool_calls
        ]
    return plain


def test_all_three_agree_token_by_token() -> None:
    from transformers import AutoTokenizer

    from engine_build.pico.thinking_data import Encoder

    server, hub = ChatFormat(CHECKPOINT), AutoTokenizer.from_pretrained(CHECKPOINT)
    encoder = Encoder(server.tokenizer)
    rng = random.Random(11)
    for turn in range(60):
        talk = tool_conversation(rng, turns=rng.randint(1, 6))
        system = SYSTEM if turn % 2 else None
        said = [Message("system", system)] if system is not None else []
        said += messages(talk)
        offered: Any = list(talk.tools)
        text = hub.apply_chat_template(
            [as_transformers_wants(message) for message in said],
            tools=offered or None,
            add_generation_prompt=True,
            tokenize=False,
        )
        assert server.render(said, offered) == text
        ids = server.encode(said, offered).tolist()
        assert hub(text, add_special_tokens=False)["input_ids"] == ids
        first, then = encoder.tool_prompts(talk)[-1]
        assert system is not None or (first if then is None else then) == ids
        whole = encoder.row(talk, system, random.Random(0)).tokens
        assert len(whole) <= 1024


def test_marks_of_a_call_are_text_to_transformers() -> None:
    from transformers import AutoTokenizer

    hub = AutoTokenizer.from_pretrained(CHECKPOINT)
    ids = hub("<tool_call>\n{}\n</tool_call><|im_end|>", add_special_tokens=False)["input_ids"]
    assert hub.decode(ids, skip_special_tokens=True) == "<tool_call>\n{}\n</tool_call>"
    assert len([number for number in ids if number in hub.added_tokens_decoder]) == 3
