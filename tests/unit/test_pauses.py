"""Pauses inside sentences are what the ends of turns are judged by: the places must be what they claim."""

from __future__ import annotations

import random

import pytest

from engine_build.pico.grammar import pauses, spoken_sentence
from engine_build.pico.grammar.pauses import Pause, could_end, finished_split, unfinished_split

RNG = random.Random(5)
SENTENCES = [spoken_sentence(RNG, "test") for _ in range(120)]


@pytest.mark.parametrize("split", [finished_split, unfinished_split])
def test_two_parts_are_the_sentence(split) -> None:
    found = [(sentence, pause) for sentence in SENTENCES if (pause := split(sentence, RNG)) is not None]
    assert len(found) > 10
    for sentence, pause in found:
        assert f"{pause.before} {pause.after}" == sentence
        assert could_end(pause) is (split is finished_split)


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        ("turn on the", "kitchen lights", False),
        ("set a timer for ten", "minutes", False),
        ("turn on", "the kitchen lights", False),
        ("what's the capital of", "france", False),
        ("turn on the lights", "in the kitchen", True),
        ("what's the weather", "in paris", True),
        ("is it cold in brussels", "tomorrow", True),  # the grammar wants a day there, nobody else does
        ("set a timer for ten minutes", "please", True),
    ],
)
def test_places_are_what_an_english_ear_finds(before: str, after: str, ends: bool) -> None:
    assert could_end(Pause(before, after)) is ends


def test_pauses_follow_two_words_and_no_mere_opening() -> None:
    assert [pause.before for pause in pauses.pauses("hey riposte turn on the lights")] == [
        "hey riposte turn",
        "hey riposte turn on",
        "hey riposte turn on the",
    ]
    assert unfinished_split("buy milk", RNG) is None


def test_a_courtesy_is_waited_for_only_where_nothing_else_is() -> None:
    found = {finished_split("what is the weather in paris please", RNG) for _ in range(20)}
    assert {pause.after for pause in found if pause} == {"in paris please"}
    assert finished_split("turn it off please", RNG) == Pause("turn it off", "please")


def test_what_no_user_says_has_no_place() -> None:
    assert unfinished_split("okay your list is empty now", RNG) is None
    assert finished_split("your list has milk and eggs", RNG) is None
