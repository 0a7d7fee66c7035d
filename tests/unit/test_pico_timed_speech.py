"""When words were said, and what is written of speech that is cut off: no synthesiser, no torch."""

import random

import numpy as np
import pytest

from engine_build.pico.grammar.speech import split_of
from engine_build.pico.letter_paths import LEAD, POSITION, letter_paths, word_spans
from engine_build.pico.log_mel import BANDS
from engine_build.pico.timed import Timed
from engine_build.pico.turn_texts import in_two, respelt, training_text

LETTERS = " abc"


def heard(path: str) -> np.ndarray:
    """Return log probabilities, [1, time, 1 + letters], of a head that is sure of each position."""
    likely = np.full((1, len(path), 1 + len(LETTERS)), -9.0, np.float32)
    for at, letter in enumerate(path):
        likely[0, at, 0 if letter == "-" else LETTERS.index(letter) + 1] = -0.01
    return likely


def timed(*spans: tuple[float, float], frames: int = 200) -> Timed:
    log_mel = np.full((frames, BANDS), -3.0, np.float32)
    words = " ".join("abcdefgh"[: len(spans)])
    return Timed(log_mel, words, np.array(spans, np.float32).reshape(-1, 2))


@pytest.mark.parametrize("heard_as", ["--a-bb--c--", "aabbccccccc", "a---------bc"])
def test_a_path_passes_every_letter_in_turn(heard_as: str) -> None:
    (path,) = letter_paths(heard(heard_as), ["abc"], [len(heard_as)], LETTERS)
    assert [int(state) // 2 for state in dict.fromkeys(path.tolist()) if state % 2] == [0, 1, 2]


def test_equal_letters_are_parted_by_a_blank() -> None:
    (path,) = letter_paths(heard("aaaaaa"), ["aa"], [6], LETTERS)
    states = path.tolist()
    assert states.index(2) < states.index(3)


def test_a_shorter_sound_of_a_batch_ends_where_it_ends() -> None:
    both = np.concatenate([heard("a-b-------"), heard("a-------b-")])
    first, second = letter_paths(both, ["ab", "ab"], [4, 10], LETTERS)
    assert (len(first), len(second)) == (4, 10)
    assert second.tolist().index(3) == 8


def test_words_meet_in_the_middle_between_their_letters() -> None:
    before = "-" * (LEAD // POSITION)
    (path,) = letter_paths(heard(f"{before}-ab-- -c-"), ["ab c"], [len(before) + 9], LETTERS)
    spans = word_spans(path, "ab c", 18)
    assert spans[0, 1] == spans[1, 0] == pytest.approx(10)
    assert spans.min() >= 0
    assert spans.max() <= 18


def test_a_pause_between_words_belongs_to_neither() -> None:
    (path,) = letter_paths(heard("-----a" + "-" * 30 + "b---"), ["a b"], [40], LETTERS)
    spans = word_spans(path, "a b", 60)
    assert spans[1, 0] - spans[0, 1] > 40


def test_a_word_cut_in_the_middle_is_written_when_most_of_it_was_heard() -> None:
    said = timed((0, 50), (50, 100), (100, 150))
    assert [said.words_by(frame) for frame in (20, 36, 84, 86, 199)] == ["", "a", "a", "a b", "a b c"]


def test_a_cut_leaves_the_frames_and_the_words_so_far() -> None:
    cut = timed((0, 50), (50, 100), (100, 150)).cut(90)
    assert cut.log_mel.shape == (90, BANDS)
    assert cut.text == "a b"
    assert np.isfinite(cut.log_mel).all()
    assert cut.spans.max() <= 90


def test_the_middle_of_a_word_is_unsure_and_its_ends_are_not() -> None:
    said = timed((0, 50), (50, 100))
    assert [said.unsure_at(frame) for frame in (10, 30, 49, 60, 80, 99)] == [
        False, True, False, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_a_pause_between_words_lengthens_and_moves_the_later_ones(seed: int) -> None:
    said = timed((0, 50), (50, 100), (100, 150))
    paused = said.paused(np.random.default_rng(seed), 40)
    assert len(paused.log_mel) == len(said.log_mel) + 40
    assert paused.text == said.text
    assert paused.spans[2, 0] == pytest.approx(140, abs=6)
    gaps = paused.spans[1:, 0] - paused.spans[:-1, 1]
    assert sorted(gaps.round(-1).tolist()) == [0, 40]


def test_speech_that_follows_keeps_its_times() -> None:
    joined = timed((0, 50), frames=60).then(timed((5, 40), (40, 80)), 30)
    assert joined.text == "a a b"
    assert joined.spans.tolist() == [[0, 50], [95, 130], [130, 170]]


def test_another_speed_moves_the_times_with_it() -> None:
    said = timed((0, 50), (50, 100))
    assert said.voiced(said.log_mel[:100]).spans.tolist() == [[0, 25], [25, 50]]


def test_half_sentences_that_teach_are_never_sentences_of_the_test() -> None:
    rng = random.Random(5)
    for _ in range(300):
        assert {split_of(half) for half in in_two(rng, "train")} == {"train"}


def test_a_third_of_the_training_texts_are_no_sentences() -> None:
    rng, words = random.Random(6), ["aardvark", "zebra"]
    texts = [" ".join(training_text(rng, words)) for _ in range(2000)]
    salads = [text for text in texts if set(text.split()) <= set(words)]
    assert 0.28 < len(salads) / len(texts) < 0.40


def test_a_synthesiser_is_given_what_it_can_say() -> None:
    rng = random.Random(7)
    assert respelt("turn it on", "flite", rng) == "turn it on"
    assert respelt("mm hmm yes", "espeak", rng).endswith("]] yes")
    assert "mm" not in respelt("mm hmm", "flite", rng)
