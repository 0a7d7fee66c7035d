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
    return samples_of(pushed(Segments(LIMIT), pcm, size))


def pushed(segments: Segments, pcm: np.ndarray, size: int) -> Segments:
    for first in range(0, len(pcm), size):
        segments.push(pcm[first : first + size])
    return segments


def samples_of(segments: Segments) -> list[np.ndarray]:
    """Return the closed segments' samples, then the open one's."""
    closed = [segments.slice(segment.begin, segment.end) for segment in segments.closed]
    return [*closed, segments.slice(segments.open_at(segments.samples), segments.samples)]


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
    assert segments.slice(0, 160).all()


def test_what_was_taken_does_not_change() -> None:
    segments = Segments(LIMIT)
    segments.push(np.ones(160, np.float32))
    before = segments.slice(0, 1_000)
    for _ in range(500):
        segments.push(np.zeros(160, np.float32))
    assert before.size == 160
    assert before.all()


def test_clear_drops_everything() -> None:
    segments = pushed(Segments(LIMIT), speech((9, 0.1)), 512)
    assert segments.closed
    segments.clear()
    segments.push(np.empty(0, np.float32))
    assert segments.samples == 0
    assert segments.closed == []
    assert segments.open_at(0) == 0


def test_a_limit_has_room_for_a_pause() -> None:
    with pytest.raises(ValueError, match="no room"):
        Segments(PAUSE)


PHRASES = ((1, 0.1), (0.5, 0.001), (1, 0.1), (0.2, 0.001), (1, 0.1), (0.5, 0.001), (1, 0.1))


def test_a_long_phrase_closes_at_the_first_pause_between_sentences_however_it_is_pushed() -> None:
    pcm = speech(*PHRASES)
    for size in (160, 1_000, pcm.size):
        first, rest = samples_of(pushed(Segments(9 * RATE, 2 * RATE), pcm, size))
        # Not at 1 s (too early), nor at 2.5 s (a closure inside a word), but at 3.7 s.
        assert first.size / RATE == pytest.approx(3.85, abs=0.02)
        assert first.size + rest.size == pcm.size


@pytest.mark.parametrize("phrase", [None, 2 * RATE])
def test_it_tells_what_fewer_samples_would_have_given(phrase: int | None) -> None:
    pcm = speech(*PHRASES, *PHRASES)
    whole = pushed(Segments(LIMIT, phrase), pcm, 512)
    assert len(whole.closed) >= 2
    moments = {0, 1, RATE, pcm.size, *(s.known + by for s in whole.closed for by in (-1, 0, 1))}
    for samples in moments:
        alone = pushed(Segments(LIMIT, phrase), pcm[:samples], pcm.size)
        assert whole.closed_by(samples) == len(alone.closed)
        assert whole.closed[: len(alone.closed)] == alone.closed
        assert whole.open_at(samples) == alone.open_at(samples)
