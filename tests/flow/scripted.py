"""A server that follows a script, for what a whole server does not do on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import UnionType

from aiohttp import web

from riposte.wire import frames as wire
from riposte.wire.codec import decode_client, encode

WAIT_S = 10.0


class Script:
    """One connection, seen from the server's side of the script."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self.heard: list[wire.ClientFrame] = []

    async def send(self, *frames: wire.ServerFrame) -> None:
        for frame in frames:
            await self._socket.send_bytes(encode(frame))

    async def expect(self, kind: type | UnionType) -> wire.ClientFrame:
        """Wait for the client's next frame of this kind; those before it are kept in `heard`."""
        while True:
            message = await self._socket.receive(WAIT_S)
            if message.type is not web.WSMsgType.BINARY:
                raise AssertionError(f"the client left before {kind}: {self.heard}")
            self.heard.append(decode_client(message.data))
            if isinstance(self.heard[-1], kind):
                return self.heard[-1]

    async def greet(self, session: str = "s", **changed: object) -> wire.Hello:
        """Answer the hello."""
        hello = await self.expect(wire.Hello)
        assert isinstance(hello, wire.Hello)
        await self.send(ready(session, resumed=hello.session is not None))
        return hello


def ready(session: str = "s", *, resumed: bool = False) -> wire.Ready:
    names = wire.ModelNames("asr", "llm", "tts", "vad")
    return wire.Ready(1, session, resumed, 16_000, 16_000, names, ["low"])


def done(turn: int, reason: wire.EndReason = "stop") -> wire.Done:
    return wire.Done(turn, reason, None, wire.Usage(), wire.Timing("text"))


@asynccontextmanager
async def scripted(*parts: Callable[[Script], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve one part of the script a connection, in turn; yield the URL. What a part raises is raised here.

    A part's connection is closed when the part returns; leaving waits for every part.
    """
    left = list(parts)
    tasks: list[asyncio.Task[None]] = []

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("riposte.v1",))
        await socket.prepare(request)
        task = asyncio.ensure_future(left.pop(0)(Script(socket)))
        tasks.append(task)
        await asyncio.wait({task})
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/ws", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/ws"
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await runner.cleanup()
