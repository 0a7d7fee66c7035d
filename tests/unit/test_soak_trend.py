"""What counts as flat: noise and spikes do, a slope does not."""

from __future__ import annotations

import math
import random

import pytest

from bench.soak.flat import trend

AT_S = range(600)
MINUTES = 10.0


def noise(seed: int) -> list[float]:
    rng = random.Random(seed)
    return [rng.uniform(-2, 2) for _ in AT_S]


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_spikes_are_flat(seed: int) -> None:
    series = [
        100 + wave + (50 if at in (3, 300, 597) else 0) for at, wave in zip(AT_S, noise(seed), strict=True)
    ]
    assert not trend(AT_S, series).grew(1.0, MINUTES)


def test_a_step_that_stays_early_on_is_flat() -> None:
    assert not trend(AT_S, [100 + (5 if at > 30 else 0) for at in AT_S]).grew(1.0, MINUTES)


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_under_the_noise_is_found(seed: int) -> None:
    series = [100 + 0.3 * at / 60 + wave for at, wave in zip(AT_S, noise(seed), strict=True)]
    found = trend(AT_S, series)
    assert found.grew(1.0, MINUTES)
    assert math.isclose(found.slope_per_minute, 0.3, abs_tol=0.05)


def test_what_shrinks_has_not_grown() -> None:
    assert not trend(AT_S, [100 - at / 100 for at in AT_S]).grew(1.0, MINUTES)


def test_too_few_samples_are_no_trend() -> None:
    with pytest.raises(ValueError, match="too few"):
        trend([0, 1], [1.0, 1.0])
