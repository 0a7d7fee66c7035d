"""Which token is chosen: filters against a plain reference, draws against their probabilities."""

from __future__ import annotations

import time

import numpy as np
import pytest

from riposte.backends.sampler import Sampler
from riposte.interfaces import Sampling

LOGITS = np.log(np.array([0.5, 0.25, 0.125, 0.0625, 0.0625], np.float32))


def drawn(sampling: Sampling, logits: np.ndarray = LOGITS, count: int = 400) -> np.ndarray:
    sampler = Sampler(sampling)
    return np.bincount([sampler.choose(logits) for _ in range(count)], minlength=len(logits)) / count


def reference(logits: np.ndarray, sampling: Sampling) -> set[int]:
    """Return the tokens that the filters leave, by sorting everything."""
    order = np.argsort(-logits, kind="stable")
    if sampling.top_k:
        order = order[: sampling.top_k]
    weights = np.exp((logits[order].astype(np.float64) - logits.max()) / sampling.temperature)
    before = np.cumsum(weights) - weights
    keep = before < weights.sum() * sampling.top_p
    keep &= weights >= weights.max() * sampling.min_p
    return set(order[keep].tolist())


@pytest.mark.parametrize(
    ("sampling", "left"),
    [
        (Sampling(temperature=1.0), {0, 1, 2, 3, 4}),
        (Sampling(temperature=1.0, top_k=2), {0, 1}),
        (Sampling(temperature=1.0, top_k=99), {0, 1, 2, 3, 4}),
        (Sampling(temperature=1.0, top_p=0.5), {0}),
        (Sampling(temperature=1.0, top_p=0.6), {0, 1}),
        (Sampling(temperature=1.0, top_p=0.0), {0}),
        (Sampling(temperature=1.0, min_p=0.24), {0, 1, 2}),
        (Sampling(temperature=1.0, min_p=1.0), {0}),
        (Sampling(temperature=1.0, top_k=4, top_p=0.9, min_p=0.2), {0, 1, 2}),
        (Sampling(temperature=1e-9), {0}),
    ],
)
def test_filters_leave(sampling: Sampling, left: set[int]) -> None:
    shares = drawn(sampling)
    assert set(np.flatnonzero(shares).tolist()) == left


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7, top_p=0.9),
        Sampling(temperature=2.5, top_p=0.995),
        Sampling(temperature=1.0, top_k=40, top_p=0.8),
        Sampling(temperature=1.0, min_p=0.05),
    ],
)
def test_filters_equal_a_full_sort(seed: int, sampling: Sampling) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, 6_000).astype(np.float32)
    ids, _ = Sampler(sampling)._candidates(logits)
    assert set(ids.tolist()) == reference(logits, sampling)


def test_draws_follow_the_probabilities() -> None:
    shares = drawn(Sampling(temperature=1.0, seed=1), count=4_000)
    assert np.abs(shares - np.exp(LOGITS)).max() < 0.03


def test_low_temperature_sharpens() -> None:
    shares = drawn(Sampling(temperature=0.5, seed=1), count=2_000)
    squared = np.exp(LOGITS) ** 2 / (np.exp(LOGITS) ** 2).sum()
    assert np.abs(shares - squared).max() < 0.04


def test_temperature_zero_is_greedy_whatever_else_is_asked() -> None:
    sampling = Sampling(temperature=0.0, top_k=1, repetition_penalty=9.0)
    sampler = Sampler(sampling, np.array([0]))
    assert [sampler.choose(LOGITS) for _ in range(3)] == [0, 0, 0]


def test_seed_repeats_and_no_seed_does_not() -> None:
    logits = np.zeros(1_000, np.float32)

    def run(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(temperature=1.0, seed=seed))
        return [sampler.choose(logits) for _ in range(20)]

    assert run(5) == run(5)
    assert run(5) != run(6)
    assert run(None) != run(None)


def test_logits_that_differ_in_the_last_bit_draw_the_same() -> None:
    logits = np.random.default_rng(0).normal(0, 1, 500).astype(np.float32)
    nudged = np.nextafter(logits, np.float32(9), dtype=np.float32)
    sampling = Sampling(temperature=1.0, top_k=50, seed=3)
    one, other = Sampler(sampling), Sampler(sampling)
    assert [one.choose(logits) for _ in range(50)] == [other.choose(nudged) for _ in range(50)]


@pytest.mark.parametrize(("logit", "expected"), [(2.0, 1), (-2.0, 1)])
def test_repetition_penalty_pushes_seen_tokens_down(logit: float, expected: int) -> None:
    logits = np.array([logit, logit - 0.1, -50.0], np.float32)
    sampling = Sampling(temperature=1e-3, repetition_penalty=1.5)
    assert Sampler(sampling, np.array([0])).choose(logits) == expected
    sampler = Sampler(sampling)
    assert [sampler.choose(logits), sampler.choose(logits)] == [0, 1]  # its own tokens count too
    assert logits[0] == np.float32(logit)  # the caller's array is left alone


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_logits_are_an_error(temperature: float, bad: float) -> None:
    logits = np.array([1.0, bad, 0.0], np.float32)
    with pytest.raises(FloatingPointError):
        Sampler(Sampling(temperature=temperature)).choose(logits)


def test_half_precision_and_masked_logits_are_taken() -> None:
    logits = np.array([-np.inf, 1.0, 3.0], np.float16)
    assert Sampler(Sampling()).choose(logits) == 2
    assert set(np.flatnonzero(drawn(Sampling(temperature=1.0, seed=0), logits)).tolist()) <= {1, 2}


def test_large_vocabulary_is_cheap() -> None:
    logits = np.random.default_rng(0).normal(0, 4, 152_000).astype(np.float32)
    sampler = Sampler(Sampling(temperature=0.8, top_p=0.95, repetition_penalty=1.1, seed=0))
    costs = []
    for _ in range(5):
        began = time.perf_counter()
        sampler.choose(logits)
        costs.append(time.perf_counter() - began)
    assert min(costs) < 0.05  # 4 ms undisturbed
