"""What models owe a turn, and until when: also those that do not let go when they are told to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from riposte.errors import EngineError

T = TypeVar("T")

_now = time.monotonic


class Owed:
    """The waits of one turn, each with its deadline.

    A deadline cancels the wait, and a cancel is a request: a back end may take its time over it, or not hear
    it. `stop_s` later `give_up` is called, once, with the name of whoever does not let go.
    """

    def __init__(self, stop_s: float, give_up: Callable[[str], None]) -> None:
        self._stop_s = stop_s
        self._give_up = give_up
        self._due: dict[str, float] = {}
        self._look: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> bool:
        """Is anything owed now?"""
        return bool(self._due)

    def watch(self) -> None:
        """Look now and then, until `close`. One timer a turn, and none a token."""
        late = next((what for what, due in self._due.items() if _now() > due), None)
        if late is None:
            self._look = asyncio.get_running_loop().call_later(self._stop_s / 2, self.watch)
        else:
            self._give_up(late)

    def close(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()

    def stop(self) -> None:
        """Everybody was told to stop."""
        self._due["a model"] = _now() + self._stop_s

    async def answer(self, work: Awaitable[T], deadline_s: float, what: str) -> T:
        """Wait for one answer. Raises EngineError."""
        self._due[what] = _now() + deadline_s + self._stop_s
        try:
            async with asyncio.timeout(deadline_s):
                answer = await work
        except TimeoutError:
            raise EngineError(f"{what} gave nothing for {deadline_s:g} s") from None
        del self._due[what]
        return answer

    async def each(
        self, stream: AsyncGenerator[T, None], deadline_s: float, what: str
    ) -> AsyncGenerator[T, None]:
        """Pass a stream on and close it in the end; a longer wait than the deadline is an EngineError."""
        try:
            while True:
                try:
                    # While the consumer has an item nothing is owed: `answer` notes each wait by itself.
                    item = await self.answer(anext(stream), deadline_s, what)
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self._due[what] = _now() + self._stop_s
            await stream.aclose()
            del self._due[what]
