"""The soak, shortened: connects, turns, barge-ins, resets and kills; the server stays the same size."""

from __future__ import annotations

import random

import pytest

from bench.soak.__main__ import summary
from bench.soak.run import soak

pytestmark = pytest.mark.long


# Heaps of real models take longer to find their size.
@pytest.mark.parametrize(("profile", "minutes"), [("fake", 1.0), ("pico", 2.0)])
async def test_a_server_under_everything_stays_the_same_size(profile: str, minutes: float) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    soaked = await soak(profile, minutes, seed)
    assert soaked.failures == (), f"seed {seed}\n{summary(soaked)}"
