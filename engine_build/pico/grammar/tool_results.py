"""Write what tools answer, in the forms that clients choose, and what pico says of it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from engine_build.pico.grammar import words
from engine_build.pico.grammar.intent import Memory
from engine_build.pico.grammar.speech import vocabulary
from engine_build.pico.grammar.tools import Call
from engine_build.pico.grammar.words import listed, number

_DONE: Final = (
    '{"ok": true}', '{"ok": true}', '{"status": "ok"}', '{"success": true}', '{"result": "done"}', "ok",
    "done", "OK", "true", "{}", '{"done": true}', '{"status": "done"}', '{"result": "ok"}',
    '{"error": null}', "null",
)  # fmt: skip
_FAILED: Final = ('{"ok": false}', '{"status": "failed"}', '{"success": false}', "false", "failed")
_REASONS: Final = (
    "timeout", "no answer", "no connection", "the light is offline", "unknown room", "there is no such room",
    "the lamp is broken", "not found", "it is busy", "try again later", "the light does not answer",
    "not allowed", "the house is offline", "the battery is empty", "something went wrong", "internal error",
    "the list is full", "it is not on the list", "already on the list", "too many timers",
    "the door is locked", "no timer is running", "that is too long", "the tool did not answer",
    "connection lost", "unknown light",
)  # fmt: skip
_HELD_REASONS: Final = (
    "no such light", "the room is locked", "the battery is broken", "the list is offline", "no lamp found",
    "the connection is busy", "the timer does not answer", "unknown item", "the answer is too long",
)  # fmt: skip
_SALAD: Final = (
    "the", "is", "not", "no", "a", "in", "on", "of", "it", "too", "light", "lamp", "room", "house", "timer",
    "list", "open", "closed", "broken", "empty", "full", "wrong", "busy", "late", "long", "answer", "battery",
    "unknown", "kitchen", "hot", "cold", "running", "already", "only", "one", "again", "try", "wait", "key",
    "door",
)  # fmt: skip

Result: TypeAlias = "tuple[str, str]"
"""What a tool answers, and what pico says of it."""


def _span(amounts: Mapping[str, int]) -> str:
    return listed([f"{number(value)} {unit if value != 1 else unit[:-1]}" for unit, value in amounts.items()])


def the_light(arguments: Mapping[str, Any]) -> str:
    """Name the light of a call as replies do."""
    room = f"{arguments['room']} " if "room" in arguments else ""
    return f"the {room}{arguments['light']}"


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
        if given["action"] != "start":
            return f"{given['action']} the timer"
        return f"set a timer for {_span({key: value for key, value in given.items() if key != 'action'})}"
    if given["action"] in {"add", "remove"}:
        return f"{given['action']} {listed(given['items'])}"
    return f"{given['action']} your list"


def failure(call: Call, rng: random.Random, held: bool) -> Result:
    """Answer that it failed, mostly with a reason, and say so; `held` reasons are kept out of training."""
    if rng.random() < 0.15:
        return rng.choice(_FAILED), f"Sorry, I could not {_deed(call)}."
    reason = rng.choice(_HELD_REASONS if held else _REASONS)
    if not held and rng.random() < 0.6:
        # Whatever a tool complains of is repeated word for word.
        source = rng.choice((_SALAD, vocabulary()))
        reason = " ".join(rng.choice(source) for _ in range(rng.randint(1, 6)))
    written = json.dumps(reason)
    result = rng.choice(
        (
            f'{{"error": {written}}}', f'{{"error": {written}}}', f'{{"error": {written}}}',
            f'{{"ok": false, "error": {written}}}', f"error: {reason}",
            f'{{"status": "error", "message": {written}}}', f'{{"success": false, "reason": {written}}}',
        )
    )  # fmt: skip
    return result, f"Sorry, I could not {_deed(call)}: {reason}."


def success(call: Call, slots: Mapping[str, str], rng: random.Random, memory: Memory) -> Result:
    """Answer that it was done, or what was asked for, and speak of that; `memory` is after the turn."""
    if call.name == "set_light":
        return _light_result(call, rng)
    if call.name == "timer":
        return _timer_result(call, slots, rng)
    return _list_result(call, slots, rng, memory)


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


def _timer_result(call: Call, slots: Mapping[str, str], rng: random.Random) -> Result:
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
    both = ("minutes", "seconds")
    units = rng.choice((("minutes",), ("seconds",), both, both, both, ("hours", "minutes"), ("hours", *both)))
    left = {unit: rng.randint(1, 11 if unit == "hours" else 59) for unit in units}
    for unit in rng.sample(units, rng.choice((0, 0, 1)) if len(units) > 1 else 0):
        left[unit] = 0
    result = json.dumps(rng.choice((left, left, {"left": left}, {"ok": True, **left})))
    if rng.random() < 0.15:
        result = f"{' '.join(f'{value} {unit}' for unit, value in left.items())} left"
    said = {unit: value for unit, value in left.items() if value}
    return result, f"There {'is' if 1 in list(said.values())[:1] else 'are'} {_span(said)} left."


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
            on_list = item in memory.items
            reply = f"{'Yes' if on_list else 'No'}, {item} is {'' if on_list else 'not '}on your list."
        else:
            reply = f"Your list has {listed(memory.items)}." if memory.items else "Your list is empty."
        return _contents(memory.items, rng), reply
    did = "added" if given["action"] == "add" else "removed"
    reply = f"Okay, I {did} {listed(given['items'])}."
    if rng.random() < 0.45:
        whole = f"Your list has {listed(memory.items)}." if memory.items else "Your list is empty."
        return _contents(memory.items, rng), f"{reply} {whole}"
    return rng.choice(_DONE), reply


def _contents(items: list[str], rng: random.Random) -> str:
    written = json.dumps(items)
    return rng.choice(
        (written, f'{{"items": {written}}}', f'{{"items": {written}}}', f'{{"ok": true, "items": {written}}}',
         f'{{"list": {written}}}', ", ".join(items) if items else "[]")
    )  # fmt: skip
