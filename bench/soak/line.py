"""One connection of the native protocol as the soak holds it: every promise about turns is checked."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable

import aiohttp

from riposte.wire import codec
from riposte.wire import frames as wire

ANSWER_S = 60.0  # a hang, not a slow machine


class Broken(Exception):
    """The server did not keep a promise; the text says which."""


class Hung(Exception):
    """The server closed the connection, which this client may have asked for."""


class Line:
    """A connection. `tally` counts what came of it; `answer` says what a tool call is told."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        tally: Counter[str],
        answer: Callable[[wire.ToolCall], wire.ClientFrame],
    ) -> None:
        self._socket = socket
        self._tally = tally
        self._answer = answer
        self._marks = itertools.count(1)
        self._seen: set[int] = set()
        self._over: set[int] = set()
        self.session: str | None = None
        self.sounding = False  # a piece of sound came since this was set to False

    async def send(self, frame: wire.ClientFrame) -> None:
        """Send a frame. Raises Hung."""
        await self.send_raw(codec.encode(frame))

    async def send_raw(self, message: bytes) -> None:
        """Send whatever it is. Raises Hung."""
        try:
            await self._socket.send_bytes(message)
        except ConnectionError as exc:
            raise Hung from exc

    async def receive(self) -> wire.ServerFrame:
        """Return the next frame. Raises Hung, and Broken for what must not come or comes too late."""
        try:
            async with asyncio.timeout(ANSWER_S):
                message = await self._socket.receive()
        except TimeoutError:
            raise Broken(f"no answer for {ANSWER_S:g} s") from None
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise Hung
        frame = codec.decode_server(message.data)
        self._check(frame)
        if isinstance(frame, wire.ToolCall):
            # Whatever is being waited for: the call may come in the middle of the next thing.
            self._tally["tool call"] += 1
            await self.send(self._answer(frame))
        return frame

    async def until(self, kind: type[wire.ServerFrame]) -> None:
        """Read up to the first frame of this kind."""
        while not isinstance(await self.receive(), kind):
            pass

    async def settle(self) -> None:
        """Read until everything sent has been acted on, and every turn that was seen is over."""
        mark = next(self._marks)
        await self.send(wire.Mark(mark))
        while not (isinstance(frame := await self.receive(), wire.Mark) and frame.id == mark):
            pass
        while self._seen - self._over:
            await self.receive()

    def vanish(self) -> None:
        """Break the connection off, as a phone does that leaves the network."""
        connection = self._socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    def hold(self, reading: bool) -> None:
        """Stop or go on reading from the network, so that the server feels it."""
        connection = self._socket._response.connection
        if connection is not None and isinstance(connection.transport, asyncio.Transport):
            (connection.transport.resume_reading if reading else connection.transport.pause_reading)()

    def _check(self, frame: wire.ServerFrame) -> None:
        match frame:
            case wire.Ready():
                self.session = frame.session
            case wire.Error(code="bad_value", message=message) if "tool call" in message:
                self._tally["tool result too late"] += 1  # its turn was over by then
            case wire.Error():
                self._tally[f"error {frame.code}"] += 1
            case wire.AudioOut():
                self.sounding = True
        turn = getattr(frame, "turn", None)
        if turn is None:
            return
        if turn in self._over:
            raise Broken(f"a frame of turn {turn} came after its done")
        self._seen.add(turn)
        if isinstance(frame, wire.Done):
            self._over.add(turn)
            self._tally[f"turn {frame.reason}"] += 1
