"""Where one clause of a reply meets the next: silence in the right measure, and no clicks."""

import random

import numpy as np
import pytest

from riposte.audio import AUDIBLE
from riposte.turn.joins import Joins

RATE_HZ = 16_000
MS = RATE_HZ // 1000


def tone(ms: int, hz: float = 440.0, size: int = 8_000) -> np.ndarray:
    """A tone that begins at its loudest."""
    return np.rint(size * np.cos(2 * np.pi * hz * np.arange(ms * MS) / RATE_HZ)).astype(np.int16)


def silence(ms: int, size: int = 0) -> np.ndarray:
    return np.full(ms * MS, size, np.int16)


def joined(*clauses: tuple[str, list[np.ndarray]], rate_hz: int = RATE_HZ) -> np.ndarray:
    joins, out = Joins(rate_hz), [np.zeros(0, np.int16)]
    for text, pieces in clauses:
        joins.begin(text)
        out += [joins.push(piece) for piece in pieces]
        out.append(joins.end())
    return np.concatenate(out)


def in_pieces(pcm: np.ndarray, rng: random.Random) -> list[np.ndarray]:
    cuts = sorted(rng.randrange(len(pcm) + 1) for _ in range(rng.randrange(1, 30)))
    return np.split(pcm, cuts)


@pytest.mark.parametrize("before_ms", [0, 5, 20, 120, 300, 499])
def test_silence_in_front_of_a_clause_is_taken_away_but_for_5_ms(before_ms):
    said = np.concatenate([silence(before_ms, 20), tone(100)])
    out = joined(("a few words", [said]))
    assert len(out) == 100 * MS + min(before_ms, 5) * MS
    assert np.abs(out[: min(before_ms, 5) * MS]).max(initial=0) <= 20
    assert np.abs(out[12 * MS : 90 * MS]).max() == 8_000


def test_a_first_piece_without_sound_gives_nothing_and_does_not_end_the_look():
    joins = Joins(RATE_HZ)
    joins.begin("a few words")
    assert joins.push(silence(60)).size == 0
    assert joins.push(silence(60)).size == 0
    assert joins.push(np.concatenate([silence(30), tone(60)])).size == (5 + 60 - 5) * MS


def test_a_voice_too_soft_for_the_measure_is_left_as_it_is():
    soft = tone(900, size=AUDIBLE - 1)
    out = joined(("a few words", in_pieces(soft, random.Random(1))))
    assert len(out) >= 400 * MS
    np.testing.assert_array_equal(out[5 * MS : 400 * MS], soft[5 * MS : 400 * MS])


def test_of_a_clause_that_is_all_silence_nothing_is_left():
    assert joined(("Hm.", [silence(200), silence(100)])).size == 0
    out = joined(("Hm.", [silence(200)]), ("a few words", [silence(40), tone(100)]))
    assert len(out) == 105 * MS


@pytest.mark.parametrize("after_ms", [0, 10, 100, 200, 430])
@pytest.mark.parametrize(
    ("text", "pause_ms"), [("All is well.", 200), ("Well,", 100), ('"Is it?"', 200), ("well and", 0)]
)
def test_behind_a_clause_there_is_the_pause_of_its_mark_whatever_the_voice_left_there(
    text, pause_ms, after_ms
):
    out = joined((text, [tone(100), silence(after_ms)]))
    assert len(out) == (100 + pause_ms) * MS
    dying = joined((text, [tone(100), tone(after_ms, size=AUDIBLE - 1)]))
    assert len(dying) == (100 + max(pause_ms, min(after_ms, 50))) * MS


def test_silence_inside_of_a_clause_stays():
    said = np.concatenate([tone(100), silence(300), tone(100), silence(2_000), tone(100)])
    out = joined(("a few words", in_pieces(said, random.Random(2))))
    assert len(out) == len(said)
    np.testing.assert_array_equal(out[5 * MS : -5 * MS], said[5 * MS : -5 * MS])


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000])
@pytest.mark.parametrize("text", ["one clause without a mark", "One sentence."])
def test_no_join_clicks(text, rate_hz):
    """No step of the sound is larger there than it is in the middle of a clause."""
    said = [tone(90 + 7 * n, hz, 16_000) for n, hz in enumerate((220.0, 441.0, 617.0, 330.0))]
    out = joined(*[(text, in_pieces(pcm, random.Random(n))) for n, pcm in enumerate(said)], rate_hz=rate_hz)
    usual = max(np.abs(np.diff(pcm.astype(int))).max() for pcm in said)
    steps = np.abs(np.diff(np.concatenate([[0], out.astype(int), [0]])))
    assert usual * 0.9 < steps.max() <= usual * 1.02
    # Without the fades each of these would be a step of half of full scale.
    assert steps[0] < 1_000
    assert steps[-1] < 1_000


def test_the_pieces_sizes_do_not_matter():
    rng = random.Random(4)
    for _ in range(200):
        parts = [silence(rng.randrange(700), rng.randrange(100))]
        for _ in range(rng.randrange(5)):
            parts += [tone(rng.randrange(40)), silence(rng.randrange(700), rng.randrange(100))]
        said = np.concatenate(parts)
        whole = joined(("It is so.", [said]), ("and so on", [said]))
        pieces = [("It is so.", in_pieces(said, rng)), ("and so on", in_pieces(said, rng))]
        np.testing.assert_array_equal(joined(*pieces), whole)


def test_little_is_held_back_of_sound_and_half_a_second_of_silence():
    joins = Joins(RATE_HZ)
    joins.begin("a few words")
    assert joins.push(tone(60)).size == 55 * MS
    assert joins.push(tone(60)).size == 60 * MS
    given = sum(joins.push(silence(40)).size for _ in range(100))
    assert given >= 4_000 * MS - 500 * MS
