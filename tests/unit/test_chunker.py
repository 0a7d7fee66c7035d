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
        ("Is it on? Yes. It is on.", ["Is it on?", "Yes. It is on."]),
        ("I am sorry, I will try it again.", ["I am sorry,", "I will try it again."]),
        ('He said "well then, good night," and left', ['He said "well then,', 'good night," and left']),
        ("The lights are on—as you like it", ["The lights are on—", "as you like it"]),
        ("It costs 1,000 dollars and 5 cents", ["It costs 1,000 dollars and 5 cents"]),
    ],
)
def test_where_it_cuts(text, expected):
    assert clauses(text) == expected


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("this reply runs along for quite some time without any mark", "this reply runs along"),
        ("I will remind you to buy milk on Sunday", "I will remind you to buy milk"),
        ("Okay, telling the school that breakfast is ready for them", "Okay, telling the school"),
        ("Je vais vous dire le temps qu'il fait dans la ville", "Je vais vous dire le temps qu'il fait"),
        ("Sorry, I can count up to one hundred and", "Sorry, I can count up"),
        ("one two three four five six seven eight nine", "one two three four five six seven eight"),
    ],
)
def test_without_a_mark_the_first_clause_ends_within_eight_words_in_front_of_a_phrase(text, first):
    assert clauses(text, 1)[0] == first


def test_the_first_clause_leaves_with_its_comma_and_does_not_wait_for_the_space():
    chunker = Chunker()
    assert chunker.push("Turning it on now") == []
    assert chunker.push(",") == ["Turning it on now,"]


def test_no_clause_ends_behind_a_word_that_leans_on_the_next():
    rng = random.Random(3)
    words = ["light", "window", "turn", "seven", "blue", "of", "the", "with", "my", "and", "to", "is", "a"]
    for _ in range(20):
        found = clauses(" ".join(rng.choice(words[:5] if n % 3 else words) for n in range(150)))
        assert not {clause.split()[-1] for clause in found[:-1]} & {"the", "my", "a", "with", "and", "of"}


def test_clauses_grow_towards_sentences_and_none_beyond_twice_what_there_is_to_play():
    found = clauses("every word of this is said without a single mark " * 40)
    lengths = [len(clause) for clause in found[:-1]]
    assert lengths[0] <= 48
    assert lengths[1] <= 2 * lengths[0]
    assert 120 < max(lengths) <= 240
    after_a_short_one = clauses("I am sorry, but every word of this is said without a single mark")
    assert [len(clause) <= 32 for clause in after_a_short_one[:2]] == [True, True]
    commas = clauses("one, two, three, four, " * 80)[:-1]
    assert all(clause.endswith(",") for clause in commas)
    assert len(commas[0]) < 25 < len(commas[2]) < 60 < len(commas[4])
    assert all(150 <= len(clause) <= 240 for clause in commas[5:])
    assert clauses("One of the many things. " * 9) == ["One of the many things."] * 9


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


def test_where_it_cuts_depends_on_the_text_alone():
    rng = random.Random(7)
    alphabet = 'ab  .,;!?\n-–—’"(é日'
    for _ in range(500):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(200)))
        assert clauses(text, 1) == clauses(text, rng.randrange(2, 30)) == clauses(text, 1_000), text
