"""The grammar is the one source of what pico is trained and judged on: broad, and the same each time."""

from __future__ import annotations

import random
import re

import pytest

from engine_build.pico.grammar import (
    INTENTS,
    conversation,
    drill,
    is_whole,
    memory_conversation,
    spoken_sentence,
    template,
    vocabulary,
)
from engine_build.pico.grammar.intent import Memory
from engine_build.pico.grammar.intents import utter
from engine_build.pico.grammar.outside import WRITTEN_ONLY
from engine_build.pico.grammar.paraphrases import MORE
from engine_build.pico.grammar.speech import split_of
from engine_build.pico.grammar.unseen import UNSEEN
from engine_build.pico.grammar.words import VALUES, number
from engine_build.pico.grammar.written import digits

SPOKEN = re.compile(r"[a-z']+( [a-z']+)*")


def sentences(count: int, split: str, seed: int = 3) -> list[str]:
    rng = random.Random(seed)
    return [spoken_sentence(rng, split) for _ in range(count)]


def test_vocabulary_is_a_household() -> None:
    words = vocabulary()
    assert 800 <= len(words) <= 1500
    assert words == sorted(set(words))
    assert {"kitchen", "anna", "milk", "twenty", "paris", "timer"} <= set(words)


@pytest.mark.parametrize(
    "intent", [each for each in INTENTS if each.name not in WRITTEN_ONLY], ids=lambda each: each.name
)
def test_every_intent_has_eight_phrasings_and_some_held_out(intent) -> None:
    assert sum(template.variants(phrasing) for phrasing in (*intent.phrasings, *intent.held)) >= 8
    assert intent.held
    assert not set(intent.held) & {*intent.phrasings, *MORE.get(intent.name, ())}


def test_no_intent_has_two_definitions() -> None:
    assert len({intent.name for intent in INTENTS}) == len(INTENTS)


def test_spoken_form_has_words_and_apostrophes_only() -> None:
    assert all(
        SPOKEN.fullmatch(sentence) for split in ("train", "test") for sentence in sentences(4000, split)
    )


def test_no_sentence_is_in_both_splits() -> None:
    trained, tested = set(sentences(8000, "train")), set(sentences(3000, "test"))
    assert not trained & tested
    assert all(split_of(sentence) == "train" for sentence in trained)


def test_every_word_is_spoken_in_training() -> None:
    missing = set(vocabulary())
    rng = random.Random(5)
    for _ in range(400_000):
        missing.difference_update(spoken_sentence(rng).split())
        if not missing:
            break
    assert not missing


def test_nothing_spoken_is_outside_the_vocabulary() -> None:
    known = set(vocabulary())
    assert {word for sentence in sentences(20_000, "train", 8) for word in sentence.split()} <= known


def test_a_seed_gives_the_same_sentences_and_conversations() -> None:
    assert sentences(50, "train") == sentences(50, "train")
    assert conversation(random.Random(4), "test", 6) == conversation(random.Random(4), "test", 6)


def test_held_out_phrasings_are_never_trained_on() -> None:
    rng = random.Random(6)
    trained = {each.spoken for _ in range(3000) for each in conversation(rng).exchanges}
    tested = {
        each.spoken
        for _ in range(600)
        for each in conversation(rng, "test").exchanges
        if each.intent not in {"noise", "test"}
    }
    # A few short sentences can be worded alike by two phrasings ("a story please"); more would be a leak.
    assert len(trained & tested) <= 0.02 * len(tested)


def test_conversations_have_the_turns_asked_for_and_accept_their_own_replies() -> None:
    rng = random.Random(7)
    for turns in (1, 4, 12):
        exchanges = conversation(rng, turns=turns).exchanges
        assert len(exchanges) == turns
        assert all(each.accepts(each.reply) and not each.accepts("Okay.") for each in exchanges)
    assert all(1 <= len(conversation(rng).exchanges) <= 12 for _ in range(200))


def test_replies_are_written_english_without_digits() -> None:
    rng = random.Random(8)
    replies = [each.reply for _ in range(800) for each in conversation(rng).exchanges]
    assert all(reply[0].isupper() and reply[-1] in ".?!" and not re.search(r"\d", reply) for reply in replies)


def test_a_name_told_is_the_name_asked_for() -> None:
    rng = random.Random(9)
    for _ in range(50):
        talk = memory_conversation(rng, "name", 4, "test").exchanges
        assert len(talk) == 6
        assert talk[-1].reply == f"Your name is {talk[0].slots['name'].capitalize()}."


def test_a_list_is_read_back_in_the_order_it_was_told() -> None:
    talk = memory_conversation(random.Random(10), "list").exchanges
    read = talk[-1].reply
    places = [
        read.index(item)
        for turn in talk
        if turn.intent == "list_add"
        for item in turn.slots["items"].split(" and ")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(("intent", "sign"), [("sum_add", 1), ("sum_subtract", -1)])
def test_sums_are_right(intent: str, sign: int) -> None:
    for each in drill(random.Random(11), (intent,), 200).exchanges:
        total = VALUES[each.slots["left"]] + sign * VALUES[each.slots["right"]]
        assert 0 <= total <= 100
        assert each.reply.endswith(f" is {number(total)}.")


@pytest.mark.parametrize(
    ("spoken", "clock", "written"),
    [("twenty five minutes", False, "25 minutes"), ("seven thirty", True, "7:30"), ("half past three", True,
    "half past 3"), ("one hundred", False, "100")],
)  # fmt: skip
def test_number_words_become_digits(spoken: str, clock: bool, written: str) -> None:
    assert digits(spoken, clock) == written


def test_a_beginning_is_not_a_whole_sentence() -> None:
    assert is_whole("set a timer for ten minutes")
    assert is_whole("turn on the kitchen lights please")
    assert not is_whole("set a timer for")
    assert not is_whole("turn on the")


def test_every_utterance_of_the_grammar_is_whole() -> None:
    rng = random.Random(12)
    for intent in INTENTS:
        if intent.name in {"noise", "test"}:
            continue
        for phrasing in (*intent.phrasings, *intent.held):
            assert is_whole(utter(intent, phrasing, rng, Memory(), 0.0)[0]), phrasing


def test_further_phrasings_belong_to_intents_and_judge_or_train_but_never_both() -> None:
    names = {intent.name for intent in INTENTS}
    assert set(MORE) <= names
    assert set(UNSEEN) <= names
    for intent in INTENTS:
        trained = {*intent.phrasings, *MORE.get(intent.name, ())}
        assert not trained & {*intent.held, *UNSEEN.get(intent.name, ())} - {"{noise}"}


@pytest.mark.parametrize("text", ["(a|b", "a]", "a|b", "[a"])
def test_loose_brackets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="phrasing"):
        template.parse(text)
