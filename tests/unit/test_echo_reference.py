"""The reply on the microphone's time line."""

from __future__ import annotations

import numpy as np

from riposte.turn.echo_reference import GAP, Reference


def counted(first: int, size: int) -> np.ndarray:
    return np.arange(first, first + size, dtype=np.float32)


def test_frames_follow_each_other_though_their_times_jitter() -> None:
    line = Reference()
    assert line.push(counted(1, 640), 1_000)
    assert not line.push(counted(641, 640), 1_640 + GAP // 2)
    assert not line.push(counted(1_281, 640), 2_280 - GAP)
    assert line.ends == 1_000 + 3 * 640
    np.testing.assert_array_equal(line.read(1_000, line.ends), counted(1, 1_920))


def test_a_gap_begins_a_new_stretch() -> None:
    line = Reference()
    line.push(counted(1, 640), 0)
    assert line.push(counted(1, 640), 640 + GAP + 1)
    assert line.begins == 640 + GAP + 1
    assert not line.read(640, line.begins).any()


def test_what_is_cut_is_silence_and_the_next_reply_takes_its_place() -> None:
    line = Reference()
    line.push(counted(1, 6_400), 0)
    line.cut(1_000)
    assert line.ends == 1_000
    assert not line.read(1_000, 6_400).any()
    assert line.push(counted(1, 640), 1_000)
    np.testing.assert_array_equal(line.read(999, 1_640), np.concatenate(([1_000], counted(1, 640))))


def test_what_was_never_sent_is_silence() -> None:
    line = Reference()
    line.push(counted(1, 640), 1_000)
    assert not line.read(-500, 1_000).any()
    assert not line.read(1_640, 50_000).any()
    assert line.read(900, 1_100)[100] == 1


def test_a_long_session_keeps_seconds_of_it_and_no_more() -> None:
    line, at = Reference(), 10_000_000
    for _ in range(1_500):
        line.push(counted(1, 640), at)
        at += 640
        line.read(at - 8_000, at - 7_872)
    np.testing.assert_array_equal(line.read(at - 640, at), counted(1, 640))
    np.testing.assert_array_equal(line.read(at - 16_000, at - 15_360), counted(1, 640)[:640])
    assert line._samples.size < 16 * 16_000


def test_what_has_not_been_heard_yet_is_kept_however_much_follows() -> None:
    line = Reference()
    for at in range(0, 320_000, 640):
        line.push(counted(at, 640), at)
        line.read(0, 128)
    np.testing.assert_array_equal(line.read(0, 320_000), counted(0, 320_000))
