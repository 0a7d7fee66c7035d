from __future__ import annotations

import numpy as np
import pytest

from riposte.resample import Resampler

RATES = [
    (48_000, 16_000),
    (44_100, 16_000),
    (8_000, 16_000),
    (22_050, 24_000),
    (24_000, 48_000),
    (44_099, 16_000),
]


def tones(rate_hz: int, *hz: float, seconds: float = 0.5) -> np.ndarray:
    time_s = np.arange(int(rate_hz * seconds)) / rate_hz
    return (sum(np.sin(2 * np.pi * tone * time_s) for tone in hz) / len(hz)).astype(np.float32)


def in_pieces(resampler: Resampler, pcm: np.ndarray, size: int) -> np.ndarray:
    made = [resampler.push(pcm[first : first + size]) for first in range(0, len(pcm), size)]
    return np.concatenate([*made, resampler.flush()])


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_tones_stay_what_and_where_they_are(from_hz: int, to_hz: int) -> None:
    hz = [300, 1_000, 0.43 * min(from_hz, to_hz)]
    made = in_pieces(Resampler(from_hz, to_hz), tones(from_hz, *hz), from_hz // 50)
    wanted = tones(to_hz, *hz)
    assert len(made) == -(-len(tones(from_hz, 1)) * to_hz // from_hz)
    middle = slice(200, -200)
    assert np.abs(made[: len(wanted)] - wanted)[middle].max() < 2e-3


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_pieces_do_not_matter(from_hz: int, to_hz: int) -> None:
    pcm = np.random.default_rng(0).standard_normal(4_000).astype(np.float32)
    resampler = Resampler(from_hz, to_hz)
    whole = in_pieces(resampler, pcm, len(pcm))
    for size in (1, 37, 960):
        # The same one again: `flush` began it anew.
        np.testing.assert_array_equal(in_pieces(resampler, pcm, size), whole)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_two_milliseconds_are_held_back(from_hz: int, to_hz: int) -> None:
    made = len(Resampler(from_hz, to_hz).push(tones(from_hz, 440, seconds=1)))
    assert (to_hz - made) / to_hz < 0.0045
    assert from_hz < 16_000 or (to_hz - made) / to_hz < 0.0021


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    made = in_pieces(Resampler(48_000, 16_000), tones(48_000, 9_000), 960)
    assert np.abs(made[200:-200]).max() < 1e-3


def test_equal_rates_pass() -> None:
    resampler = Resampler(16_000, 16_000)
    pcm = tones(16_000, 440)
    assert resampler.push(pcm) is pcm
    assert resampler.flush().size == 0


def test_clear_forgets() -> None:
    resampler = Resampler(48_000, 16_000)
    resampler.push(tones(48_000, 440))
    resampler.clear()
    assert not in_pieces(resampler, np.zeros(4_800, np.float32), 960).any()


def test_a_rate_is_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        Resampler(0, 16_000)
