"""GET /ws/chat: a line of text in, JSON text messages out; the simplest socket that can be typed at.

Lines are answered one after the other, and a few may wait. A client that leaves cancels its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from contextlib import aclosing

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from riposte.endpoints import sockets
from riposte.endpoints.allowance import spend
from riposte.endpoints.bodies import ChatBody, chat_body, tokens_of
from riposte.endpoints.keys import CONFIG, METRICS, SESSIONS
from riposte.endpoints.middleware import INTERNAL
from riposte.errors import BadFrame, BadValue, Busy, ClientError, Idle

log = logging.getLogger(__name__)

LINES_WAITING = 16


def add_routes(app: web.Application) -> None:
    """Add the route of this module."""
    app.router.add_get("/ws/chat", chat_socket)


async def chat_socket(request: web.Request) -> web.StreamResponse:
    """GET /ws/chat: serve one client until it leaves or is idle for too long."""
    limits = request.app[CONFIG].limits
    socket = await sockets.opened(request)
    chat = _Chat(request, socket)
    answering = asyncio.create_task(chat.answer_lines(), name="ws-chat")
    try:
        await chat.read_lines(limits.idle_s)
    except TimeoutError:
        log.info("hung up: the client did not read for %g s", limits.slow_client_s)
        chat.hang_up()
    finally:
        answering.cancel()
        await asyncio.wait({answering})
        await sockets.close(socket, WSCloseCode.OK)
    return socket


class _Chat:
    """One socket. `read_lines` runs in the request's task, `answer_lines` in another beside it."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._request = request
        self._app = request.app
        self._socket = socket
        self._lines: asyncio.Queue[str] = asyncio.Queue(LINES_WAITING)
        # Lines that name no conversation share one of this socket's own.
        self._session = f"ws-{secrets.token_urlsafe(16)}"

    async def read_lines(self, idle_s: float) -> None:
        """Read until the client leaves. Raises TimeoutError when it does not read what it is told."""
        while True:
            try:
                # Not receive(timeout=…): that one begins anew with every ping, which tells nothing of a
                # person.
                async with asyncio.timeout(idle_s):
                    message = await self._socket.receive()
            except TimeoutError:
                await self._tell(Idle(f"nothing was received for {idle_s:g} s"))
                await sockets.close(self._socket, WSCloseCode.GOING_AWAY)
                return
            if message.type is WSMsgType.BINARY:
                await self._tell(BadFrame("this socket takes text messages only; /ws takes MessagePack"))
            elif message.type is not WSMsgType.TEXT:
                return
            else:
                try:
                    self._lines.put_nowait(message.data)
                except asyncio.QueueFull:
                    await self._tell(Busy(f"{LINES_WAITING} lines wait already; try when one is answered"))

    async def answer_lines(self) -> None:
        """Answer line by line until cancelled, or until the client does not read.

        Then this socket's own conversation is forgotten, which nobody else can name.
        """
        try:
            while True:
                line = await self._lines.get()
                try:
                    await self._answer(self._read(line))
                except ClientError as exc:
                    await self._tell(exc)
        except (ConnectionError, TimeoutError):
            self.hang_up()
        except Exception:
            log.exception("a line could not be answered")
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._tell(ClientError(INTERNAL))
            self.hang_up()
        finally:
            # Here and not in the request's task, which aiohttp cancels when the connection is lost.
            await self._app[SESSIONS].forget_chat(self._session)

    def _read(self, line: str) -> ChatBody:
        if line.lstrip().startswith("{"):
            return chat_body(line, self._session)
        if not line.strip():
            raise BadValue("message is empty; a text fits")
        return ChatBody(line.rstrip("\r\n"), self._session)  # the end of a line is none of its words

    async def _answer(self, asked: ChatBody) -> None:
        spend(self._request)  # a line is a request like any other: it may name a conversation of its own
        began = time.monotonic()
        reply = []
        passing = asked.session_id == self._session
        turn = self._app[SESSIONS].chat_turn(asked.session_id, asked.message, passing=passing)
        async with aclosing(tokens_of(turn)) as tokens:
            async for token in tokens:
                reply.append(token)
                await self._send({"type": "token", "text": token})
        latency_ms = round((time.monotonic() - began) * 1000, 1)
        await self._send({"type": "done", "response": "".join(reply), "latency_ms": latency_ms})

    async def _tell(self, error: ClientError) -> None:
        self._app[METRICS].count_error(error.code)
        await self._send({"type": "error", "code": error.code, "message": str(error)})

    async def _send(self, content: dict[str, object]) -> None:
        async with asyncio.timeout(self._app[CONFIG].limits.slow_client_s):
            await self._socket.send_str(msgspec.json.encode(content).decode())

    def hang_up(self) -> None:
        """Break the connection off: a closing handshake would wait behind all that is not read."""
        if self._request.transport is not None:
            self._request.transport.abort()
