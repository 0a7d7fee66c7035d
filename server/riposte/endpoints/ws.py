"""The native socket: messages to frames, frames to messages, and when to hang up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from riposte.endpoints import sockets
from riposte.endpoints.keys import CONFIG, METRICS, SESSIONS
from riposte.endpoints.writer import MessageWriter
from riposte.errors import BadFrame, ClientError, Idle, NoHello, SlowClient, UnsupportedVersion
from riposte.session import Session
from riposte.turn.outbox import Outbox
from riposte.wire import codec
from riposte.wire.frames import Error, Hello, ServerFrame

log = logging.getLogger(__name__)

BAD_FRAMES_IN_A_ROW = 20


def add_routes(app: web.Application) -> None:
    """Add the route of this module."""
    app.router.add_get("/ws", native_socket)


async def native_socket(request: web.Request) -> web.StreamResponse:
    """GET /ws: one client of the native protocol, version 1."""
    socket = await sockets.opened(request)
    await _Connection(request, socket).serve()
    return socket


class _Connection:
    """One socket: reads and acts in its own task, writes in another that it owns."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._request = request
        self._socket = socket
        self._limits = request.app[CONFIG].limits
        self._session: Session | None = None
        self._outbox: Outbox | None = None
        self._writer: asyncio.Task[None] | None = None
        self._json = False
        self._bad = 0

    async def serve(self) -> None:
        """Serve until the client leaves or is asked to."""
        try:
            await self._read()
        except (SlowClient, TimeoutError) as exc:
            log.info("hung up: %s", exc or "the client did not read")
        finally:
            if self._session is not None and self._outbox is not None:
                self._session.detach(self._outbox)
                self._outbox.close(WSCloseCode.OK)
            if self._writer is not None:
                self._writer.cancel()
                await asyncio.wait({self._writer})
            await sockets.close(self._socket)

    async def _read(self) -> None:
        while not self._socket.closed:
            try:
                # Not receive's own timeout: that begins anew at every ping.
                async with asyncio.timeout(self._limits.idle_s):
                    message = await self._socket.receive()
            except TimeoutError:
                error = Idle(f"nothing was received for {self._limits.idle_s:g} s")
                await self._refuse(error, WSCloseCode.GOING_AWAY)
                return
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return
            try:
                await self._act(message)
                self._bad = 0
            except UnsupportedVersion as exc:
                await self._refuse(exc, WSCloseCode.PROTOCOL_ERROR)
                return
            except BadFrame as exc:
                self._bad += 1
                if self._bad >= BAD_FRAMES_IN_A_ROW:
                    await self._refuse(exc, WSCloseCode.POLICY_VIOLATION)
                    return
                await self._tell(exc)
            except ClientError as exc:
                self._bad = 0  # it did decode
                await self._tell(exc)
            except Exception:
                log.exception("a frame could not be acted on")
                await self._send(Error("internal", "internal error; the server's log has it"))

    async def _act(self, message: WSMessage) -> None:
        if self._session is None:
            self._json = message.type is WSMsgType.TEXT  # the language of whatever is answered
        frame = codec.decode_client(message.data)
        if self._session is not None and self._outbox is not None:
            if self._outbox.close_code is None:  # else a newer socket has the session: this one is closing
                await self._session.receive(frame)
            return
        if not isinstance(frame, Hello):
            raise NoHello('say hello first: {"type": "hello", "version": 1}')
        await self._open(frame)

    async def _open(self, hello: Hello) -> None:
        sessions = self._request.app[SESSIONS]
        session, resumed = await sessions.open(hello)
        try:
            session.configure(hello)
        except ClientError:
            if not resumed:
                await sessions.discard(session)
            raise
        self._session, self._outbox = session, session.attach()
        self._writer = asyncio.create_task(self._write(self._outbox), name=f"ws-write-{session.id[:6]}")
        await session.hello(hello, resumed=resumed)

    async def _write(self, outbox: Outbox) -> None:
        """Send what the outbox gives until it is closed, then hang up with its code."""
        writer = MessageWriter(self._request, self._socket)
        try:
            while frames := await outbox.take(sockets.WRITER_LIMIT_BYTES):
                # Nothing is awaited between these lines: a barge-in finds a frame waiting, or gone.
                self._hand_over(writer, frames)
                outbox.sent(frames)
                if writer.full:
                    async with asyncio.timeout(self._limits.slow_client_s):
                        await writer.drained()
        except TimeoutError:
            limit_s = self._limits.slow_client_s
            log.info("hung up: the client did not read for %g s", limit_s)
            outbox.close(WSCloseCode.POLICY_VIOLATION, SlowClient.code)
            await self._hang_up(SlowClient(f"nothing was read for {limit_s:g} s"))
            return
        except ConnectionError:
            outbox.close(WSCloseCode.ABNORMAL_CLOSURE)  # the reader sees the same and ends
            return
        except Exception:
            log.exception("a frame could not be sent")  # nobody takes from the outbox any more
            outbox.close(WSCloseCode.INTERNAL_ERROR, "internal")
        reason = outbox.close_reason.encode()[:120]  # a close frame holds 123 bytes
        await sockets.close(self._socket, outbox.close_code or WSCloseCode.OK, reason)

    async def _hang_up(self, error: ClientError) -> None:
        """Leave the reason behind all that the client has not read yet, and do not wait long for it."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(sockets.CLOSE_S):
                await self._encode(Error(error.code, str(error)))
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(sockets.CLOSE_S):
                await self._socket.close(
                    code=WSCloseCode.POLICY_VIOLATION, message=error.code.encode(), drain=False
                )
        if self._request.transport is not None:
            self._request.transport.abort()

    def _hand_over(self, writer: MessageWriter, frames: Sequence[ServerFrame]) -> None:
        for frame in frames:
            if isinstance(frame, Error):
                self._request.app[METRICS].count_error(frame.code)
        if self._json:
            writer.write([codec.encode_json(frame).encode() for frame in frames], text=True)
        else:
            writer.write([codec.encode(frame) for frame in frames], text=False)

    async def _encode(self, frame: ServerFrame) -> None:
        """Send one frame by itself: before there is an outbox, and after it."""
        if isinstance(frame, Error):
            self._request.app[METRICS].count_error(frame.code)
        if self._json:
            await self._socket.send_str(codec.encode_json(frame))
        else:
            await self._socket.send_bytes(codec.encode(frame))

    async def _send(self, frame: ServerFrame) -> None:
        if self._outbox is not None:
            await self._outbox.put(frame)
        else:
            async with asyncio.timeout(self._limits.slow_client_s):
                await self._encode(frame)

    async def _tell(self, error: ClientError) -> None:
        await self._send(Error(error.code, str(error)))

    async def _refuse(self, error: ClientError, code: WSCloseCode) -> None:
        """Tell the client why, then close."""
        await self._tell(error)
        if self._outbox is not None and self._writer is not None:
            self._outbox.close(code, error.code)
            await asyncio.wait({self._writer}, timeout=self._limits.slow_client_s)
        else:
            await sockets.close(self._socket, code, error.code.encode())
