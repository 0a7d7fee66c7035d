"""GET /ws/chat against a whole server with fake models."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from conftest import Served, serving
from test_http import LONG, PATIENCE_S, chat, figure, http, slow, until_counted

from riposte.backends.fake import FAIL_LLM
from riposte.config import Config
from riposte.endpoints import sockets
from riposte.metrics import Metrics
from riposte.sessions import SessionTable

__all__ = ["http", "slow"]  # fixtures

BAD_FRAMES = 'riposte_errors_total{code="bad_frame"}'
Socket = aiohttp.ClientWebSocketResponse


@pytest.fixture
async def socket(http: aiohttp.ClientSession, served: Served) -> AsyncIterator[Socket]:
    async with http.ws_connect(f"{served.ws_url}/chat") as socket:
        yield socket


async def answers(socket: Socket) -> list[dict[str, Any]]:
    """Read up to a done or an error."""
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["type"] == "token":
        messages.append(json.loads(await socket.receive_str(timeout=PATIENCE_S)))
    return messages


async def test_a_message_is_answered_token_by_token(socket: Socket) -> None:
    await socket.send_json(chat("hello there"))
    *tokens, done = await answers(socket)
    assert done.pop("latency_ms") >= 0
    assert done == {"type": "done", "response": "You said: hello there"}
    assert "".join(token["text"] for token in tokens) == done["response"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_the_end_of_a_line_is_none_of_its_words(socket: Socket, end: str) -> None:
    await socket.send_str(f" hello{end}")
    assert (await answers(socket))[-1]["response"] == "You said:  hello"


@pytest.mark.parametrize("line", ["hello", "42", '"quoted"', "[1]", '{"message": "hello"}'])
async def test_a_bare_line_is_the_message(socket: Socket, line: str) -> None:
    await socket.send_str(line)
    said = "hello" if line.startswith("{") else line
    assert (await answers(socket))[-1]["response"] == f"You said: {said}"


async def test_lines_that_wait_are_answered_in_order(socket: Socket) -> None:
    for number in range(10):
        await socket.send_str(f"number {number}")
    for number in range(10):
        assert (await answers(socket))[-1]["response"] == f"You said: number {number}"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("", "bad_value"),
        ("{", "bad_value"),
        ('{"session_id": "s"}', "bad_value"),
        ('{"message": 7}', "bad_value"),
        ("m" * 4001, "too_large"),
        (FAIL_LLM, "engine"),
    ],
)
async def test_an_error_is_told_and_the_socket_stays(socket: Socket, line: str, code: str) -> None:
    await socket.send_str(line)
    error = (await answers(socket))[-1]
    assert (error["type"], error["code"], set(error)) == ("error", code, {"type", "code", "message"})
    await socket.send_str("still there?")
    assert (await answers(socket))[-1]["type"] == "done"


async def test_bytes_are_refused_and_the_socket_stays(socket: Socket) -> None:
    await socket.send_bytes(b"\x00")
    assert (await answers(socket))[-1]["code"] == "bad_frame"
    await socket.send_str("hello")
    assert (await answers(socket))[-1]["type"] == "done"


async def test_several_clients_talk_at_once(http: aiohttp.ClientSession, slow: Served) -> None:
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(http.ws_connect(f"{slow.ws_url}/chat")) for _ in range(4)]
        for number, socket in enumerate(sockets):
            await socket.send_str(f"number {number}")
        first = [json.loads(await socket.receive_str(timeout=PATIENCE_S)) for socket in sockets]
        assert [message["type"] for message in first] == ["token"] * 4
        for number, socket in enumerate(sockets):
            assert (await answers(socket))[-1]["response"] == f"You said: number {number}"


async def test_more_lines_than_may_wait_are_refused(http: aiohttp.ClientSession, slow: Served) -> None:
    async with http.ws_connect(f"{slow.ws_url}/chat") as socket:
        for _ in range(30):
            await socket.send_str(LONG)
        error = (await answers(socket))[-1]
        assert (error["type"], error["code"]) == ("error", "busy")


async def test_closing_cancels_the_turn_in_progress(http: aiohttp.ClientSession, slow: Served) -> None:
    async with http.ws_connect(f"{slow.ws_url}/chat") as socket:
        await socket.send_str(LONG)
        await socket.receive_str(timeout=PATIENCE_S)
    await until_counted(http, slow, 'riposte_turns_total{clock="text",reason="cancelled"}')


async def test_an_idle_client_is_told_and_closed(http: aiohttp.ClientSession) -> None:
    async with (
        serving(server__fake=True, server__drain_s=0.0, limits__idle_s=0.05) as served,
        http.ws_connect(f"{served.ws_url}/chat") as socket,
    ):
        assert (await answers(socket))[-1]["code"] == "idle"
        await socket.receive(timeout=PATIENCE_S)
        assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY


async def test_pings_keep_no_socket_open(http: aiohttp.ClientSession) -> None:
    async with (
        serving(server__fake=True, server__drain_s=0.0, limits__idle_s=0.3) as served,
        http.ws_connect(f"{served.ws_url}/chat") as socket,
    ):

        async def ping() -> None:
            while True:
                await socket.ping()
                await asyncio.sleep(0.02)

        pinging = asyncio.create_task(ping(), name="pings")
        try:
            async with asyncio.timeout(PATIENCE_S / 2):
                assert (await answers(socket))[-1]["code"] == "idle"
        finally:
            pinging.cancel()


async def test_a_socket_that_closes_takes_its_conversation_with_it(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[SessionTable] = []

    class Seen(SessionTable):
        def __init__(self, config: Config, metrics: Metrics) -> None:
            super().__init__(config, metrics)
            tables.append(self)

    monkeypatch.setattr("riposte.app.SessionTable", Seen)
    async with serving(server__fake=True, server__drain_s=0.0) as served:
        async with http.ws_connect(f"{served.ws_url}/chat") as socket:
            await socket.send_str("hello")
            await answers(socket)
            await socket.send_json(chat("hello", "a name of its own"))
            await answers(socket)
            assert len(tables[0]) == 2
        async with asyncio.timeout(PATIENCE_S):
            while len(tables[0]) > 1:  # noqa: ASYNC110  the end of a handler has no event here
                await asyncio.sleep(0.01)
        assert len(tables[0]) == 1  # whoever names a conversation may come back to it


async def test_all_sockets_are_closed_at_once(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = web.WebSocketResponse.close

    async def slow_close(socket: web.WebSocketResponse, **options: Any) -> bool:
        await asyncio.sleep(0.2)  # as with a client that does not read
        return await close(socket, **options)

    async with AsyncExitStack() as stack:
        async with serving(server__fake=True, server__drain_s=0.0) as served:
            for _ in range(10):
                await stack.enter_async_context(http.ws_connect(f"{served.ws_url}/chat"))
            monkeypatch.setattr(web.WebSocketResponse, "close", slow_close)
            began = time.monotonic()
        assert time.monotonic() - began < 10 * 0.2 / 2


async def test_a_client_that_does_not_read_does_not_hold_up_the_end(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CLOSE_S", 0.2)
    async with AsyncExitStack() as stack:
        async with serving(server__fake=True, server__drain_s=0.0, limits__slow_client_s=60.0) as served:
            reader, writer = await asyncio.open_connection(
                *served.url.removeprefix("http://").split(":"), limit=1_024
            )
            stack.callback(writer.close)
            writer.write(
                b"GET /ws/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            # Each empty message of bytes is answered with an error, which this client never reads.
            writer.write(b"\x82\x80\0\0\0\0" * 200_000)
            told = 0.0
            while not told or told != await figure(http, served, BAD_FRAMES):  # until it can tell no more
                told = await figure(http, served, BAD_FRAMES)
                await asyncio.sleep(0.2)
            assert told < 200_000
            began = time.monotonic()
        assert time.monotonic() - began < 5


async def test_the_end_of_the_server_is_told(http: aiohttp.ClientSession) -> None:
    async with serving(server__fake=True, server__drain_s=0.0) as served:
        socket = await http.ws_connect(f"{served.ws_url}/chat")
        await socket.send_str("hello")
        await answers(socket)
        reading = asyncio.create_task(socket.receive(timeout=PATIENCE_S), name="client-reads")
    await reading
    assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
    await socket.close()
