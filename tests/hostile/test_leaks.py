"""The net itself: it holds what slips through, or the tests that use it show nothing."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import leaks
import pytest
from conftest import Served
from leaks import flat_memory, no_leaks

from riposte.client.client import connect
from riposte.wire import frames as wire


@asynccontextmanager
async def task(served: Served) -> AsyncIterator[None]:
    left = asyncio.create_task(asyncio.Event().wait())
    yield
    left.cancel()


@asynccontextmanager
async def thread(served: Served) -> AsyncIterator[None]:
    end = threading.Event()
    left = threading.Thread(target=end.wait, name="left")
    left.start()
    yield
    end.set()
    left.join()


@asynccontextmanager
async def file(served: Served) -> AsyncIterator[None]:
    left = os.open("/dev/null", os.O_RDONLY)
    yield
    os.close(left)


@asynccontextmanager
async def session(served: Served) -> AsyncIterator[None]:
    async with connect(served.ws_url):
        yield


@asynccontextmanager
async def audio(served: Served) -> AsyncIterator[None]:
    async with connect(served.ws_url, turn_detection="none") as client:
        await client.send(wire.AudioIn(bytes(320)))
        yield


@pytest.mark.parametrize("left", [task, thread, file, session, audio])
async def test_whatever_is_left_is_told(served: Served, monkeypatch: pytest.MonkeyPatch, left) -> None:
    monkeypatch.setattr(leaks, "SETTLED_S", 0.2)
    within = left(served)
    with pytest.raises(AssertionError, match=left.__name__ if left is not file else "open /dev/null"):
        async with no_leaks():
            await within.__aenter__()
    await within.__aexit__(None, None, None)


async def test_memory_that_grows_is_told() -> None:
    kept: list[bytes] = []

    async def scenario() -> None:
        kept.append(bytes(10_000))

    with pytest.raises(AssertionError, match="10 times grew"):
        await flat_memory(scenario, times=10, grown_bytes=50_000)
    await flat_memory(scenario, times=10, grown_bytes=200_000)
