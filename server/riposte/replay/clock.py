"""A clock for replays and tests: time passes when nobody has anything left to do in it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable


class VirtualClock:
    """A time that moves when it is told to, and no further than the next sleep's end at once.

    Of one event loop.
    """

    def __init__(self, at: float = 0.0) -> None:
        self._now = at
        self._sleeping: list[
            tuple[float, int, asyncio.Future[None]]
        ] = []  # a heap; as begun, where due alike
        self._begun = itertools.count()

    def now(self) -> float:
        """Return the time."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the time has been moved so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self._now + seconds, next(self._begun), awake))
        await awake

    @property
    def due(self) -> float | None:
        """When the next sleep ends; None when nobody sleeps."""
        while self._sleeping and self._sleeping[0][2].done():  # cancelled
            heapq.heappop(self._sleeping)
        return self._sleeping[0][0] if self._sleeping else None

    async def advance(self, to: float, settled: Callable[[], Awaitable[None]]) -> None:
        """Move to this time, by way of each sleep's end until then, also of those that begin meanwhile.

        Who wakes is done with it when `settled` returns; the next one wakes after that.
        """
        while (due := self.due) is not None and due <= to:
            self._now = max(self._now, due)
            heapq.heappop(self._sleeping)[2].set_result(None)
            await settled()
        self._now = max(self._now, to)
