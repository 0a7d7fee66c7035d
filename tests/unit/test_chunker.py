"""Text in pieces, clauses out."""

import random

import pytest

from riposte.turn.chunker import Chunker


def clauses(text: str, step: int = 3) -> list[str]:
    chunker, found = Chunker(), []
    for at in range(0, len(text), step):
        found += chunker.push(text[at : at + step])
    rest = chunker.finish()
    return found if rest is None else [*found, rest]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Okay.", ["Okay."]),
        ("Okay, turning on the kitchen lights.", ["Okay, turning on the kitchen lights."]),
        ("Turning it on now, one moment please.", ["Turning it on now,", "one moment please."]),
        ("Done it. The lights are on.", ["Done it.", "The lights are on."]),
        ("Yes. It is on.", ["Yes. It is on."]),  # a word alone is not worth a clause
        ("It is 3.5 degrees, at 8:30 in the morning.", ["It is 3.5 degrees,", "at 8:30 in the morning."]),
        ("Ask Dr. Smith about it today. Good luck.", ["Ask Dr. Smith about it today.", "Good luck."]),
        ("One line here\nand another", ["One line here", "and another"]),
    ],
)
def test_where_it_cuts(text, expected):
    assert clauses(text) == expected


def test_the_first_clause_does_not_wait_for_a_comma():
    text = "this reply goes on and on without any mark of punctuation and yet the first sound must come soon"
    first = clauses(text)[0]
    assert len(first) <= 48
    assert text.startswith(first)


def test_a_text_without_spaces_is_cut_too():
    assert max(map(len, clauses("x" * 1_000))) <= 240


def test_nothing_is_lost_whatever_the_pieces():
    rng = random.Random(5)
    alphabet = 'ab .,;!?\n-–’"é日'
    for _ in range(300):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(400)))
        found = clauses(text, rng.randrange(1, 9))
        assert "".join("".join(found).split()) == "".join(text.split())
        assert all(clause.strip() for clause in found)
