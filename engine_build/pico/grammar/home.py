"""Ask for lights, devices, doors and heating."""

from __future__ import annotations

from typing import Final

from engine_build.pico.grammar.intent import Intent, Memory, Replies, Slots, fixed


def place(slots: Slots) -> str:
    """Name a device as the replies do: the room first."""
    return f"the {slots['room']} {slots['device']}" if "room" in slots else f"the {slots['device']}"


def _keep_device(memory: Memory, slots: Slots) -> None:
    memory.device = place(slots)


def _is_one_device(memory: Memory) -> float:
    return 3.0 if memory.device is not None else 0.5


def _it(verb: str) -> Replies:
    def replies(memory: Memory, slots: Slots) -> tuple[str, ...]:
        if memory.device is None:
            return ("Sorry, which device do you mean?",)
        return (f"Okay, {verb} {memory.device}.",)

    return replies


INTENTS: Final = (
    Intent(
        "device_on",
        (
            "(turn|switch|put) on {placed}", "(turn|switch|put) {placed} on", "start {placed}",
            "activate {placed}",
            "i want {placed} on", "{placed} on", "i need {placed}", "get {placed} going",
            "make sure {placed} is on",
            "let {placed} run",
        ),
        ("power on {placed}", "i would like to have {placed} on"),
        lambda memory, slots: (f"Okay, turning on {place(slots)}.",),
        weight=2.2, keep=_keep_device,
    ),
    Intent(
        "device_off",
        (
            "(turn|switch|put) off {placed}", "(turn|switch) {placed} off", "stop {placed}",
            "shut (off|down) {placed}",
            "i want {placed} off", "{placed} off", "kill {placed}", "i do not need {placed} [any more]",
            "make sure {placed} is off", "shut {placed} off",
        ),
        ("power off {placed}", "i would like to have {placed} off"),
        lambda memory, slots: (f"Okay, turning off {place(slots)}.",),
        weight=1.8, keep=_keep_device,
    ),
    Intent(
        "light_dim",
        (
            "dim {placedlamp}", "(make|turn) {placedlamp} (darker|lower)", "lower {placedlamp}",
            "{placedlamp} is too bright",
            "less light from {placedlamp}", "dim {placedlamp} (a bit|a little)", "turn down {placedlamp}",
            "take {placedlamp} down (a bit|a little)",
        ),
        ("i want {placedlamp} darker",),
        lambda memory, slots: (f"Okay, dimming {place(slots)}.",), keep=_keep_device,
    ),
    Intent(
        "light_brighten",
        (
            "brighten {placedlamp}", "make {placedlamp} brighter", "{placedlamp} is too dark",
            "more light from {placedlamp}", "brighten {placedlamp} (a bit|a little)", "turn up {placedlamp}",
            "turn {placedlamp} (up|higher)", "bring {placedlamp} up (a bit|a little)",
        ),
        ("i want {placedlamp} brighter",),
        lambda memory, slots: (f"Okay, brightening {place(slots)}.",), keep=_keep_device,
    ),
    Intent(
        "light_level",
        (
            "(set|dim|turn|bring) {placedlamp} to {level} percent", "put {placedlamp} at {level} percent",
            "{placedlamp} [to|at] {level} percent", "make {placedlamp} {level} percent bright",
            "change {placedlamp} to {level} percent", "i want {placedlamp} at {level} percent",
        ),
        ("adjust {placedlamp} to {level} percent",),
        lambda memory, slots: (f"Okay, setting {place(slots)} to {slots['level']} percent.",),
        weight=1.3, keep=_keep_device,
    ),
    Intent(
        "light_colour",
        (
            "(make|turn|set) {placedlamp} {colour}", "(set|change|switch) {placedlamp} to {colour}",
            "i want {placedlamp} [to be] {colour}", "{placedlamp} in {colour}",
            "give {placedlamp} a {colour} colour",
            "change the colour of {placedlamp} to {colour}", "let {placedlamp} be {colour}",
        ),
        ("paint {placedlamp} {colour}", "set the colour of {placedlamp} to {colour}"),
        lambda memory, slots: (f"Okay, turning {place(slots)} {slots['colour']}.",),
        weight=1.3, keep=_keep_device,
    ),
    Intent(
        "heating",
        (
            "set the (heating|temperature|thermostat) to {degrees} [degrees]",
            "make it {degrees} degrees [in here]",
            "heat the house to {degrees} degrees", "i want {degrees} degrees [in here]",
            "(turn|put) the (heating|thermostat) (to|on) {degrees} [degrees]",
            "change the temperature to {degrees} degrees",
            "warm the house to {degrees} degrees", "heating (to|at) {degrees} [degrees]",
        ),
        ("bring the temperature to {degrees} degrees",),
        lambda memory, slots: (f"Okay, setting the heating to {slots['degrees']} degrees.",),
    ),
    Intent(
        "too_cold",
        (
            "(it is|i am) [too|so|very] cold [in here]", "i am freezing", "it is freezing [in here]",
            "make it warmer [in here]", "turn up the heat", "turn the (heat|heating) up", "more heat",
            "it is chilly [in here]",
        ),
        ("i feel cold",),
        fixed("Okay, turning the heating up."),
    ),
    Intent(
        "too_hot",
        (
            "(it is|i am) [too|so|very] (hot|warm) [in here]", "make it (cooler|colder) [in here]",
            "turn down the heat",
            "turn the (heat|heating) down", "less heat", "i am sweating", "cool the house down",
            "it is boiling [in here]",
        ),
        ("i feel hot",),
        fixed("Okay, turning the heating down."),
    ),
    Intent(
        "open",
        (
            "open the {opening}", "(pull|roll) up the {opening}", "i want the {opening} open",
            "get the {opening} open",
            "make sure the {opening} is open", "let the {opening} open", "the {opening} should be open",
            "i need the {opening} open",
        ),
        ("i would like the {opening} open",),
        lambda memory, slots: (f"Okay, opening the {slots['opening']}.",),
    ),
    Intent(
        "close",
        (
            "(close|shut) the {opening}", "(pull|roll) down the {opening}", "i want the {opening} closed",
            "get the {opening} closed", "make sure the {opening} is closed", "the {opening} should be closed",
            "i need the {opening} closed",
        ),
        ("i would like the {opening} closed",),
        lambda memory, slots: (f"Okay, closing the {slots['opening']}.",),
    ),
    Intent(
        "lock",
        (
            "lock the {opening}", "lock up the {opening}", "i want the {opening} locked",
            "get the {opening} locked",
            "make sure the {opening} is locked", "the {opening} should be locked",
            "i need the {opening} locked",
            "put the lock on the {opening}",
        ),
        ("i would like the {opening} locked",),
        lambda memory, slots: (f"Okay, locking the {slots['opening']}.",), weight=0.8,
    ),
    Intent(
        "unlock",
        (
            "unlock the {opening}", "i want the {opening} unlocked", "get the {opening} unlocked",
            "make sure the {opening} is unlocked", "the {opening} should be unlocked",
            "i need the {opening} unlocked",
            "take the lock off the {opening}", "remove the lock from the {opening}",
        ),
        ("i would like the {opening} unlocked",),
        lambda memory, slots: (f"Okay, unlocking the {slots['opening']}.",), weight=0.8,
    ),
    Intent(
        "device_state",
        (
            "(is|are) {placed} (on|off)", "(is|are) {placed} still (on|off)", "did i leave {placed} on",
            "did i turn off {placed}", "do you know if {placed} is (on|off)",
            "can you see if {placed} is (on|off)",
            "have i left {placed} on", "check if {placed} is (on|off)",
        ),
        ("tell me if {placed} is on",),
        lambda memory, slots: (f"Sorry, I cannot see whether {place(slots)} is on.",), weight=0.8,
    ),
    Intent(
        "it_off",
        (
            "turn it off [again]", "switch it off [again]", "turn that off", "shut it off",
            "and now off [again]",
            "turn them off [again]", "off again", "stop it again",
        ),
        ("switch that off again",), _it("turning off"), fits=_is_one_device,
    ),
    Intent(
        "it_on",
        (
            "turn it [back] on [again]", "switch it [back] on [again]", "turn that on", "and now on again",
            "turn them [back] on [again]", "on again", "start it again", "put it on again",
        ),
        ("switch that on again",), _it("turning on"), fits=_is_one_device,
    ),
)  # fmt: skip
