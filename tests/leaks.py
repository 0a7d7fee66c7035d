"""What must be as before once every client has left: sessions, models, tasks, threads, files, memory."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from riposte.sessions import SessionTable

SETTLED_S = 15.0  # for a server to notice that its clients are gone; seconds, as the machine may be busy
_FDS = Path("/proc/self/fd")


@asynccontextmanager
async def no_leaks() -> AsyncIterator[None]:
    """Hold the servers of this process to it: what happens inside leaves nothing behind.

    Clients that were opened inside must have left at its end. A model's own thread or process is started by
    its first use: use it once before.
    """
    before = _held()
    yield
    left: list[str] = []
    until = time.monotonic() + SETTLED_S
    while time.monotonic() < until:
        await asyncio.sleep(0.01)
        if not (left := [*_open_on_servers(), *_more_than(before)]):
            return
    raise AssertionError(f"left behind after {SETTLED_S:g} s: {'; '.join(left)}")


async def flat_memory(
    scenario: Callable[[], Awaitable[None]], *, times: int, grown_bytes: int, first: int = 3
) -> None:
    """Run a scenario `first` times, and then assert that `times` more of them grow no more than this."""
    for _ in range(first - 1):
        await scenario()
    tracemalloc.start()
    try:
        await scenario()  # what it leaves until the next one comes must be known, to be seen to go
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(times):
            await scenario()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown <= grown_bytes, f"{times} times grew {grown} bytes, {grown_bytes} are allowed"


async def becomes(what: Callable[[], bool], within_s: float = SETTLED_S) -> None:
    """Wait for what the server tells nobody of."""
    async with asyncio.timeout(within_s):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def tables() -> list[SessionTable]:
    """Find the sessions of every server that runs here: `app.running` tells an address and no more."""
    return [it for it in gc.get_objects() if type(it) is SessionTable and it.models and not it._draining]


def _open_on_servers() -> Iterator[str]:
    for table in tables():
        if table.connected:
            yield f"{table.connected} sessions connected"
        if seconds := table.held_audio.seconds:
            yield f"{seconds:g} s of audio"
        for session in table:
            if session._turns._tasks or session._taking._tasks or session._taking._verdicts:
                yield f"a task of session {session.id}"
            if session._hearing._microphone is not None:
                yield f"audio of session {session.id}"
        for kind in ("asr", "llm", "tts", "vad"):
            if active := getattr(table.models, kind).active:
                yield f"{active} streams of the {kind} model"


def _held() -> Counter[str]:
    """Count what this process holds: tasks and threads by name, open files by kind."""
    held: Counter[str] = Counter()
    for task in asyncio.all_tasks():
        # aiohttp's connections are unnamed tasks: what they run tells more than "Task-17".
        held[f"task {task.get_coro().__qualname__}"] += 1
    for thread in threading.enumerate():
        # The loop's own pool for name look-ups grows to a bound and keeps its threads.
        if not thread.name.startswith("asyncio_"):
            held[f"thread {thread.name.rstrip('0123456789')}"] += 1  # "asyncio-waitpid-4" waits for a child
    for fd in _FDS.iterdir() if _FDS.is_dir() else ():
        try:
            held[f"open {os.readlink(fd).partition(':')[0]}"] += 1
        except OSError:
            continue  # the one that listed them
    return held


def _more_than(before: Counter[str]) -> Iterator[str]:
    for what, count in (_held() - before).items():
        yield f"{count} more of {what}"
