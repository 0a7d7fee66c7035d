"""Ask for timers, alarms, reminders, the time, the date and the weather."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine_build.pico.grammar.intent import Intent, Memory, Replies, Slots, fixed
from engine_build.pico.grammar.words import proper


def _keep_timer(memory: Memory, slots: Slots) -> None:
    memory.timer = slots["duration"]


def _drop_timer(memory: Memory, slots: Slots) -> None:
    memory.timer = None


def _keep_alarm(memory: Memory, slots: Slots) -> None:
    memory.alarm = slots["time"]


def _drop_alarm(memory: Memory, slots: Slots) -> None:
    memory.alarm = None


def _keep_reminder(memory: Memory, slots: Slots) -> None:
    memory.reminder = slots["task"]


def _drop_reminder(memory: Memory, slots: Slots) -> None:
    memory.reminder = None


def _of(field: str, known: str, unknown: str) -> Replies:
    def replies(memory: Memory, slots: Slots) -> tuple[str, ...]:
        value = getattr(memory, field)
        return (known.format(proper(value)) if value is not None else unknown,)

    return replies


def _remind(memory: Memory, slots: Slots) -> tuple[str, ...]:
    when = f" {proper(slots['when'])}" if "when" in slots else ""
    return (f"Okay, I will remind you to {slots['task']}{when}.",)


def _weather(memory: Memory, slots: Slots) -> tuple[str, ...]:
    city = f" in {proper(slots['city'])}" if "city" in slots else ""
    day = f" {proper(slots['relday'])}" if "relday" in slots else ""
    return (f"Sorry, I am offline, so I do not know the weather{city}{day}.",)


def _known(field: str) -> Callable[[Memory], float]:
    return lambda memory: 2.5 if getattr(memory, field) is not None else 0.4


INTENTS: Final = (
    Intent(
        "timer_set",
        (
            "(set|start|make) a timer for {duration}", "(set|start) a {duration} timer",
            "timer for {duration}",
            "{duration} timer", "wake me in {duration}", "tell me when {duration} (is|are) over",
            "count down {duration}",
            "i need a timer for {duration}", "set [the|my] timer to {duration}", "let me know in {duration}",
            "give me {duration} on the timer", "new timer {duration}",
        ),
        ("run a timer for {duration}", "i want a timer of {duration}"),
        lambda memory, slots: (f"Okay, I set a timer for {slots['duration']}.",), weight=2.0,
        keep=_keep_timer,
    ),
    Intent(
        "timer_cancel",
        (
            "(stop|cancel|delete|remove|clear) (the|my) timer", "turn off (the|my) timer",
            "i do not need the timer [any more]",
            "timer off", "no timer [any more]", "end the timer", "forget the timer",
            "(the|my) timer can stop",
        ),
        ("switch off the timer",),
        _of("timer", "Okay, the timer for {} is cancelled.", "There is no timer running."),
        keep=_drop_timer, fits=_known("timer"),
    ),
    Intent(
        "timer_ask",
        (
            "how much time is left [on (the|my) timer]", "how long is (the|my) timer",
            "what timer (is running|do i have)",
            "is there a timer [running]", "which timer did i set", "do i have a timer",
            "what is (the|my) timer set to",
            "when is the timer over", "check (the|my) timer",
        ),
        ("for how long did i set the timer",),
        _of("timer", "Your timer is set for {}.", "There is no timer running."), fits=_known("timer"),
    ),
    Intent(
        "alarm_set",
        (
            "(set|make) an alarm for {time}", "wake me [up] at {time}",
            "(set|put) (the|my) alarm (to|for|at) {time}",
            "alarm at {time}", "i need an alarm at {time}", "i (want|have) to get up at {time}",
            "i need to wake up at {time}", "get me up at {time}", "new alarm for {time}",
            "my alarm should ring at {time}",
        ),
        ("let the alarm ring at {time}", "make sure i wake up at {time}"),
        lambda memory, slots: (f"Okay, your alarm is set for {proper(slots['time'])}.",), weight=1.6,
        keep=_keep_alarm,
    ),
    Intent(
        "alarm_cancel",
        (
            "(stop|cancel|delete|remove|clear) (the|my) alarm", "turn off (the|my) alarm", "alarm off",
            "no alarm [any more]",
            "i do not need the alarm [any more]", "do not wake me [up]", "forget the alarm", "let me sleep",
        ),
        ("switch off the alarm",),
        _of("alarm", "Okay, the alarm for {} is cancelled.", "There is no alarm set."),
        keep=_drop_alarm, fits=_known("alarm"),
    ),
    Intent(
        "alarm_ask",
        (
            "when is (the|my) alarm", "what time is (the|my) alarm", "do i have an alarm",
            "is there an alarm [set]",
            "when do i have to get up", "when will you wake me", "when does (the|my) alarm ring",
            "what is (the|my) alarm set to", "check (the|my) alarm",
        ),
        ("for when did i set the alarm",),
        _of("alarm", "Your alarm is set for {}.", "There is no alarm set."), fits=_known("alarm"),
    ),
    Intent(
        "remind",
        (
            "remind me to {task} {when}", "remind me to {task}",
            "(make|set|add) a reminder to {task} [{when}]",
            "do not let me forget to {task} [{when}]", "i (have|need) to {task} {when}",
            "i must not forget to {task}",
            "{when} remind me to {task}", "help me remember to {task}", "tell me to {task} {when}",
            "new reminder {task} [{when}]", "give me a reminder to {task} [{when}]",
        ),
        ("i want a reminder to {task} [{when}]", "make sure i {task} {when}"),
        _remind, weight=1.8, keep=_keep_reminder,
    ),
    Intent(
        "remind_ask",
        (
            "what are my reminders", "what should i not forget", "(read|list|show) my reminders",
            "do i have any reminders",
            "what did i want to do", "what do i have to do", "what did i ask you to remind me of",
            "is there a reminder",
            "check my reminders", "what is my reminder",
        ),
        ("which reminders do i have",),
        _of("reminder", "You asked me to remind you to {}.", "You have no reminders."),
        fits=_known("reminder"),
    ),
    Intent(
        "remind_cancel",
        (
            "(cancel|delete|remove|clear) (the|my) (reminder|reminders)", "forget (the|my) reminder",
            "i do not need the reminder [any more]", "no reminder [any more]", "reminder off",
            "turn off (the|my) reminder",
            "do not remind me [any more]", "stop reminding me",
        ),
        ("switch off the reminder",),
        _of("reminder", "Okay, I will not remind you to {}.", "You have no reminders."),
        keep=_drop_reminder, fits=_known("reminder"),
    ),
    Intent(
        "time_ask",
        (
            "what time is it [now]", "what is the time [now]", "how late is it",
            "do you know (the time|what time it is)",
            "do you have the time", "what does the clock say", "is it late", "tell me the time", "the time",
            "can you tell me the time",
        ),
        ("what hour is it", "how late is it now"),
        fixed("Sorry, I have no clock, so I do not know the time."),
    ),
    Intent(
        "date_ask",
        (
            "what day is it [today]", "what is the date [today]", "what is today's date",
            "which day is it [today]",
            "do you know the date", "what month is it", "what year is it", "tell me the date",
            "which day of the week is it",
            "what day of the month is it", "is today {day}", "is it {day} today",
        ),
        ("what is the day today", "which date is today"),
        fixed("Sorry, I have no calendar, so I do not know the date."),
    ),
    Intent(
        "weather",
        (
            "(what is|how is) the weather [in {city}] [{relday}]",
            "(will it|is it going to) (rain|snow) [in {city}] [{relday}]",
            "what is the weather like [in {city}] [{relday}]",
            "is it (raining|snowing|sunny|cold|warm) [in {city}] {relday}",
            "do i need an umbrella [{relday}]", "what is the forecast [for {city}] [{relday}]",
            "what will the weather be [in {city}] [{relday}]",
            "how (warm|cold|hot) is it [in {city}] {relday}",
            "weather [in {city}] [{relday}]", "is it (windy|foggy) [in {city}] [{relday}]",
            "tell me the weather [in {city}] [{relday}]",
            "how will the weather be [in {city}] [{relday}]",
        ),
        ("do you know the weather [in {city}] [{relday}]", "what kind of weather is it in {city} {relday}"),
        _weather, weight=1.8,
    ),
)  # fmt: skip
