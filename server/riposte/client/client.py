"""An asynchronous client of the native protocol: frames out, frames in, and typed turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from riposte.errors import ClientError, RiposteError
from riposte.wire.codec import decode_server, encode, encode_json
from riposte.wire.frames import (
    SUBPROTOCOL,
    ClientFrame,
    Done,
    Error,
    Hello,
    Mark,
    Ready,
    ServerFrame,
    Text,
)

_ERRORS = {kind.code: kind for kind in ClientError.__subclasses__()}
_HANDSHAKE = {
    401: "the key is wrong or missing",
    403: "it does not accept this host name or origin",
    404: "there is no such path; the native socket is /ws",
    503: "it is not ready, or shutting down",
}


class CannotConnect(RiposteError):
    """There is no server to talk to, or it refused before the first frame."""


class Closed(RiposteError):
    """The connection is over. `close_code` is the WebSocket's, None when it broke."""

    def __init__(self, close_code: int | None) -> None:
        super().__init__(f"the connection is closed (code {close_code})")
        self.close_code = close_code


class Client:
    """One connection. Made by `connect`; one task receives, any task may send."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, json: bool) -> None:
        self._socket = socket
        self._json = json
        self._latest_turn = 0
        self.ready: Ready  # the latest answer to a hello

    @property
    def session(self) -> str:
        """The session's id, to come back to it with."""
        return self.ready.session

    @property
    def close_code(self) -> int | None:
        """Why the server closed the connection; None while it is open, or when it broke."""
        return self._socket.close_code

    async def send(self, frame: ClientFrame) -> None:
        """Send one frame. Waits while the server reads slowly. Raises Closed."""
        try:
            if self._json:
                await self._socket.send_str(encode_json(frame))
            else:
                await self._socket.send_bytes(encode(frame))
        except (ConnectionError, aiohttp.ClientError) as exc:
            raise Closed(self.close_code) from exc

    async def receive(self, timeout_s: float | None = None) -> ServerFrame:
        """Return the next frame. Raises Closed, and TimeoutError when none came in time."""
        async with asyncio.timeout(timeout_s):
            message = await self._socket.receive()
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            # aiohttp forgets the server's code when its own answer to it finds the connection gone.
            told = message.data if message.type is aiohttp.WSMsgType.CLOSE else None
            raise Closed(told or self.close_code)
        frame = decode_server(message.data)
        if isinstance(frame, Ready):
            self.ready = frame
        turn = _turn_of(frame)
        if turn is not None:
            self._latest_turn = max(self._latest_turn, turn)
        return frame

    def __aiter__(self) -> AsyncIterator[ServerFrame]:
        return self

    async def __anext__(self) -> ServerFrame:
        try:
            return await self.receive()
        except Closed:
            raise StopAsyncIteration from None

    async def turn(self, text: str) -> AsyncGenerator[ServerFrame, None]:
        """Type a turn and yield its frames, `done` last. Frames left of earlier turns are dropped.

        Raises what the server refused it with (Busy, TooLarge, …) or Closed. For one turn at a time:
        leaving early does not cancel it; send `Cancel` for that.
        """
        before, mine = self._latest_turn, None
        await self.send(Text(text))
        while True:
            frame = await self.receive()
            turn = _turn_of(frame)
            if mine is None and turn is not None and turn > before:
                mine = turn
            if isinstance(frame, Error) and turn is None:
                # Before its first frame the turn was refused and has no `done`; later it is news.
                if mine is None:
                    raise error_of(frame)
                yield frame
            elif mine is not None and turn == mine:
                yield frame
                if isinstance(frame, Done):
                    return

    async def close(self) -> None:
        """Close the connection. May be called twice."""
        await self._socket.close()


@asynccontextmanager
async def connect(
    url: str,
    *,
    key: str | None = None,
    session: str | None = None,
    json: bool = False,
    ready_s: float = 10.0,
    **settings: Any,
) -> AsyncIterator[Client]:
    """Open a session, or resume the one named, and close the connection on the way out.

    `settings` are those of `hello` (voice=…, modalities=[…]). Raises CannotConnect when there is no
    server or no answer within `ready_s`, and the server's own error when it refuses the hello.
    """
    hello = Hello(session=session, **settings)
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    async with aiohttp.ClientSession() as http:
        try:
            async with asyncio.timeout(ready_s):
                socket = await http.ws_connect(url, protocols=(SUBPROTOCOL,), headers=headers)
        except aiohttp.WSServerHandshakeError as exc:
            reason = _HANDSHAKE.get(exc.status, exc.message)
            raise CannotConnect(f"the server at {url} refused with status {exc.status}: {reason}") from exc
        except (aiohttp.InvalidURL, ValueError) as exc:
            raise CannotConnect(f"{url} is no address of a server; ws://127.0.0.1:8000/ws is one") from exc
        except (aiohttp.ClientError, OSError) as exc:
            # TimeoutError is an OSError too.
            raise CannotConnect(f"no server answers at {url}; start one with `riposte serve`") from exc
        async with socket:
            client = Client(socket, json=json)
            await _greet(client, hello, url, ready_s)
            yield client


async def _greet(client: Client, hello: Hello, url: str, ready_s: float) -> None:
    try:
        async with asyncio.timeout(ready_s):
            await client.send(hello)
            while not isinstance(frame := await client.receive(), Ready):
                if isinstance(frame, Error):
                    raise error_of(frame)
    except TimeoutError as exc:
        raise CannotConnect(f"the server at {url} did not answer `hello` within {ready_s:g} s") from exc
    except Closed as exc:
        raise CannotConnect(f"the server at {url} closed before it was ready ({exc.close_code})") from exc


def error_of(frame: Error) -> ClientError:
    """Return the exception that an `error` frame stands for."""
    return _ERRORS.get(frame.code, ClientError)(frame.message)


def _turn_of(frame: ServerFrame) -> int | None:
    """Return the turn that a frame belongs to; None for those that belong to none."""
    if isinstance(frame, Ready | Mark):
        return None
    return getattr(frame, "turn", None)
