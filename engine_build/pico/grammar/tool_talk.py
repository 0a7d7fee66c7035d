"""Write conversations with tools: the calls, what the tools answer, and what is said of it."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine_build.pico.grammar import dialogue, tool_results, tools, words
from engine_build.pico.grammar.dialogue import Conversation, Exchange, Split
from engine_build.pico.grammar.intent import Memory
from engine_build.pico.grammar.intents import BY_NAME
from engine_build.pico.grammar.tools import Call, Schema
from engine_build.pico.grammar.unseen import UNSEEN
from engine_build.pico.grammar.words import VALUES

TOOL_OF: Final = {
    **dict.fromkeys(
        (
            "device_on", "device_off", "light_dim", "light_brighten", "light_level", "light_colour", "it_on",
            "it_off",
        ),
        "set_light",
    ),
    **dict.fromkeys(("timer_set", "timer_cancel", "timer_ask"), "timer"),
    **dict.fromkeys(("list_add", "list_remove", "list_clear", "list_read", "list_has"), "shopping_list"),
}  # fmt: skip
"""Which tool serves an intent."""
TOOL_SHARE: Final = 0.6  # turns about what an offered tool does; the others are any talk
FAILURE_SHARE: Final = 0.25
_ODD_DURATIONS: Final = {
    "half an hour": {"minutes": 30}, "a quarter of an hour": {"minutes": 15}, "an hour": {"hours": 1},
    "a minute": {"minutes": 1}, "one and a half hours": {"hours": 1, "minutes": 30},
}  # fmt: skip
_STATES: Final = {
    "device_on": "on", "device_off": "off", "it_on": "on", "it_off": "off", "light_dim": "dimmer",
    "light_brighten": "brighter",
}  # fmt: skip
_ROOMS: Final = sorted(words.ROOMS, key=len, reverse=True)

_DESCRIPTIONS: Final = {
    "set_light": (
        "Change a light.", "Control the lights of the house.", "Turn a light on or off.", "Set a light.", "",
        "Switch, dim or colour a light in a room.",
    ),
    "timer": ("Control the timer.", "Start or stop a timer.", "The kitchen timer.", "Count down.", ""),
    "shopping_list": (
        "The shopping list.", "Change or read the shopping list.", "Keep the shopping list of the house.",
        "Add or remove things to buy.", "",
    ),
}  # fmt: skip
_STRING: Final = {"type": "string"}
# Tools that pico was not taught: whatever they promise, it answers as it would without them.
_OTHERS: Final = (
    tools.function("get_weather", "Get the weather.", {"city": _STRING}, ("city",)),
    tools.function("play_music", "Play music.", {"song": _STRING}, ()),
    tools.function("send_message", "Send a message.", {"name": _STRING, "text": _STRING}, ("name", "text")),
    tools.function("get_time", "Tell the time.", {}, ()),
    tools.function("set_heating", "Set the heating.", {"degrees": {"type": "integer"}}, ("degrees",)),
    tools.function("open_door", "Open a door.", {"door": _STRING}, ("door",)),
)


def tool_conversation(
    rng: random.Random,
    split: Split = "train",
    turns: int | None = None,
    fresh: float = dialogue.FRESH_SHARE,
    offered: Sequence[Schema] | None = None,
    share: float = TOOL_SHARE,
) -> Conversation:
    """Write a conversation with the tools given, or by chance; `share` is that of turns they serve."""
    offer = offer_tools(rng) if offered is None else tuple(offered)
    names = {tools.name_of(tool) for tool in offer}
    theirs = [BY_NAME[intent] for intent in TOOL_OF]
    memory = Memory()
    count = turns if turns is not None else rng.choices(range(1, 11), (6, 5, 5, 5, 5, 4, 4, 3, 3, 3))[0]
    exchanges: list[Exchange] = []
    while len(exchanges) < count:
        intent = dialogue.choose(rng, memory)
        if memory.awaited is None and rng.random() < share:
            intent = rng.choices(theirs, [each.weight * each.fits(memory) for each in theirs])[0]
        if split != "unseen" or intent.name in UNSEEN:
            exchanges.append(tool_exchange(intent.name, rng, memory, names, split, fresh))
    return Conversation(tuple(exchanges), offer)


def offer_tools(rng: random.Random) -> tuple[Schema, ...]:
    """Offer some tools in some order, worded now and then as others would word them."""
    count = rng.choices((0, 1, 2, 3), (1, 3, 3, 6))[0]
    chosen = [copy.deepcopy(tool) for tool in rng.sample(tools.TOOLS, count)]
    if rng.random() < 0.5:
        for tool in chosen:
            function = tool["function"]
            if rng.random() < 0.6:
                function["description"] = rng.choice(_DESCRIPTIONS[function["name"]])
            if rng.random() < 0.2:
                del function["parameters"]["required"]
    others = rng.sample(_OTHERS, rng.choice((1, 1, 2))) if not chosen or rng.random() < 0.12 else []
    chosen += others
    if rng.random() < 0.6:
        rng.shuffle(chosen)
    return tuple(chosen)


def tool_exchange(
    name: str, rng: random.Random, memory: Memory, names: set[str], split: Split = "train", fresh: float = 0.0
) -> Exchange:
    """Speak one turn; where an offered tool serves it, call the tool and speak of what it answers."""
    before = copy.deepcopy(memory)
    said = dialogue.exchange(BY_NAME[name], rng, memory, split, fresh)
    call = call_for(name, said.slots, before)
    if call is None or call.name not in names:
        return said
    if rng.random() < FAILURE_SHARE:
        result, reply = tool_results.failure(call, rng, held=split != "train")
        # What did not happen is not remembered, but for which light is "it".
        memory.items, memory.timer = before.items, before.timer
    else:
        result, reply = tool_results.success(call, said.slots, rng, memory)
    memory.reply = reply
    return Exchange(said.user, reply, name, said.slots, (reply,), said.spoken, call, result)


def call_for(name: str, slots: Mapping[str, str], before: Memory) -> Call | None:
    """Return the call that serves an intent, or None where no tool does (a fan is no light)."""
    match TOOL_OF.get(name):
        case "set_light":
            return _light_call(name, slots, before)
        case "timer":
            action = {"timer_set": "start", "timer_cancel": "cancel", "timer_ask": "check"}[name]
            length = amounts(slots["duration"]) if action == "start" else {}
            return Call("timer", {"action": action, **length})
        case "shopping_list":
            action = {"list_add": "add", "list_remove": "remove", "list_clear": "clear"}.get(name, "read")
            if action == "add":
                return Call("shopping_list", {"action": action, "items": _items(slots)})
            if action == "remove":
                return Call("shopping_list", {"action": action, "items": [slots["listed"]]})
            return Call("shopping_list", {"action": action})
    return None


def _items(slots: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(slots["items"].split(" and ")))


def _light_call(name: str, slots: Mapping[str, str], before: Memory) -> Call | None:
    where = dict(slots)
    if name in {"it_on", "it_off"}:
        if before.device is None:
            return None
        where = parts(before.device)
    if where["device"] not in words.LIGHTS:
        return None
    arguments: dict[str, Any] = {"room": where["room"]} if "room" in where else {}
    arguments["light"] = where["device"]
    if name == "light_level":
        arguments["brightness"] = VALUES[slots["level"]]
    elif name == "light_colour":
        arguments["colour"] = slots["colour"]
    else:
        arguments["state"] = _STATES[name]
    return Call("set_light", arguments)


def parts(device: str) -> dict[str, str]:
    """Split "the kitchen floor lamp" into room and device."""
    rest = device.removeprefix("the ")
    for room in _ROOMS:
        if rest.startswith(room + " "):
            return {"room": room, "device": rest.removeprefix(room + " ")}
    return {"device": rest}


def amounts(duration: str) -> dict[str, int]:
    """Turn a spoken duration into whole hours, minutes and seconds."""
    if duration in _ODD_DURATIONS:
        return dict(_ODD_DURATIONS[duration])
    amount, unit = duration.rsplit(" ", 1)
    return {unit.rstrip("s") + "s": VALUES[amount]}
