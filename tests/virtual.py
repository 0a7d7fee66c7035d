"""An event loop whose time is made up: where all wait, it jumps to whoever is due first.

A minute of paced sound takes milliseconds, and every moment comes out exactly, on whatever machine. Nothing
in it may wait for a thread or a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time` counts from 0 and only moves when nobody has anything to do."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            if timeout is None:
                raise RuntimeError("everybody waits, and for nothing that has a time")
            self._now += timeout
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns, and close the loop."""
        try:
            return self.run_until_complete(work)
        finally:
            self.close()


class LoopClock:
    """The made-up time, for turns: a riposte.turn.clock.Clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.now = loop.time
        self.sleep = asyncio.sleep


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Have a test run on a loop of its own whose time is made up."""

    @wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        VirtualLoop().run(test(*arguments, **named))

    return run
