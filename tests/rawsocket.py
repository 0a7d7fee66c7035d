"""A WebSocket by hand, for what no library would send."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Raw:
    """One TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, content: bytes) -> None:
        """Write bytes as they are. A server that hung up is no error."""
        try:
            self.writer.write(content)
            await self.writer.drain()
        except ConnectionError:
            return

    async def upgrade(self, path: str = "/ws") -> None:
        """Make it a WebSocket."""
        await self.send(_UPGRADE.format(path=path).encode())
        answer = await self.reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer

    async def receive(self) -> tuple[int, bytes]:
        """Return the next frame of the server: opcode and payload. Raises IncompleteReadError at the end."""
        head = await self.reader.readexactly(2)
        size = head[1]
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
        return head[0] & 15, await self.reader.readexactly(size)

    async def close_code(self) -> int | None:
        """Read to the end; return the code of the server's close frame, None without one."""
        try:
            while True:
                opcode, payload = await self.receive()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2])
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def reset(self) -> None:
        """Vanish: the server gets a reset and no goodbye."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Raw]:
    """Open a TCP connection to the server at this http address; break it off at the end."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
        # The transport is closed by a call that the loop makes later.
        while writer.get_extra_info("socket").fileno() >= 0:  # noqa: ASYNC110
            await asyncio.sleep(0)


def frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    masked: bool = True,
    rsv: int = 0,
    size: int | None = None,
) -> bytes:
    """Return a client's WebSocket frame. `size` is what it says of its payload, which may be a lie."""
    said = len(payload) if size is None else size
    head = bytes([fin << 7 | rsv << 4 | opcode])
    mask_bit = masked << 7
    if said < 126:
        head += bytes([mask_bit | said])
    elif said < 1 << 16:
        head += bytes([mask_bit | 126]) + said.to_bytes(2)
    else:
        head += bytes([mask_bit | 127]) + said.to_bytes(8)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    whole = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(whole)).to_bytes(len(payload))
