"""Messages onto an open WebSocket: what leaves together leaves in one write.

aiohttp's `send_bytes` costs more than all the rest of a frame's way. What is used of it here is public: the
connection's transport, whether its buffer is full, and the wait until it is not. Frames of a server are
neither masked nor, here, compressed or split (RFC 6455, section 5.2), so that a whole message is a header
of 2, 4 or 10 bytes and the payload, and aiohttp's own frames (pong, close) fit between any two.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from aiohttp import web

_TEXT, _BINARY = 0x81, 0x82  # opcode, and FIN: nothing follows that belongs to it
_SHORT = {first: [bytes((first, size)) for size in range(126)] for first in (_TEXT, _BINARY)}
_MEDIUM, _LONG = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack


class MessageWriter:
    """Writes to one prepared WebSocket. `write` never waits; `drained` is for when it was too fast."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._request = request
        self._protocol = request.protocol
        self._socket = socket

    @property
    def full(self) -> bool:
        """Has the client to read before more may be written?"""
        return self._protocol.writing_paused

    def write(self, messages: Sequence[bytes], *, text: bool) -> None:
        """Write whole messages, text or binary. Raises ConnectionError when the connection is over."""
        transport = self._protocol.transport
        if transport is None or transport.is_closing() or self._socket.closed:
            raise ConnectionResetError("the connection is closed")
        parts = []
        for message in messages:
            parts.append(header(len(message), text=text))
            parts.append(message)
        transport.write(b"".join(parts))

    async def drained(self) -> None:
        """Wait until the client has read most of it. Raises ConnectionError when it is gone."""
        await self._request.writer.drain()


def header(size: int, *, text: bool) -> bytes:
    """Return what stands before an unmasked message of `size` bytes, in the shortest form there is."""
    first = _TEXT if text else _BINARY
    if size < 126:
        return _SHORT[first][size]
    if size < 1 << 16:
        return _MEDIUM(first, 126, size)
    return _LONG(first, 127, size)
