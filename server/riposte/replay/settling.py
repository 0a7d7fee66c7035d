"""An event loop that knows when everybody waits for the world, and models that say when they are waited for.

Time of a replay may pass when nothing is left to do in it: no callback is ready, no socket or pipe has
anything to say, and no model owes an answer. Sleeps by the replay's own clock, and frames that have not
come yet, are what is waited for then. asyncio tells by the timeout that it gives its selector.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from inspect import isasyncgen, iscoroutine
from typing import Any, TypeVar, cast

from riposte.errors import RiposteError
from riposte.interfaces import Asr, Llm, Models, Tts, TurnDetector, Vad

T = TypeVar("T")

PATIENCE_S = 120.0  # above every deadline of a model


class _Selector(selectors.DefaultSelector):
    """Reports when the loop would sleep."""

    idle: Callable[[], bool] | None = None  # returns whether it has given the loop something to do

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as the loop wants it, unless `idle` finds something to do."""
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        if events := super().select(0):
            return events
        return super().select(0 if self.idle is not None and self.idle() else timeout)


class Settling:
    """Of one event loop: waits until nothing is left to do."""

    def __init__(self, selector: _Selector) -> None:
        selector.idle = self._idle
        self._owed = 0  # answers of models
        self._waiting: asyncio.Future[None] | None = None

    async def settled(self) -> None:
        """Wait until everybody waits for the time to pass, or for a frame. One caller at a time.

        Raises RiposteError when a model owes an answer for longer than any deadline.
        """
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._waiting
        except TimeoutError:
            raise RiposteError(f"a model has given nothing for {PATIENCE_S:g} s; this is no replay") from None
        finally:
            self._waiting = None

    @contextmanager
    def owed(self) -> Iterator[None]:
        """An answer of a model is waited for: time stands still."""
        self._owed += 1
        try:
            yield
        finally:
            self._owed -= 1

    def _idle(self) -> bool:
        if self._waiting is None or self._waiting.done() or self._owed:
            return False
        self._waiting.set_result(None)
        return True


def run_settling(work: Callable[[Settling], Coroutine[Any, Any, T]]) -> T:
    """Run this on an event loop of its own, as `asyncio.run` does."""
    selector = _Selector()
    settling = Settling(selector)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        return runner.run(work(settling))


def watched(models: Models, settling: Settling) -> Models:
    """Return the same models, for whose answers time stands still."""
    return Models(
        asr=cast(Asr, _Watched(models.asr, settling)),
        llm=cast(Llm, _Watched(models.llm, settling)),
        tts=cast(Tts, _Watched(models.tts, settling)),
        vad=cast(Vad, _Watched(models.vad, settling)),
        turn=None if models.turn is None else cast(TurnDetector, _Watched(models.turn, settling)),
    )


class _Watched:
    """A model, or a stream of one: each wait for it is counted, whatever its methods are called."""

    def __init__(self, part: Any, settling: Settling) -> None:
        self._part = part
        self._settling = settling

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        return self._call(name, value) if callable(value) else value

    def _call(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            if iscoroutine(result):
                return self._answer(result)
            if isasyncgen(result):
                return self._each(cast("AsyncGenerator[Any, None]", result))
            return _Watched(result, self._settling) if name in ("listen", "open") else result

        return call

    async def _answer(self, answer: Coroutine[Any, Any, T]) -> T:
        with self._settling.owed():
            return await answer

    async def _each(self, stream: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        async with aclosing(stream):
            while True:
                with self._settling.owed():
                    try:
                        item = await anext(stream)
                    except StopAsyncIteration:
                        return
                yield item
