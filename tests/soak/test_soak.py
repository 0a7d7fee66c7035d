"""The soak, shortened: connects, turns, barge-ins, resets and kills; the server stays the same size."""

from __future__ import annotations

import random

import pytest

from bench.soak.__main__ import summary
from bench.soak.run import soak

pytestmark = pytest.mark.long

MINUTES = 1.0


@pytest.mark.parametrize("profile", ["fake", "pico"])
async def test_a_server_under_everything_stays_the_same_size(profile: str) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    soaked = await soak(profile, MINUTES, seed)
    assert soaked.failures == (), f"seed {seed}\n{summary(soaked)}"
