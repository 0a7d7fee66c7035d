"""The time that a turn is paced and measured by, so that a recorded talk can be replayed faster."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that only grow, and a way to wait for them."""

    def now(self) -> float:
        """Return the time."""

    async def sleep(self, seconds: float) -> None:
        """Wait so long, by this clock."""


class WallClock:
    """The time of the world."""

    # Not the loop's clock: uvloop's counts whole milliseconds.
    now = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)


WALL: Clock = WallClock()
