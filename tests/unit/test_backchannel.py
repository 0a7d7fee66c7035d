"""What is said over a reply: does it want the floor?"""

import pytest

from riposte.turn.backchannel import wish_of


@pytest.mark.parametrize(
    "words",
    [
        "mm-hmm",
        "Mm-hmm.",
        "yes",
        "yes yes okay",
        "uh huh",
        "all right",
        "okay, thank you",
        "I see",
        "D’accord",
        "ah bon",
    ],
)
def test_a_backchannel_listens(words: str) -> None:
    assert wish_of(words) == "listens"


@pytest.mark.parametrize(
    "words",
    [
        "stop",
        "wait",
        "no",
        "turn",
        "yes turn it off",
        "okay but why",
        "right right okay yes",
        "go on with it",
        "arrête",
    ],
)
def test_everything_else_wants_to_speak(words: str) -> None:
    assert wish_of(words) == wish_of(words, cut=True) == "speaks"


@pytest.mark.parametrize("words", ["", " ", "...", "?!"])
def test_no_words_want_nothing(words: str) -> None:
    assert wish_of(words) == "none"


@pytest.mark.parametrize("words", ["ye", "oka", "mm", "all", "uh", "thank", "rig"])
def test_what_may_become_a_backchannel_is_waited_for(words: str) -> None:
    assert wish_of(words, cut=True) == "listens"


@pytest.mark.parametrize("words", ["ye", "oka", "all", "thank", "rig"])
def test_and_no_longer(words: str) -> None:
    assert wish_of(words) == "speaks"


@pytest.mark.parametrize("words", ["i", "a", "of", "that", "in"])
def test_words_that_begin_anything_are_not_waited_for(words: str) -> None:
    assert wish_of(words, cut=True) == "speaks"
