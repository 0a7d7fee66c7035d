"""Words and two models' opinions in, milliseconds of silence out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from riposte.turn.finished import finished, wait_ms

SURE_MS, UNSURE_MS, UNKNOWN_MS = 152, 804, 404


def wait(words: str = "turn on the lights", **given: Any) -> int:
    rule: dict[str, Any] = {
        "language": "en", "model": None, "sound": None, "patience": 0.3, "earliest_ms": 120, "latest_ms": 1000
    }  # fmt: skip
    return wait_ms(words, **rule | given)


@pytest.mark.parametrize(
    ("words", "language", "model", "sound", "waits_ms"),
    [
        # The language model decides, also of what no list can know.
        ("turn on the kitchen lights", "en", 0.98, None, SURE_MS),
        ("turn on the kitchen", "en", 0.02, None, UNSURE_MS),
        ("set a timer for ten", "en", 0.01, None, UNSURE_MS),
        ("what is four plus ten", "en", 0.7, None, SURE_MS),
        ("what is it for", "en", 0.9, None, SURE_MS),
        ("who am i", "en", 0.9, None, SURE_MS),
        ("hier war ich im", "de", 0.03, None, UNSURE_MS),
        ("set the volume to five", "en", 0.2, None, 509),
        # … but nobody ends on these.
        ("turn on the kitchen lights and", "en", 0.6, None, UNSURE_MS),
        ("it's on my", "en", 0.9, 0.9, UNSURE_MS),
        ("I would like, um…", "en", 0.9, None, UNSURE_MS),
        ("allume la lumière de", "fr", 0.8, None, UNSURE_MS),
        ("Je voudrais l'", "fr", 0.8, None, UNSURE_MS),
        ("allume la lumière de", None, 0.8, None, UNSURE_MS),
        # One language's dangling word is another's last.
        ("il y a un an", "fr", 0.9, None, SURE_MS),
        ("il y a un an", None, 0.9, None, SURE_MS),
        ("baisse le son", "fr", None, None, UNSURE_MS),  # seldom an end where nobody can be asked …
        ("baisse le son", "fr", 0.8, None, SURE_MS),  # … and here one
        ("baisse le son", "en", None, None, UNKNOWN_MS),
        # Nobody to ask: the words alone.
        ("turn on the lights", "en", None, None, UNKNOWN_MS),
        ("allume la lumière", "fr", None, None, UNKNOWN_MS),
        ("turn on the", "en", None, None, UNSURE_MS),
        ("Turn on The ...", "en", None, None, UNSURE_MS),
        ("turn on the", "fr-CA", None, None, UNKNOWN_MS),
        ("turn on the", "en-GB", None, None, UNSURE_MS),
        ("mach das Licht im", "de", None, None, UNKNOWN_MS),
        ("where are you going to", "en", None, None, UNSURE_MS),
        ("milk, eggs,", "en", None, None, UNSURE_MS),
        ("", None, None, None, UNKNOWN_MS),
        ("?!", "en", None, None, UNKNOWN_MS),
        # A model of the sound: alone, and beside the words.
        ("turn on the lights", "en", None, 0.95, SURE_MS),
        ("turn on the lights", "en", None, 0.05, UNSURE_MS),
        ("where are you going to", "en", None, 0.95, UNSURE_MS),
        ("turn on the lights", "en", 0.98, 0.9, SURE_MS),
        ("turn on the lights", "en", 0.9, 0.01, 193),
        ("set a timer for ten", "en", 0.01, 0.98, 441),
        ("turn on the lights", "en", 1.0, 0.0, SURE_MS),
        ("turn on the lights", "en", 0.0, 1.0, UNSURE_MS),
    ],
)
def test_silence_depends_on_how_finished_it_is(
    words: str, language: str | None, model: float | None, sound: float | None, waits_ms: int
) -> None:
    assert wait(words, language=language, model=model, sound=sound) == waits_ms


@pytest.mark.parametrize(
    ("patience", "sure_ms", "unknown_ms", "unsure_ms"),
    [(0.0, 120, 136, 428), (0.3, 152, 404, 804), (0.5, 208, 648, 928), (1.0, 472, 1000, 1000)],
)
def test_patience_lengthens_every_silence(
    patience: float, sure_ms: int, unknown_ms: int, unsure_ms: int
) -> None:
    waits = [wait(model=model, patience=patience) for model in (0.99, None, 0.01)]
    assert waits == [sure_ms, unknown_ms, unsure_ms]


def test_silence_stays_in_its_range_and_shrinks_as_the_end_grows_more_probable() -> None:
    chances = [0.0, 1e-9, *(n / 50 for n in range(1, 50)), 1.0]
    for patience, (earliest, latest) in itertools.product((0.0, 0.3, 1.0), ((120, 1000), (200, 200))):
        waits = [
            wait(model=chance, patience=patience, earliest_ms=earliest, latest_ms=latest)
            for chance in chances
        ]
        assert waits == sorted(waits, reverse=True)
        assert earliest <= min(waits) <= max(waits) <= latest


def test_pauses_inside_a_sentence_are_outlasted_by_default() -> None:
    assert wait(model=0.1) > 700
    assert wait("to the", model=0.99) > 700


def test_finished_is_the_models_word_unless_the_words_forbid_it() -> None:
    assert finished("yes", language="en", model=0.7, sound=None) == 0.7
    assert finished("yes", language="en", model=None, sound=0.4) == 0.4
    assert finished("yes", language="en", model=0.7, sound=0.7) == pytest.approx(0.7)
    assert finished("and", language="en", model=0.7, sound=0.7) < 0.05
