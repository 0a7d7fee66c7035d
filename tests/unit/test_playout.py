"""The loudspeaker's side: gapless, at the right gain, honest about what was heard. Rate: 1 kHz."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riposte.client import Playout
from riposte.wire.frames import AudioOut, Done, Playback, Timing, Token, Usage

RATE_HZ = 1_000


def pcm(samples: int, value: int = 1_000) -> bytes:
    return array("h", [value] * samples).tobytes()


def pull(playout: Playout, samples: int) -> list[int]:
    return array("h", playout.pull(samples)).tolist()


def playing(samples: int, **options: int) -> Playout:
    """A playout in the middle of turn 1, with so many samples left."""
    playout = Playout(RATE_HZ, **{"start_ms": 10, **options})
    playout.push(1, pcm(samples + 10))
    assert pull(playout, 10) == [1_000] * 10
    return playout


def test_it_is_silent_until_enough_has_come() -> None:
    playout = Playout(RATE_HZ, start_ms=10)
    playout.push(1, pcm(9))
    assert pull(playout, 4) == [0] * 4
    playout.push(1, pcm(1))
    assert pull(playout, 4) == [1_000] * 4


def test_a_reply_shorter_than_the_start_is_played_at_its_end() -> None:
    playout = Playout(RATE_HZ, start_ms=10)
    playout.push(1, pcm(3))
    assert pull(playout, 4) == [0] * 4
    playout.end(1)
    assert pull(playout, 4) == [1_000] * 3 + [0]


def test_pieces_of_any_length_are_joined_without_gaps() -> None:
    playout = Playout(RATE_HZ, start_ms=2)
    for length in (1, 5, 2, 7):
        playout.push(1, pcm(length, length))
    played = [sample for _ in range(5) for sample in pull(playout, 3)]
    assert played == [1] + [5] * 5 + [2] * 2 + [7] * 7


def test_run_dry_it_collects_before_it_goes_on() -> None:
    playout = playing(2)
    assert pull(playout, 4) == [1_000] * 2 + [0] * 2
    playout.push(1, pcm(9))
    assert pull(playout, 2) == [0] * 2
    playout.push(1, pcm(1))
    assert pull(playout, 2) == [1_000] * 2


def test_the_next_turn_follows_without_a_gap() -> None:
    playout = playing(3)
    playout.push(2, pcm(10, 7))
    assert pull(playout, 5) == [1_000] * 3 + [7] * 2


def test_gain_0_throws_away_what_is_buffered_and_what_comes_late() -> None:
    playout = playing(500)
    playout.set_gain(1, 0.0)
    faded = pull(playout, 20)
    assert faded == [800, 600, 400, 200, 0] + [0] * 15  # 5 ms: a step would click
    playout.push(1, pcm(500))
    playout.end(1)
    assert pull(playout, 100) == [0] * 100
    assert playout.buffered_ms == 0


def test_gain_0_before_the_first_sample_plays_nothing() -> None:
    playout = Playout(RATE_HZ, start_ms=10)
    playout.push(1, pcm(100))
    playout.set_gain(1, 0.0)
    playout.push(2, pcm(10, 7))
    assert pull(playout, 2) == [7, 7]


def test_a_gain_ducks_and_restores() -> None:
    playout = playing(500)
    playout.set_gain(1, 0.1)
    assert pull(playout, 10)[4:] == [100] * 6
    playout.set_gain(1, 1.0)
    assert pull(playout, 10)[4:] == [1_000] * 6


def test_a_gain_over_1_stays_in_range() -> None:
    playout = Playout(RATE_HZ, start_ms=1)
    playout.push(1, array("h", [30_000, -30_000] * 20).tobytes())
    playout.set_gain(1, 2.0)
    assert pull(playout, 40)[-2:] == [32_767, -32_768]


def test_the_gain_of_one_turn_is_not_that_of_the_next() -> None:
    playout = playing(5)
    playout.set_gain(1, 0.1)
    playout.push(2, pcm(10))
    assert pull(playout, 10)[5:] == [1_000] * 5


def test_what_the_device_still_holds_has_not_been_heard() -> None:
    playout = Playout(RATE_HZ, start_ms=10, device_ms=40)
    playout.push(1, pcm(100))
    pull(playout, 30)
    assert playout.news() == []
    pull(playout, 20)
    assert playout.news() == [(1, 10)]
    assert playout.news() == []
    pull(playout, 100)
    assert (playout.news(), playout.heard_ms(1)) == ([(1, 100)], 100)


def test_gaps_are_not_counted_as_heard() -> None:
    playout = Playout(RATE_HZ, start_ms=1, device_ms=10)
    for _ in range(3):
        playout.push(1, pcm(20))
        pull(playout, 50)
    assert playout.news() == [(1, 60)]


def test_what_was_thrown_away_was_not_heard() -> None:
    playout = playing(500)
    pull(playout, 40)
    playout.set_gain(1, 0.0)
    pull(playout, 100)
    assert playout.news() == [(1, 55)]  # the fade of 5 ms was


def test_each_turn_is_accounted_for_alone() -> None:
    playout = playing(10)
    playout.push(2, pcm(30))
    pull(playout, 25)
    assert playout.news() == [(1, 20), (2, 15)]


def test_it_takes_a_servers_frames_and_ignores_others() -> None:
    playout = Playout(RATE_HZ, start_ms=10)
    playout.take(AudioOut(1, 0, pcm(4)))
    playout.take(Token(1, "words"))
    playout.take(Done(1, "stop", 4, Usage(), Timing("text")))
    assert pull(playout, 4) == [1_000] * 4
    playout.take(AudioOut(2, 0, pcm(40)))
    playout.take(Playback(2, 0.0))
    assert pull(playout, 4) == [0] * 4


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), max_size=40), st.integers(0, 60))
def test_whatever_comes_when_each_sample_is_played_once_in_order(
    steps: list[tuple[int, int]], device_ms: int
) -> None:
    playout = Playout(RATE_HZ, start_ms=10, device_ms=device_ms)
    pushed, played = 0, list[int]()
    for arrives, asked in steps:
        playout.push(1, array("h", range(pushed + 1, pushed + arrives + 1)).tobytes())
        pushed += arrives
        piece = pull(playout, asked)
        assert len(piece) == asked
        played += [sample for sample in piece if sample]
        assert playout.heard_ms(1) <= len(played)
    playout.end(1)
    played += [sample for sample in pull(playout, pushed + device_ms) if sample]
    assert played == list(range(1, pushed + 1))
    assert playout.heard_ms(1) <= pushed
    pull(playout, device_ms)
    assert playout.heard_ms(1) == pushed


@pytest.mark.parametrize("turns", [1, 3])
def test_it_holds_no_more_than_a_minute_a_turn(turns: int) -> None:
    playout = Playout(RATE_HZ)
    for turn in range(1, turns + 1):
        for _ in range(100):
            playout.push(turn, pcm(1_000))
    assert playout.buffered_ms == turns * 60_000
