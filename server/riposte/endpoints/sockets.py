"""What the native socket and /ws/chat share: how a WebSocket is opened here, and how all are closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket as socketlib
from weakref import WeakSet

from aiohttp import WSCloseCode, web

from riposte.endpoints.keys import CONFIG
from riposte.errors import Busy, SlowClient
from riposte.wire.frames import SUBPROTOCOL

# aiohttp lets 256 KiB pass before it waits for the client: 5 s of speech. A second of sound is enough.
WRITER_LIMIT_BYTES = 32 * 1024
CLOSE_S = 2.0  # for the closing handshake

_SOCKETS: web.AppKey[WeakSet[web.WebSocketResponse]] = web.AppKey("sockets", WeakSet)


def add_shutdown(app: web.Application) -> None:
    """Close every open socket with 1001 when the application shuts down."""
    app[_SOCKETS] = WeakSet()
    app.on_shutdown.append(_close_all)


def open_sockets(app: web.Application) -> int:
    """Return how many sockets are open."""
    return sum(not socket.closed for socket in app[_SOCKETS])


async def opened(request: web.Request) -> web.WebSocketResponse:
    """Answer the upgrade. A browser that offers its key as a subprotocol wants one chosen.

    Raises Busy when too many are open: one that never says hello takes no session's place. Raises SlowClient
    when the client does not read the answer.
    """
    limits = request.app[CONFIG].limits
    if open_sockets(request.app) >= limits.sockets:
        raise Busy(f"all {limits.sockets} sockets are in use; try again in a few seconds")
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,),
        compress=False,
        max_msg_size=limits.message_bytes,
        writer_limit=WRITER_LIMIT_BYTES,
        timeout=CLOSE_S,
    )
    try:
        async with asyncio.timeout(limits.slow_client_s):
            await socket.prepare(request)
    except TimeoutError as exc:
        raise SlowClient(f"the client did not read for {limits.slow_client_s:g} s") from exc
    _notice_silence(request)
    request.app[_SOCKETS].add(socket)
    return socket


async def close(socket: web.WebSocketResponse, code: int = WSCloseCode.OK, reason: bytes = b"") -> None:
    """Close a socket, and do not wait long for a client that does not read."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await socket.close(code=code, message=reason)


def _notice_silence(request: web.Request) -> None:
    """Have the kernel find out that a client is gone: a phone that left the network says no goodbye.

    Not WebSocket pings: clients that answer them only while they read would be hung up on.
    """
    sock = request.get_extra_info("socket")
    if sock is None or not hasattr(socketlib, "TCP_KEEPIDLE"):
        return
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        sock.setsockopt(socketlib.IPPROTO_TCP, getattr(socketlib, option), value)


async def _close_all(app: web.Application) -> None:
    # At once: each may take all of its time for the closing handshake.
    sockets, reason = app[_SOCKETS], b"the server is shutting down"
    await asyncio.gather(*(close(socket, WSCloseCode.GOING_AWAY, reason) for socket in tuple(sockets)))
