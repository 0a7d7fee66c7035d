"""Messages that we put onto aiohttp's connections ourselves: whole, in order, and held back in time.

These tests are what fails when another aiohttp no longer lets us.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from websockets.asyncio.client import connect as other_connect

from riposte.endpoints.writer import MessageWriter, header

WAIT_S = 10.0
SIZES = (0, 1, 125, 126, 65_535, 65_536, 200_000)

Handler = Callable[[web.WebSocketResponse, MessageWriter], Awaitable[None]]


@asynccontextmanager
async def writing(handle: Handler) -> AsyncIterator[str]:
    async def route(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, timeout=0.5)
        await socket.prepare(request)
        await handle(socket, MessageWriter(request, socket))
        return socket

    app = web.Application()
    app.router.add_get("/ws", route)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "ws://{}:{}/ws".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("size", "behind"),
    [
        (0, b"\x00"),
        (125, b"\x7d"),
        (126, b"\x7e\x00\x7e"),
        (65_535, b"\x7e\xff\xff"),
        (65_536, b"\x7f" + struct.pack("!Q", 65_536)),
    ],
)
def test_a_header_has_the_shortest_length_there_is(size: int, behind: bytes) -> None:
    assert header(size, text=True) == b"\x81" + behind
    assert header(size, text=False) == b"\x82" + behind


async def test_messages_of_every_size_arrive_as_they_were_between_aiohttps_own() -> None:
    messages = [bytes([size % 251]) * size for size in SIZES]

    async def handle(socket: web.WebSocketResponse, writer: MessageWriter) -> None:
        await socket.ping(b"before")
        writer.write(messages, text=False)
        await socket.ping(b"between")
        writer.write(["grüße".encode(), b""], text=True)
        await socket.send_bytes(b"aiohttp's")
        await socket.close(code=4000, message=b"enough")

    expected = [*messages, "grüße", "", b"aiohttp's"]
    async with writing(handle) as url:
        async with other_connect(url) as other:
            got = [await other.recv() for _ in expected]
            await other.wait_closed()
            assert (other.close_code, other.close_reason) == (4000, "enough")
        assert got == expected
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as mine:
            assert [message.data async for message in mine] == expected
            assert mine.close_code == 4000


async def test_a_client_that_does_not_read_is_noticed_and_waited_for() -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()

    async def handle(socket: web.WebSocketResponse, writer: MessageWriter) -> None:
        while not writer.full:  # the kernel's buffers fill first
            writer.write([bytes(65_536)], text=False)
        waiting = asyncio.create_task(writer.drained())
        await asyncio.sleep(0)
        told.put_nowait(waiting.done())
        await waiting
        told.put_nowait(writer.full)
        await socket.close()

    async with (
        asyncio.timeout(WAIT_S),
        writing(handle) as url,
        aiohttp.ClientSession() as http,
        http.ws_connect(url) as client,
    ):
        client._response.connection.transport.pause_reading()
        assert not await told.get()
        client._response.connection.transport.resume_reading()
        async for message in client:
            assert message.data == bytes(65_536)
        assert not await told.get()


async def test_a_client_that_is_gone_is_an_error() -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def handle(socket: web.WebSocketResponse, writer: MessageWriter) -> None:
        await socket.receive()  # the client's close
        try:
            writer.write([b"late"], text=False)
        except ConnectionError as exc:
            told.put_nowait(str(exc))

    async with (
        asyncio.timeout(WAIT_S),
        writing(handle) as url,
        aiohttp.ClientSession() as http,
    ):
        async with http.ws_connect(url):
            pass
        assert await told.get() == "the connection is closed"
