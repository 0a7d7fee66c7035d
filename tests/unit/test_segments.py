from __future__ import annotations

import numpy as np
import pytest

from riposte.backends.segments import PAUSE, Segments, pause_in

RATE = 16_000
LIMIT = 4 * RATE


def speech(*parts: tuple[float, float]) -> np.ndarray:
    """Noise in parts of so many seconds and so loud."""
    rng = np.random.default_rng(5)
    return np.concatenate([rng.standard_normal(int(s * RATE)) * level for s, level in parts]).astype(
        np.float32
    )


def cut(pcm: np.ndarray, size: int) -> list[np.ndarray]:
    segments = Segments(LIMIT)
    closed = [seg for first in range(0, len(pcm), size) for seg in segments.push(pcm[first : first + size])]
    return [*closed, segments.open()]


def test_what_fits_is_not_cut() -> None:
    pcm = speech((4, 0.1))
    (only,) = cut(pcm, 320)
    assert np.array_equal(only, pcm)


def test_it_is_cut_in_the_pause() -> None:
    pcm = speech((3, 0.1), (0.3, 0.001), (3, 0.1))
    first, rest = cut(pcm, 512)
    assert 3.0 < len(first) / RATE < 3.3
    assert np.array_equal(np.concatenate([first, rest]), pcm)


def test_a_short_closure_is_no_pause() -> None:
    pcm = speech((2.6, 0.1), (0.06, 0), (0.7, 0.1), (0.25, 0.01), (2, 0.1))
    first, _ = cut(pcm, 512)
    assert 3.36 < len(first) / RATE < 3.61


@pytest.mark.parametrize("size", [1, 160, 511, 100_000])
def test_it_is_cut_the_same_however_it_comes(size: int) -> None:
    pcm = speech((3, 0.1), (0.3, 0.001), (2.5, 0.1), (0.4, 0.002), (3.7, 0.1))[
        : 20_000 if size == 1 else None
    ]
    segments = cut(pcm, size)
    assert [len(seg) for seg in segments] == [len(seg) for seg in cut(pcm, 512)]
    assert np.array_equal(np.concatenate(segments), pcm)
    assert all(len(seg) <= LIMIT for seg in segments)


def test_speech_without_a_pause_is_cut_all_the_same() -> None:
    assert all(0.6 * LIMIT <= len(seg) <= LIMIT for seg in cut(speech((20, 0.1)), 512)[:-1])


def test_of_equal_silences_the_last_is_taken() -> None:
    pcm = speech((1, 0.1), (3, 0), (1, 0.1))
    assert pause_in(pcm[:LIMIT], LIMIT // 2) == LIMIT - PAUSE // 2


def test_pushed_samples_are_copied() -> None:
    segments = Segments(LIMIT)
    pcm = np.ones(160, np.float32)
    segments.push(pcm)
    pcm[:] = 0
    assert segments.open().all()


def test_what_was_open_does_not_change() -> None:
    segments = Segments(LIMIT)
    segments.push(np.ones(160, np.float32))
    before = segments.open()
    segments.push(np.zeros(160, np.float32))
    assert before.size == 160
    assert before.all()


def test_clear_drops_what_is_open() -> None:
    segments = Segments(LIMIT)
    segments.push(np.ones(160, np.float32))
    segments.clear()
    assert segments.open().size == 0
    assert segments.push(np.empty(0, np.float32)) == []


def test_a_limit_has_room_for_a_pause() -> None:
    with pytest.raises(ValueError, match="no room"):
        Segments(PAUSE)


def test_a_long_phrase_closes_at_the_first_pause_between_sentences_however_it_is_pushed() -> None:
    pcm = speech((1, 0.1), (0.5, 0.001), (1, 0.1), (0.2, 0.001), (1, 0.1), (0.5, 0.001), (1, 0.1))
    for step in (160, 1_000, pcm.size):
        segments = Segments(9 * RATE, 2 * RATE)
        closed = [s for at in range(0, pcm.size, step) for s in segments.push(pcm[at : at + step])]
        # Not at 1 s (too early), nor at 2.5 s (a closure inside a word), but at 3.7 s.
        assert [s.size / RATE for s in closed] == [pytest.approx(3.85, abs=0.02)]
        assert sum(s.size for s in closed) + segments.open().size == pcm.size
