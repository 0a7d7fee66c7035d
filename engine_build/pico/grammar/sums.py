"""Ask for sums with numbers up to one hundred."""

from __future__ import annotations

import random
from typing import Final

from engine_build.pico.grammar.intent import Intent, Memory, Replies, Slots
from engine_build.pico.grammar.words import VALUES, number, sentence

MOST: Final = 100


def _says(verb: str) -> Replies:
    signs = {
        "plus": lambda left, right: left + right, "minus": lambda left, right: left - right,
        "times": lambda left, right: left * right, "divided by": lambda left, right: left // right,
    }  # fmt: skip

    def replies(memory: Memory, slots: Slots) -> tuple[str, ...]:
        left, right = VALUES[slots["left"]], VALUES[slots["right"]]
        return (f"{sentence(number(left))} {verb} {number(right)} is {number(signs[verb](left, right))}.",)

    return replies


def _pair(left: int, right: int) -> dict[str, str]:
    return {"left": number(left), "right": number(right)}


def _add(rng: random.Random, memory: Memory) -> dict[str, str]:
    total = rng.randint(0, 20) if rng.random() < 0.2 else rng.randint(1, MOST)
    left = rng.randint(0, total)
    return _pair(left, total - left)


def _subtract(rng: random.Random, memory: Memory) -> dict[str, str]:
    left = rng.randint(0, 20) if rng.random() < 0.2 else rng.randint(1, MOST)
    return _pair(left, rng.randint(0, left))


def _multiply(rng: random.Random, memory: Memory) -> dict[str, str]:
    left = rng.randint(1, 12)
    right = rng.randint(1, min(12, MOST // left)) if rng.random() < 0.85 else rng.randint(0, MOST // left)
    return _pair(left, right) if rng.random() < 0.5 else _pair(right, left)


def _divide(rng: random.Random, memory: Memory) -> dict[str, str]:
    right = rng.randint(1, 12)
    return _pair(right * rng.randint(0, min(12, MOST // right)), right)


def _half(rng: random.Random, memory: Memory) -> dict[str, str]:
    return {"value": number(2 * rng.randint(1, MOST // 2))}


def _double(rng: random.Random, memory: Memory) -> dict[str, str]:
    return {"value": number(rng.randint(1, MOST // 2))}


def _unlike(rng: random.Random, memory: Memory) -> dict[str, str]:
    left, right = rng.sample(range(MOST + 1), 2)
    return _pair(left, right)


def _bigger(memory: Memory, slots: Slots) -> tuple[str, ...]:
    high, low = sorted((VALUES[slots["left"]], VALUES[slots["right"]]), reverse=True)
    return (f"{sentence(number(high))} is bigger than {number(low)}.",)


def _smaller(memory: Memory, slots: Slots) -> tuple[str, ...]:
    high, low = sorted((VALUES[slots["left"]], VALUES[slots["right"]]), reverse=True)
    return (f"{sentence(number(low))} is smaller than {number(high)}.",)


def _large(rng: random.Random, memory: Memory) -> dict[str, str]:
    return {"large": number(rng.randint(101, 999)), "right": number(rng.randint(2, 100))}


INTENTS: Final = (
    Intent(
        "sum_add",
        (
            "what is {left} (plus|and) {right}", "{left} plus {right}",
            "how much is {left} (plus|and) {right}", "add {left} and {right}",
            "add {left} to {right}", "what do you get if you add {left} and {right}",
            "calculate {left} plus {right}",
            "the sum of {left} and {right}", "what is the sum of {left} and {right}",
            "can you add {left} and {right}",
            "do you know what {left} plus {right} is", "{left} plus {right} is what",
        ),
        ("what does {left} plus {right} make", "work out {left} plus {right}"),
        _says("plus"), weight=4.5, draw=_add,
    ),
    Intent(
        "sum_subtract",
        (
            "what is {left} minus {right}", "{left} minus {right}", "how much is {left} (minus|less) {right}",
            "subtract {right} from {left}", "take {right} from {left}",
            "what do you get if you subtract {right} from {left}",
            "calculate {left} minus {right}", "take {right} away from {left}",
            "what is {left} take away {right}",
            "do you know what {left} minus {right} is", "{left} minus {right} is what",
        ),
        ("what does {left} minus {right} make", "work out {left} minus {right}"),
        _says("minus"), weight=4.0, draw=_subtract,
    ),
    Intent(
        "sum_multiply",
        (
            "what is {left} times {right}", "{left} times {right}", "how much is {left} times {right}",
            "multiply {left} (by|with|and) {right}", "calculate {left} times {right}",
            "what is {left} multiplied by {right}",
            "what do you get if you multiply {left} (by|and) {right}", "the product of {left} and {right}",
            "do you know what {left} times {right} is", "{left} times {right} is what",
        ),
        ("what does {left} times {right} make", "work out {left} times {right}"),
        _says("times"), weight=2.2, draw=_multiply,
    ),
    Intent(
        "sum_divide",
        (
            "what is {left} divided by {right}", "{left} divided by {right}",
            "how much is {left} divided by {right}",
            "divide {left} by {right}", "calculate {left} divided by {right}",
            "what do you get if you divide {left} by {right}",
            "how many times does {right} go into {left}", "do you know what {left} divided by {right} is",
            "{left} over {right}",
        ),
        ("what does {left} divided by {right} make", "work out {left} divided by {right}"),
        _says("divided by"), weight=1.8, draw=_divide,
    ),
    Intent(
        "sum_half",
        (
            "what is half of {value}", "half of {value}", "how much is half of {value}",
            "calculate half of {value}",
            "what is one half of {value}", "give me half of {value}", "what is the half of {value}",
            "do you know half of {value}",
        ),
        ("work out half of {value}",),
        lambda memory, slots: (f"Half of {slots['value']} is {number(VALUES[slots['value']] // 2)}.",),
        weight=0.7, draw=_half,
    ),
    Intent(
        "sum_double",
        (
            "what is (twice|double) {value}", "(twice|double) {value}",
            "how much is (twice|double) {value}", "calculate double {value}",
            "what is the double of {value}", "give me double {value}",
            "what do you get if you double {value}", "can you double {value}",
        ),
        ("work out double {value}",),
        lambda memory, slots: (f"Double {slots['value']} is {number(2 * VALUES[slots['value']])}.",),
        weight=0.7, draw=_double,
    ),
    Intent(
        "bigger",
        (
            "(what|which) is (bigger|larger|more) {left} or {right}",
            "is {left} (bigger|larger|more) than {right}",
            "which number is (bigger|larger) {left} or {right}", "is {left} or {right} (bigger|larger)",
            "what is more {left} or {right}", "the (bigger|larger) of {left} and {right}",
            "is {left} more than {right}",
            "which is the bigger number {left} or {right}",
        ),
        ("which is greater {left} or {right}", "tell me which is bigger {left} or {right}"),
        _bigger, weight=1.0, draw=_unlike,
    ),
    Intent(
        "smaller",
        (
            "(what|which) is (smaller|less) {left} or {right}", "is {left} (smaller|less) than {right}",
            "which number is smaller {left} or {right}", "is {left} or {right} smaller",
            "what is less {left} or {right}",
            "the smaller of {left} and {right}", "which is the smaller number {left} or {right}",
            "is {left} a smaller number than {right}",
        ),
        ("tell me which is smaller {left} or {right}",),
        _smaller, weight=0.8, draw=_unlike,
    ),
    Intent(
        "sum_large",
        (
            "what is {large} (plus|minus|times) {right}", "{large} (plus|minus|times) {right}",
            "how much is {large} (plus|minus) {right}",
            "calculate {large} (plus|minus|times) {right}", "multiply {large} by {right}",
            "add {large} and {right}",
            "divide {large} by {right}", "what is {right} plus {large}", "subtract {right} from {large}",
        ),
        ("work out {large} plus {right}",),
        lambda memory, slots: ("Sorry, I can only count up to one hundred.",), weight=0.6, draw=_large,
    ),
)  # fmt: skip
