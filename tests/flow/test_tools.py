"""Tools over the native socket: called, answered, given up on. The fake model asks for what it is told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Served, fakes, serving
from talking import heard_nothing_more, of, pcm, speak, tokens, until

from riposte.client.client import Client, connect
from riposte.errors import BadValue, Unavailable
from riposte.interfaces import Message
from riposte.wire import frames as wire


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


TOOLS = [tool("light"), tool("timer")]
TEXT_ONLY: dict[str, Any] = {"modalities": ["text"], "tools": TOOLS}
ON = '#tool light {"on": true}'


async def turn(
    client: Client, text: str, answer: Callable[[wire.ToolCall], str] = lambda call: f"{call.name} done"
) -> list[wire.ServerFrame]:
    """Type a turn and answer each tool call as it comes; return the turn's frames."""
    frames = []
    async for frame in client.turn(text):
        frames.append(frame)
        if isinstance(frame, wire.ToolCall):
            await client.send(wire.ToolResult(frame.call, answer(frame)))
    return frames


async def calls(client: Client, text: str, count: int = 1) -> list[wire.ToolCall]:
    """Type a turn and return its first tool calls, unanswered."""
    await client.send(wire.Text(text))
    return [(await until(client, wire.ToolCall))[-1] for _ in range(count)]


class Listener:
    """A fake's reply that keeps what the model was shown, and says of it what the fake would."""

    def __init__(self) -> None:
        self.prompts: list[list[Message]] = []

    def __call__(self, messages: Sequence[Message]) -> str:
        self.prompts.append(list(messages))
        return f"Heard {messages[-1].content}."


async def test_a_tool_is_called_and_its_result_spoken_of(served: Served) -> None:
    async with connect(served.ws_url, tools=TOOLS) as client:
        frames = await turn(client, ON)
        (call,) = of(frames, wire.ToolCall)
        assert (call.turn, call.name, call.arguments) == (1, "light", '{"on":true}')
        assert tokens(frames) == "The tool says: light done"
        assert of(frames, wire.AudioOut)
        assert [(done.turn, done.reason) for done in of(frames, wire.Done)] == [(1, "stop")]
        assert await heard_nothing_more(client) == []


async def test_results_come_in_any_order_and_reach_the_model_in_the_calls(served: Served) -> None:
    async with connect(served.ws_url, **TEXT_ONLY) as client:
        first, second = await calls(client, f"{ON} #tool timer {{}}", 2)
        assert first.call != second.call
        await client.send(wire.ToolResult(second.call, "ringing"))
        await client.send(wire.ToolResult(first.call, "shining"))
        assert tokens(await until(client, wire.Done)) == "The tool says: shining and ringing"


async def test_words_before_a_call_are_spoken_while_the_tool_works(served: Served) -> None:
    async with connect(served.ws_url, tools=TOOLS) as client:
        await client.send(wire.Text(f"Let me see {ON}"))
        frames: list[wire.ServerFrame] = []
        while not (of(frames, wire.AudioOut) and of(frames, wire.ToolCall)):
            frames.append(await client.receive(5.0))
        await client.send(wire.ToolResult(of(frames, wire.ToolCall)[0].call, "yes"))
        frames += await until(client, wire.Done)
        assert tokens(frames) == "Let me see The tool says: yes"
        clauses = [frame.text for frame in of(frames, wire.Clause)]
        assert clauses[0] == "Let me see"
        assert " ".join(clauses) == tokens(frames)


async def test_usage_adds_up_over_the_rounds(served: Served) -> None:
    async with connect(served.ws_url, **TEXT_ONLY) as client:
        alone = (await turn(client, "hello"))[-1].usage
        usage = (await turn(client, ON))[-1].usage
        assert usage.completion_tokens == 1 + 5  # the call, and "The tool says: light done"
        assert usage.prompt_tokens > 2 * alone.prompt_tokens
        assert usage.cached_tokens > alone.prompt_tokens


async def test_a_tool_that_does_not_answer_is_given_up() -> None:
    async with (
        serving(fakes(), turn__tool_deadline_s=0.1) as served,
        connect(served.ws_url, **TEXT_ONLY) as client,
    ):
        (call,) = await calls(client, ON)
        frames = await until(client, wire.Done)
        (error,) = of(frames, wire.Error)
        assert (error.code, error.turn, frames[-1].reason) == ("engine", 1, "error")
        assert "light" in error.message
        await client.send(wire.ToolResult(call.call, "too late"))
        assert [frame.code for frame in await heard_nothing_more(client)] == ["bad_value"]
        assert (await turn(client, ON))[-1].reason == "stop"


async def test_a_model_that_never_has_enough_is_stopped() -> None:
    async with (
        serving(fakes(), turn__tool_rounds=2) as served,
        connect(served.ws_url, **TEXT_ONLY) as client,
    ):
        frames = await turn(client, ON, lambda _: ON)
        assert len(of(frames, wire.ToolCall)) == 2
        assert [error.code for error in of(frames, wire.Error)] == ["engine"]
        assert [done.reason for done in of(frames, wire.Done)] == ["error"]
        assert tokens(await turn(client, "and now")) == "You said: and now"


@pytest.mark.parametrize(
    ("frame", "reason"), [(wire.Cancel(), "cancelled"), (wire.Text("something else"), "interrupted")]
)
async def test_who_waits_for_a_tool_can_be_stopped(served: Served, frame: Any, reason: str) -> None:
    async with connect(served.ws_url, tools=TOOLS) as client:
        (call,) = await calls(client, ON)
        await client.send(frame)
        await client.send(wire.ToolResult(call.call, "too late"))
        frames = await until(client, wire.Done, 1)
        frames += await heard_nothing_more(client)
        assert [done.reason for done in of(frames, wire.Done) if done.turn == 1] == [reason]
        assert [error.code for error in of(frames, wire.Error)] == ["bad_value"]
        if reason == "cancelled":
            assert (await turn(client, ON))[-1].reason == "stop"


async def test_speech_interrupts_who_waits_for_a_tool(served: Served) -> None:
    async with connect(served.ws_url, tools=TOOLS) as client:
        await calls(client, ON)
        await speak(client, pcm("never mind", lead_s=0.1, tail_s=0.6))
        assert (await until(client, wire.Done, 1))[-1].reason == "interrupted"
        assert tokens(await until(client, wire.Done, 2)) == "You said: never mind"


async def test_a_client_that_leaves_while_a_tool_works_leaves_nothing_behind(served: Served) -> None:
    async with connect(served.ws_url, **TEXT_ONLY) as client:
        (call,) = await calls(client, ON)
        session = client.session
    async with connect(served.ws_url, session=session) as client:
        await client.send(wire.ToolResult(call.call, "too late"))
        assert [frame.code for frame in await heard_nothing_more(client)] == ["bad_value"]
        frames = await turn(client, ON)  # the session's tools are kept
        assert (frames[-1].turn, frames[-1].reason) == (2, "stop")


@pytest.mark.parametrize(
    ("asked", "says"),
    [("#tool oven {}", "no tool oven; there are: light, timer"), ("#tool light {on", "not valid JSON")],
)
async def test_a_wrong_call_is_told_to_the_model_alone(served: Served, asked: str, says: str) -> None:
    async with connect(served.ws_url, **TEXT_ONLY) as client:
        frames = await turn(client, asked)
        assert not of(frames, wire.ToolCall)
        said = tokens(frames).removeprefix("The tool says: ")
        assert says in json.loads(said)["error"]
        assert frames[-1].reason == "stop"


async def test_a_result_is_taken_once_and_for_its_call_alone(served: Served) -> None:
    async with connect(served.ws_url, **TEXT_ONLY) as client:
        first, second = await calls(client, f"{ON} #tool timer {{}}", 2)
        for call in (first.call, first.call, "nobody's"):
            await client.send(wire.ToolResult(call, "once"))
        errors = await heard_nothing_more(client)
        assert [error.code for error in errors] == ["bad_value", "bad_value"]
        assert "light has its result" in errors[0].message
        await client.send(wire.ToolResult(second.call, "twice"))
        assert tokens(await until(client, wire.Done)) == "The tool says: once and twice"


async def test_a_result_that_is_too_large_can_be_sent_again_shorter(served: Served) -> None:
    async with connect(served.ws_url, **TEXT_ONLY) as client:
        (call,) = await calls(client, ON)
        await client.send(wire.ToolResult(call.call, "x" * 4_001))
        (error,) = await heard_nothing_more(client)
        assert error.code == "too_large"
        assert "light" in error.message
        await client.send(wire.ToolResult(call.call, "fine"))
        assert tokens(await until(client, wire.Done)) == "The tool says: fine"


async def test_tools_can_be_changed_between_turns(served: Served) -> None:
    async with connect(served.ws_url, **TEXT_ONLY) as client:
        await client.send(wire.Hello(tools=[tool("oven")]))
        frames = await turn(client, f"#tool oven {{}} {ON}")
        assert [call.name for call in of(frames, wire.ToolCall)] == ["oven"]
        await client.send(wire.Hello(tools=[tool("no spaces")]))
        assert [frame.code for frame in of(await heard_nothing_more(client), wire.Error)] == ["bad_value"]
        assert of(await turn(client, "#tool oven {}"), wire.ToolCall)
        await client.send(wire.Hello(tools=None))
        frames = await turn(client, ON)
        assert not of(frames, wire.ToolCall)
        assert tokens(frames) == f"You said: {ON}"


async def test_tools_that_cannot_be_used_are_refused(served: Served) -> None:
    with pytest.raises(BadValue, match=r"tools\[0\]\.function\.name"):
        async with connect(served.ws_url, tools=[tool("")]):
            pass


async def test_a_model_that_takes_no_tools_says_so() -> None:
    async with serving(fakes(llm={"takes_tools": False})) as served:
        with pytest.raises(Unavailable, match="takes no tools"):
            async with connect(served.ws_url, tools=TOOLS):
                pass


async def test_the_next_prompt_knows_what_was_called_and_finds_it_in_the_cache() -> None:
    listener = Listener()
    async with (
        serving(fakes(llm={"reply": listener})) as served,
        connect(served.ws_url, instructions="", **TEXT_ONLY) as client,
    ):
        used = (await turn(client, f"Wait. {ON} #tool oven {{}}"))[-1].usage
        done = (await turn(client, "and now?"))[-1]
        user, asked, result, refused, reply, now = listener.prompts[-1]
        assert (user.content, asked.content, reply.content) == (
            f"Wait. {ON} #tool oven {{}}",
            "Wait.",
            f"Heard {refused.content}.",
        )
        assert [(use.name, use.arguments) for use in asked.tool_calls] == [
            ("light", '{"on":true}'),
            ("oven", "{}"),
        ]
        assert (result.role, result.content, refused.role) == ("tool", "light done", "tool")
        assert "no tool oven" in refused.content
        assert now.content == "and now?"
        # Of the first round's prompt nothing was cached; of the second's the first and what it said, of the
        # third's the second and what it said.
        first_said = 1 + 2
        first = used.cached_tokens - first_said
        second = used.prompt_tokens - first
        assert done.usage.cached_tokens == second + used.completion_tokens - first_said


async def test_of_an_interrupted_round_only_answered_calls_are_kept() -> None:
    listener = Listener()
    async with (
        serving(fakes(llm={"reply": listener})) as served,
        connect(served.ws_url, instructions="", **TEXT_ONLY) as client,
    ):
        first, _ = await calls(client, f"Wait. {ON} #tool timer {{}}", 2)
        await client.send(wire.ToolResult(first.call, "shining"))
        await client.send(wire.Cancel())
        await until(client, wire.Done)
        await calls(client, ON)
        await client.send(wire.Cancel())
        await until(client, wire.Done)
        await turn(client, "and now?")
        assert [(message.role, message.content) for message in listener.prompts[-1]] == [
            ("user", f"Wait. {ON} #tool timer {{}}"),
            ("assistant", "Wait."),
            ("tool", "shining"),
            ("user", ON),
            ("user", "and now?"),
        ]
        assert [use.call for use in listener.prompts[-1][1].tool_calls] == [first.call]


async def test_what_was_not_heard_of_any_round_is_not_kept() -> None:
    listener = Listener()
    async with (
        serving(fakes(llm={"reply": listener})) as served,
        connect(served.ws_url, instructions="", tools=TOOLS) as client,
    ):
        (call,) = await calls(client, f"Just a moment. Then some more. {ON}")
        await client.send(wire.ToolResult(call.call, "shining"))
        await until(client, wire.AudioOut)
        await client.send(wire.Played(1, 0))
        await client.send(wire.Cancel())
        await until(client, wire.Done)
        await turn(client, "and now?")
        _, asked, result, now = listener.prompts[-1]
        assert (asked.content, result.content, now.content) == ("", "shining", "and now?")
        assert asked.tool_calls


async def test_a_full_context_makes_room_in_the_middle_of_a_turn() -> None:
    listener = Listener()
    async with (
        serving(fakes(llm={"context_tokens": 80, "reply": listener})) as served,
        connect(served.ws_url, instructions="", max_tokens=20, **TEXT_ONLY) as client,
    ):
        await turn(client, "the first of all")
        usage = (await turn(client, ON))[-1].usage
        assert usage.prompt_tokens + usage.completion_tokens + 20 > 80  # of both rounds, not of either
        frames = await turn(client, ON, lambda _: "word " * 30)
        assert of(frames, wire.ToolCall)
        before, after = listener.prompts[-2:]
        assert before[0].content == "the first of all"
        assert after[0].content == ON
        assert [message.role for message in after[-3:]] == ["user", "assistant", "tool"]


async def test_a_result_too_large_for_the_model_costs_its_turn_alone() -> None:
    listener = Listener()
    async with (
        serving(fakes(llm={"context_tokens": 80, "reply": listener})) as served,
        connect(served.ws_url, instructions="", max_tokens=20, **TEXT_ONLY) as client,
    ):
        await turn(client, "before")
        frames = await turn(client, f"Wait. {ON}", lambda _: "word " * 200)
        assert [error.code for error in of(frames, wire.Error)] == ["too_large"]
        assert frames[-1].reason == "error"
        await turn(client, "after")
        assert [message.content for message in listener.prompts[-1]] == [
            "before",
            "Heard before.",
            f"Wait. {ON}",
            "Wait.",
            "after",
        ]


async def test_tools_and_what_they_were_asked_survive_a_restart(tmp_path: Path) -> None:
    listener = Listener()
    profile = fakes(llm={"reply": listener})
    async with (
        serving(profile, server__data_dir=str(tmp_path)) as served,
        connect(served.ws_url, instructions="", **TEXT_ONLY) as client,
    ):
        await turn(client, f"{ON} #tool light {{")
        session = client.session
    before = listener.prompts[-1]
    async with (
        serving(profile, server__data_dir=str(tmp_path)) as served,
        connect(served.ws_url, session=session) as client,
    ):
        assert of(await turn(client, ON), wire.ToolCall)
    assert len(before[1].tool_calls) == 2
    assert listener.prompts[-2][: len(before)] == before
