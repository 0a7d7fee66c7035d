"""Write conversations in which tools are offered: the calls, what the tools answer, and what is said of it."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from engine_build.pico.grammar import dialogue, tools, words
from engine_build.pico.grammar.dialogue import Conversation, Exchange, Split
from engine_build.pico.grammar.intent import Memory
from engine_build.pico.grammar.intents import BY_NAME
from engine_build.pico.grammar.tools import Call, Schema
from engine_build.pico.grammar.unseen import UNSEEN
from engine_build.pico.grammar.words import VALUES, listed, number

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

_DONE: Final = (
    '{"ok": true}', '{"ok": true}', '{"status": "ok"}', '{"success": true}', '{"result": "done"}', "ok", "done",
    "OK", "true", "{}", '{"done": true}', '{"status": "done"}', '{"result": "ok"}', '{"error": null}', "null",
)  # fmt: skip
REASONS: Final = (
    "timeout", "no answer", "no connection", "the light is offline", "unknown room", "there is no such room",
    "the lamp is broken", "not found", "it is busy", "try again later", "the light does not answer",
    "not allowed", "the house is offline", "the battery is empty", "something went wrong", "internal error",
    "the list is full", "it is not on the list", "already on the list", "too many timers", "the door is locked",
    "no timer is running", "that is too long", "the tool did not answer", "connection lost", "unknown light",
)  # fmt: skip
HELD_REASONS: Final = (
    "no such light", "the room is locked", "the battery is broken", "the list is offline", "no lamp found",
    "the connection is busy", "the timer does not answer", "unknown item", "the answer is too long",
)  # fmt: skip
_SALAD: Final = (
    "the", "is", "not", "no", "a", "in", "on", "of", "it", "too", "light", "lamp", "room", "house", "timer", "list",
    "open", "closed", "broken", "empty", "full", "wrong", "busy", "late", "long", "answer", "battery", "unknown",
    "kitchen", "hot", "cold", "running", "already", "only", "one", "again", "try", "wait", "key", "door",
)  # fmt: skip

Result: TypeAlias = "tuple[str, str]"
"""What a tool answers, and what pico says of it."""


def tool_conversation(
    rng: random.Random,
    split: Split = "train",
    turns: int | None = None,
    fresh: float = dialogue.FRESH_SHARE,
    offered: Sequence[Schema] | None = None,
    share: float = TOOL_SHARE,
) -> Conversation:
    """Write a conversation with tools offered: by chance, or those given. `share`: of turns that are theirs."""
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
    chosen = [copy.deepcopy(tool) for tool in rng.sample(tools.TOOLS, rng.choices((0, 1, 2, 3), (1, 3, 3, 6))[0])]
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
    failed = rng.random() < FAILURE_SHARE
    held = split != "train"
    result, reply = _failure(call, rng, held) if failed else _success(call, said.slots, rng, memory)
    if failed:
        # What did not happen is not remembered, but for which light is "it".
        memory.items, memory.timer = before.items, before.timer
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


def _span(amounts_left: Mapping[str, int]) -> str:
    said = [f"{number(value)} {unit if value != 1 else unit[:-1]}" for unit, value in amounts_left.items()]
    return " and ".join(said)


def the_light(arguments: Mapping[str, Any]) -> str:
    """Name the light of a call as replies do."""
    return f"the {arguments['room']} {arguments['light']}" if "room" in arguments else f"the {arguments['light']}"


def _deed(call: Call) -> str:
    """Say what a call was to do."""
    given = call.arguments
    if call.name == "set_light":
        light = the_light(given)
        if "brightness" in given:
            return f"set {light} to {number(given['brightness'])} percent"
        if "colour" in given:
            return f"turn {light} {given['colour']}"
        verbs = {"on": "turn on", "off": "turn off", "dimmer": "dim", "brighter": "brighten"}
        return f"{verbs[given['state']]} {light}"
    if call.name == "timer":
        length = _span({key: value for key, value in given.items() if key != "action"})
        return {"start": f"set a timer for {length}"}.get(given["action"], f"{given['action']} the timer")
    if given["action"] in {"add", "remove"}:
        return f"{given['action']} {listed(given['items'])}"
    return f"{given['action']} your list"


def _failure(call: Call, rng: random.Random, held: bool) -> Result:
    if rng.random() < 0.15:
        result = rng.choice(('{"ok": false}', '{"status": "failed"}', '{"success": false}', "false", "failed"))
        return result, f"Sorry, I could not {_deed(call)}."
    reason = rng.choice(HELD_REASONS if held else REASONS)
    if not held and rng.random() < 0.45:
        # Whatever a tool complains of is repeated word for word.
        reason = " ".join(rng.choice(_SALAD) for _ in range(rng.randint(1, 6)))
    written = json.dumps(reason)
    result = rng.choice(
        (
            f'{{"error": {written}}}', f'{{"error": {written}}}', f'{{"error": {written}}}',
            f'{{"ok": false, "error": {written}}}', f"error: {reason}",
            f'{{"status": "error", "message": {written}}}', f'{{"success": false, "reason": {written}}}',
        )
    )  # fmt: skip
    return result, f"Sorry, I could not {_deed(call)}: {reason}."


def _success(call: Call, slots: Mapping[str, str], rng: random.Random, memory: Memory) -> Result:
    make: Callable[[], Result] = {
        "set_light": lambda: _light_result(call, rng),
        "timer": lambda: _timer_result(call, rng, memory, slots),
        "shopping_list": lambda: _list_result(call, slots, rng, memory),
    }[call.name]
    return make()


def _light_result(call: Call, rng: random.Random) -> Result:
    given = call.arguments
    light = the_light(given)
    be = "are" if light.endswith("s") else "is"
    if "brightness" in given:
        reply = f"Okay, {light} {be} at {number(given['brightness'])} percent."
    elif "colour" in given:
        reply = f"Okay, {light} {be} {given['colour']}."
    elif given["state"] in {"on", "off"}:
        reply = f"Okay, {light} {be} {given['state']}."
    else:
        reply = f"Okay, {light} {be} {given['state']} now."
    echoed = {key: value for key, value in given.items() if rng.random() < 0.6}
    if echoed and rng.random() < 0.25:
        return json.dumps({**({"ok": True} if rng.random() < 0.5 else {}), **echoed}), reply
    return rng.choice(_DONE), reply


def _timer_result(call: Call, rng: random.Random, memory: Memory, slots: Mapping[str, str]) -> Result:
    action = call.arguments["action"]
    if action == "start":
        # In the user's own words where they were words: "half an hour" stays that.
        reply = f"Okay, I set a timer for {slots['duration']}."
        echoed = {key: value for key, value in call.arguments.items() if key != "action"}
        return (json.dumps({"ok": True, **echoed}) if rng.random() < 0.2 else rng.choice(_DONE)), reply
    if action == "cancel":
        return rng.choice(_DONE), "Okay, the timer is cancelled."
    if rng.random() < 0.2:
        return rng.choice(('{"running": false}', '{"timer": null}', "none")), "There is no timer running."
    units = rng.choice((("minutes",), ("seconds",), ("minutes", "seconds"), ("minutes", "seconds"), ("hours", "minutes")))
    left = {unit: rng.randint(1, 11 if unit == "hours" else 59) for unit in units}
    result = json.dumps(rng.choice((left, left, {"left": left}, {"ok": True, **left})))
    if rng.random() < 0.15:
        result = f"{' '.join(f'{value} {unit}' for unit, value in left.items())} left"
    first = next(iter(left.values()))
    return result, f"There {'is' if first == 1 else 'are'} {_span(left)} left."


def _list_result(call: Call, slots: Mapping[str, str], rng: random.Random, memory: Memory) -> Result:
    given = call.arguments
    if given["action"] == "clear":
        return rng.choice((*_DONE, '{"items": []}', "[]")), "Okay, your list is empty now."
    if given["action"] == "read":
        if rng.random() < 0.3:
            # Somebody else may have changed the list: what the tool says holds.
            memory.items = rng.sample(words.ITEMS, rng.randint(0, 5))
            if "listed" in slots and rng.random() < 0.5:
                memory.items.insert(rng.randint(0, len(memory.items)), slots["listed"])
                memory.items = list(dict.fromkeys(memory.items))
        if "listed" in slots:
            item = slots["listed"]
            reply = f"Yes, {item} is on your list." if item in memory.items else f"No, {item} is not on your list."
        else:
            reply = f"Your list has {listed(memory.items)}." if memory.items else "Your list is empty."
        return _contents(memory.items, rng), reply
    did = "added" if given["action"] == "add" else "removed"
    reply = f"Okay, I {did} {listed(given['items'])}."
    if rng.random() < 0.3:
        whole = f"Your list has {listed(memory.items)}." if memory.items else "Your list is empty."
        return _contents(memory.items, rng), f"{reply} {whole}"
    return rng.choice(_DONE), reply


def _contents(items: list[str], rng: random.Random) -> str:
    written = json.dumps(items)
    return rng.choice(
        (written, f'{{"items": {written}}}', f'{{"items": {written}}}', f'{{"ok": true, "items": {written}}}',
         f'{{"list": {written}}}', ", ".join(items) if items else "[]")
    )  # fmt: skip


