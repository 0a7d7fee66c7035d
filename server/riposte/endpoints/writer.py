"""Messages onto an open WebSocket: what leaves together leaves in one write.

aiohttp's `send_bytes` costs more than all the rest of a frame's way. What is used of it here is public: the
connection's transport, whether its buffer is full, and the wait until it is not. Frames of a server are
neither masked nor, here, compressed or split (RFC 6455, section 5.2), so that a whole message is a header
of 2, 4 or 10 bytes and the payload, and aiohttp's own frames (pong, close) fit between any two.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from aiohttp import WSMsgType, web

_FINAL = 0x80
_SHORT = [{op: bytes((_FINAL | op, n)) for op in (1, 2)} for n in range(126)]


class MessageWriter:
    """Writes to one prepared WebSocket. `write` never waits; `drained` is for when it was too fast."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._request = request
        self._socket = socket

    @property
    def full(self) -> bool:
        """Has the client to read before more may be written?"""
        return self._request.protocol.writing_paused

    def write(self, messages: Sequence[bytes], opcode: WSMsgType) -> None:
        """Write whole messages, TEXT or BINARY. Raises ConnectionError when the connection is over."""
        transport = self._request.transport
        if transport is None or transport.is_closing() or self._socket.closed:
            raise ConnectionResetError("the connection is closed")
        parts = []
        for message in messages:
            parts.append(header(opcode, len(message)))
            parts.append(message)
        transport.write(b"".join(parts))

    async def drained(self) -> None:
        """Wait until the client has read most of it. Raises ConnectionError when it is gone."""
        await self._request.writer.drain()


def header(opcode: int, size: int) -> bytes:
    """Return what stands before an unmasked message of `size` bytes, in the shortest form there is."""
    if size < 126:
        return _SHORT[size][opcode]
    if size < 1 << 16:
        return struct.pack("!BBH", _FINAL | opcode, 126, size)
    return struct.pack("!BBQ", _FINAL | opcode, 127, size)
