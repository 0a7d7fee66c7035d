"""What a turn keeps of its rounds, and how it waits for tools."""

from __future__ import annotations

import asyncio

import pytest

from riposte.errors import BadValue, EngineError
from riposte.interfaces import Message, ToolUse
from riposte.turn.tool_rounds import ToolRounds

LIGHT = ToolUse("c1", "light", "{}")
TIMER = ToolUse("c2", "timer", "{}")


def rounds(limit: int = 8) -> ToolRounds:
    return ToolRounds([{"function": {"name": "light"}}, {"function": {"name": "timer"}}], limit)


def two_rounds() -> ToolRounds:
    """Two clauses, two tools, then two clauses more."""
    made = rounds()
    assert made.say("Let me see. Just a moment.") == "Let me see. Just a moment."
    made.count_clause()
    made.count_clause()
    assert made.ask(LIGHT)
    assert made.ask(TIMER)
    made.answer("c2", "rings")
    made.answer("c1", "shines")
    made.begin()
    assert made.say("It is on.") == " It is on."
    assert made.say("And rings.") == "And rings."
    made.count_clause()
    made.count_clause()
    return made


@pytest.mark.parametrize(
    ("heard", "before", "reply"),
    [
        (None, "Let me see. Just a moment.", "It is on.And rings."),
        ([], "", ""),
        (["Let me"], "Let me", ""),
        (["Let me see.", "Just a moment.", "It is"], "Let me see. Just a moment.", "It is"),
        (["Let me see.", "Just a moment.", "It is on.", ""], "Let me see. Just a moment.", "It is on."),
    ],
)
def test_each_round_keeps_what_was_heard_of_it(heard: list[str] | None, before: str, reply: str) -> None:
    steps = (
        Message("assistant", before, (LIGHT, TIMER)),
        Message("tool", "shines"),
        Message("tool", "rings"),
    )
    assert two_rounds().kept(heard) == (steps, reply, 2)


def test_a_turn_cut_off_behind_its_tools_has_no_reply() -> None:
    made = rounds()
    made.say("Well.")
    made.count_clause()
    made.ask(LIGHT)
    assert made.kept() == ((), "Well.", 0)  # as long as nothing was answered
    made.answer("c1", "shines")
    assert made.kept() == ((Message("assistant", "Well.", (LIGHT,)), Message("tool", "shines")), "", 1)


def test_a_turn_that_failed_keeps_what_the_model_had_taken_in() -> None:
    made = two_rounds()
    assert made.kept(failed=True) == made.kept()  # it failed while it spoke of the results
    first_round = made.kept()[0]
    made.ask(ToolUse("c5", "light", "{}"))
    assert made.kept(failed=True) == (first_round, "It is on.And rings.", 2)
    made.answer("c5", "x" * 9_000)
    made.begin()
    assert len(made.kept()[0]) == 5
    assert made.kept(failed=True) == (first_round, "It is on.And rings.", 2)
    made.ask(ToolUse("c6", "light", "{}"))
    assert len(made.kept(failed=True)[0]) == 5  # it asked again, so it had taken them in


def test_words_that_are_apart_already_get_no_space() -> None:
    made = rounds()
    made.begin()
    assert made.say("first of all ") == "first of all "
    made.begin()
    assert made.say("then") == "then"
    made.begin()
    assert made.say(" on") == " on"


async def test_waiting_ends_with_the_last_result() -> None:
    made = rounds()
    made.ask(LIGHT)
    made.ask(TIMER)
    waiting = asyncio.create_task(made.wait(5.0))
    for call in ("c1", "c2"):
        await asyncio.sleep(0)
        assert not waiting.done()
        made.answer(call, "")
    await waiting
    await made.wait(5.0)


async def test_the_tools_that_gave_nothing_are_named() -> None:
    made = rounds()
    made.ask(LIGHT)
    made.ask(TIMER)
    made.answer("c1", "")
    with pytest.raises(EngineError, match="no result of timer came within"):
        await made.wait(0.01)


def test_wrong_calls_are_answered_in_place() -> None:
    made = rounds()
    assert not made.ask(ToolUse("c3", 'ov"en', "{}"))
    assert not made.ask(ToolUse("c4", "", "{", "the call was cut off"))
    steps, _, _ = made.kept()
    assert [step.content for step in steps[1:]] == [
        '{"error":"there is no tool ov\\"en; there are: light, timer"}',
        '{"error":"the call was cut off"}',
    ]
    with pytest.raises(BadValue):
        made.answer("c3", "")
    made.ask(LIGHT)
    assert made.outcomes() == {"answered": 0, "refused": 2, "unanswered": 1}


def test_rounds_of_tools_are_counted() -> None:
    made = rounds(limit=1)
    made.ask(LIGHT)
    made.answer("c1", "")
    made.begin()
    with pytest.raises(EngineError, match="again after 1 rounds"):
        made.ask(TIMER)
