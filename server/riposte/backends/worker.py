"""Blocking models meet asyncio here: one thread a model, and a queue with priorities.

Work is a generator: each `next` is one step of the model, in the model's own thread. What a step
yields is pushed to the consumer's loop (about 10 µs a step; pulling through an executor costs 0.12 ms
and more). After every step the thread looks at its queue again, so that somebody who waits in silence
overtakes between two steps of a reply that already sounds.

The thread never waits for a consumer: a job whose consumer is behind is parked, and comes back to its
old place in the queue when the consumer has caught up.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from riposte.errors import Busy, EngineError, RiposteError
from riposte.interfaces import Priority

T = TypeVar("T")

STOP_S = 5.0  # for the step in flight, at the end

_log = logging.getLogger(__name__)


class _End:
    """The last thing in a job's buffer; `error` is what the consumer raises."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Job(Generic[T]):
    """One open stream. The worker's lock guards `behind`, `running`, `parked` and `closed`."""

    __slots__ = ("behind", "buffer", "closed", "loop", "parked", "rank", "running", "steps", "waiter")

    def __init__(
        self, steps: Generator[T, None, None], rank: tuple[int, int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.steps = steps  # touched by the worker's thread only
        self.rank = rank  # priority, then order of arrival
        self.loop = loop
        self.buffer: deque[T | _End] = deque()  # filled by the thread, emptied by the loop
        self.waiter: asyncio.Future[None] | None = None  # touched on the loop only
        self.behind = 0  # items pushed and not yet taken
        self.running = False
        self.parked = False
        self.closed = False

    def push(self, item: T | _End) -> bool:
        """Hand an item over, from the worker's thread. False: the loop is gone, nobody will take it."""
        self.buffer.append(item)
        try:
            self.loop.call_soon_threadsafe(self.wake)
        except RuntimeError:  # the loop was closed with this stream open
            return False
        return True

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def take(self) -> T | _End:
        """Return the next item, in order. Cancelling loses nothing."""
        while not self.buffer:
            # No wake-up is lost: `wake` runs on this loop, so after the waiter is set.
            self.waiter = self.loop.create_future()
            await self.waiter
        return self.buffer.popleft()


class Worker:
    """One named thread that runs a model's steps, the most urgent job first.

    A job that a consumer is `buffer` items behind of is parked. More than `max_open` open jobs are
    refused with Busy. The thread starts with the first job; any event loop may use the worker.
    """

    def __init__(self, name: str, *, buffer: int = 64, max_open: int = 1024) -> None:
        self.name = name
        self._buffer = buffer
        self._max_open = max_open
        self._arrivals = itertools.count()
        self._changed = threading.Condition(threading.Lock())  # guards all that follows
        self._ready: list[tuple[tuple[int, int], _Job[Any]]] = []  # a heap; closed jobs are skipped
        self._closing: deque[_Job[Any]] = deque()  # before everything else: to close is cheap
        self._open: set[_Job[Any]] = set()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._ended = False
        self._end_waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    @property
    def active(self) -> int:
        """How many streams and calls are open now, waiting ones included."""
        return len(self._open)

    @property
    def alive(self) -> bool:
        """Tell whether it still takes work: not once it was closed, nor after a failure of its own."""
        return not self._stopping

    async def stream(
        self, steps: Generator[T, None, None], priority: Priority = Priority.FIRST
    ) -> AsyncGenerator[T, None]:
        """Yield what `steps` yields; each step runs in the worker's thread.

        Closing (aclose, cancellation) returns at once: the job ends behind the step in flight, where
        `steps.close()` runs in the thread, before any other job's step. A step that raises ends the
        stream with EngineError, the original as its cause; what Riposte raises on purpose passes as
        it is. Raises Busy when too many jobs are open, EngineError when the worker was closed.
        """
        job = self._submit(steps, priority)
        try:
            while True:
                item = await job.take()
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    return
                self._taken(job)
                yield item
        finally:
            with self._changed:
                self._retire(job)

    async def run(self, fn: Callable[[], T], priority: Priority = Priority.FIRST) -> T:
        """Return what one blocking call returns. Errors as in `stream`.

        Cancelling drops a call that has not begun; one in flight runs to its end and its result is lost.
        """

        def call() -> Generator[T, None, None]:
            yield fn()

        async with aclosing(self.stream(call(), priority)) as results:
            return await anext(results)

    async def aclose(self) -> None:
        """End the thread behind the step in flight; open jobs are closed, their consumers get EngineError.

        May be called twice. Cancelling stops the waiting, not the end. A step that takes longer than
        STOP_S is left behind in its thread, which does not keep the process.
        """
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        with self._changed:
            self._stopping = True
            thread = self._thread
            if thread is None or self._ended:
                ended.set_result(None)
            else:
                self._end_waiters.append((loop, ended))
                self._changed.notify()
        try:
            async with asyncio.timeout(STOP_S):
                await ended
        except TimeoutError:
            _log.error("%s: a step does not end; it is left behind", self.name)
            return
        if thread is not None:
            thread.join(STOP_S)  # it has nothing left to do

    # On the loop

    def _submit(self, steps: Generator[T, None, None], priority: Priority) -> _Job[T]:
        loop = asyncio.get_running_loop()
        with self._changed:
            for orphan in [job for job in self._open if job.loop.is_closed()]:
                self._retire(orphan)
            if self._stopping:
                raise self._gone()
            if len(self._open) >= self._max_open:
                raise Busy(f"too many requests wait for the {self.name} model; try again shortly")
            job = _Job(steps, (int(priority), next(self._arrivals)), loop)
            self._open.add(job)
            heapq.heappush(self._ready, (job.rank, job))
            if self._thread is None:
                # A daemon: a process whose worker nobody closed must still be able to end.
                self._thread = threading.Thread(target=self._main, name=self.name, daemon=True)
                self._thread.start()
            self._changed.notify()
        return job

    def _taken(self, job: _Job[Any]) -> None:
        with self._changed:
            job.behind -= 1
            if job.parked and job.behind <= self._buffer // 2:
                job.parked = False
                heapq.heappush(self._ready, (job.rank, job))
                self._changed.notify()

    def _retire(self, job: _Job[Any]) -> None:
        # The lock is held. A running job is closed by the thread when its step is over.
        if job.closed:
            return
        job.closed = True
        self._open.discard(job)
        if not job.running:
            self._closing.append(job)
            self._changed.notify()

    # In the thread

    def _main(self) -> None:
        try:
            while (job := self._next()) is not None:
                if job.closed:
                    self._close(job)
                else:
                    self._advance(job)
        except BaseException:
            # Whatever a model raises is caught where it is called, so this is a mistake of ours; a
            # thread that died unseen would leave every consumer waiting for ever.
            _log.critical("%s: the worker failed", self.name, exc_info=True)
        finally:
            self._finish()

    def _next(self) -> _Job[Any] | None:
        with self._changed:
            while not self._stopping:
                if self._closing:
                    return self._closing.popleft()
                while self._ready:
                    job = heapq.heappop(self._ready)[1]
                    if not job.closed:
                        job.running = True
                        return job
                self._changed.wait()
        return None

    def _advance(self, job: _Job[Any]) -> None:
        item: Any
        try:
            item = next(job.steps)
        except StopIteration:
            item = _End()
        except BaseException as exc:
            item = _End(self._public(exc))
        over = isinstance(item, _End)
        with self._changed:
            job.running = False
            closed = job.closed
            if not closed and not over:
                job.behind += 1
                if job.behind >= self._buffer:
                    job.parked = True
                else:
                    heapq.heappush(self._ready, (job.rank, job))
        if closed:
            self._close(job)
        elif not job.push(item):
            with self._changed:
                self._retire(job)

    def _close(self, job: _Job[Any]) -> None:
        try:
            job.steps.close()
        except BaseException as exc:
            _log.error("%s: closing a stream failed", self.name, exc_info=exc)

    def _public(self, exc: BaseException) -> BaseException:
        if isinstance(exc, RiposteError):
            return exc
        _log.error("%s: a step failed", self.name, exc_info=exc)
        error = EngineError(f"the {self.name} model failed")
        error.__cause__ = exc
        return error

    def _gone(self) -> EngineError:
        return EngineError(f"the {self.name} model was shut down")

    def _finish(self) -> None:
        with self._changed:
            self._stopping = True
            left = [*self._closing, *self._open]
            self._closing.clear()
            self._ready.clear()
        for job in left:
            self._close(job)
            job.push(_End(self._gone()))
        with self._changed:
            self._ended = True
            waiters, self._end_waiters = self._end_waiters, []
        for loop, ended in waiters:
            try:
                loop.call_soon_threadsafe(_settle, ended)
            except RuntimeError:
                continue  # that loop was closed while it waited


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
