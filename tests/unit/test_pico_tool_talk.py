"""Conversations with tools teach pico to call what is offered, exactly, and to say what came of it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from engine_build.pico.grammar import TOOLS, Call, tool_conversation
from engine_build.pico.grammar.dialogue import Exchange
from engine_build.pico.grammar.intent import Memory
from engine_build.pico.grammar.tool_talk import TOOL_OF, call_for, offer_tools, tool_exchange
from engine_build.pico.grammar.tools import fits, name_of

NAMES = {name_of(tool) for tool in TOOLS}


def exchanges(count: int, split: Any = "train", **wishes: Any) -> list[Exchange]:
    rng = random.Random(3)
    return [each for _ in range(count) for each in tool_conversation(rng, split, **wishes).exchanges]


@pytest.mark.parametrize(
    ("intent", "slots", "device", "name", "arguments"),
    [
        ("device_on", {"room": "living room", "device": "floor lamp"}, None, "set_light",
         {"room": "living room", "light": "floor lamp", "state": "on"}),
        ("device_off", {"device": "lights"}, None, "set_light", {"light": "lights", "state": "off"}),
        ("light_dim", {"device": "lamp"}, None, "set_light", {"light": "lamp", "state": "dimmer"}),
        ("light_level", {"room": "hall", "device": "light", "level": "forty five"}, None, "set_light",
         {"room": "hall", "light": "light", "brightness": 45}),
        ("light_colour", {"device": "lamps", "colour": "warm white"}, None, "set_light",
         {"light": "lamps", "colour": "warm white"}),
        ("it_off", {}, "the guest room reading lamp", "set_light",
         {"room": "guest room", "light": "reading lamp", "state": "off"}),
        ("timer_set", {"duration": "one minute"}, None, "timer", {"action": "start", "minutes": 1}),
        ("timer_set", {"duration": "one and a half hours"}, None, "timer",
         {"action": "start", "hours": 1, "minutes": 30}),
        ("timer_ask", {}, None, "timer", {"action": "check"}),
        ("list_add", {"items": "milk and olive oil"}, None, "shopping_list",
         {"action": "add", "items": ["milk", "olive oil"]}),
        ("list_remove", {"listed": "milk"}, None, "shopping_list", {"action": "remove", "items": ["milk"]}),
        ("list_has", {"listed": "milk"}, None, "shopping_list", {"action": "read"}),
    ],
)  # fmt: skip
def test_a_wish_becomes_a_call_that_copies_every_slot(
    intent: str, slots: dict[str, str], device: str | None, name: str, arguments: dict[str, Any]
) -> None:
    call = call_for(intent, slots, Memory(device=device))
    assert call == Call(name, arguments)
    assert call is not None
    assert fits(call)
    assert json.loads(call.text().splitlines()[1]) == {"name": name, "arguments": arguments}


@pytest.mark.parametrize(
    ("intent", "slots", "device"),
    [("device_on", {"device": "fan"}, None), ("it_on", {}, None), ("it_on", {}, "the office printer"),
     ("weather", {}, None)],
)  # fmt: skip
def test_what_no_tool_does_calls_none(intent: str, slots: dict[str, str], device: str | None) -> None:
    assert call_for(intent, slots, Memory(device=device)) is None


@pytest.mark.parametrize("split", ["train", "test", "unseen"])
def test_calls_obey_the_schema_of_an_offered_tool(split: str) -> None:
    rng = random.Random(4)
    called = set()
    for _ in range(150):
        talk = tool_conversation(rng, split)
        for each in talk.exchanges:
            assert (each.call is None) or fits(each.call, talk.tools)
            assert (each.call is None) == (each.result == "")
            called.add(each.call.name if each.call is not None else None)
    assert called == {*NAMES, None}


def test_without_the_tool_pico_answers_as_it_always_did() -> None:
    light_only = exchanges(80, offered=[TOOLS[0]])
    assert {each.call.name for each in light_only if each.call is not None} == {"set_light"}
    assert any(TOOL_OF.get(each.intent) == "timer" and each.accepts(each.reply) for each in light_only)
    assert all(each.call is None for each in exchanges(40, offered=[]))


def test_results_are_spoken_of_in_one_way_each() -> None:
    used = [each for each in exchanges(300) if each.call is not None]
    failures = [each for each in used if each.reply.startswith("Sorry, I could not ")]
    assert 0.15 < len(failures) / len(used) < 0.35
    for each in used:
        assert each.acceptable == (each.reply,)
        assert each.reply[0].isupper()
        assert each.reply.endswith(".")
    for each in failures:
        _, told, reason = each.reply.partition(": ")
        assert not told or reason.rstrip(".") in each.result


def test_a_list_is_read_from_what_the_tool_says() -> None:
    read = [
        each
        for each in exchanges(400, fresh=0.0)
        if each.intent == "list_read" and each.call is not None and each.reply.startswith("Your list has")
    ]
    assert len(read) > 10
    for each in read:
        answer = json.loads(each.result) if each.result[0] in "[{" else each.result.split(", ")
        items = answer if isinstance(answer, list) else answer.get("items") or answer["list"]
        said = each.reply.removeprefix("Your list has ").rstrip(".").replace(" and ", ", ").split(", ")
        assert said == items


def test_what_failed_is_not_remembered() -> None:
    rng = random.Random(5)
    for _ in range(60):
        memory = Memory()
        turn = tool_exchange("list_add", rng, memory, NAMES)
        assert bool(memory.items) != turn.reply.startswith("Sorry")
        assert memory.reply == turn.reply


def test_offers_vary_and_keep_the_schemas_whole() -> None:
    rng = random.Random(6)
    offers = [offer_tools(rng) for _ in range(200)]
    assert {len(offer) for offer in offers} >= {1, 2, 3}
    assert len({json.dumps(offer) for offer in offers}) > 60
    known = {name_of(tool): tool["function"]["parameters"]["properties"] for tool in TOOLS}
    for tool in [tool for offer in offers for tool in offer if name_of(tool) in known]:
        assert tool["function"]["parameters"]["properties"] == known[name_of(tool)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("no_tool", {}), ("timer", {}), ("timer", {"action": "begin"}),
     ("timer", {"action": "start", "minutes": "5"}), ("timer", {"action": "start", "minutes": True}),
     ("set_light", {"light": ""}),
     ("set_light", {"light": "lamp", "size": 1}), ("shopping_list", {"action": "add", "items": "milk"}),
     ("shopping_list", {"action": "add", "items": [1]})],
)  # fmt: skip
def test_calls_that_break_the_schema_do_not_fit(name: str, arguments: dict[str, Any]) -> None:
    assert not fits(Call(name, arguments))
