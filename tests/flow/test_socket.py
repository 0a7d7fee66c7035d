"""The native socket itself: encodings, limits, and when it hangs up."""

from __future__ import annotations

import asyncio
import base64
import json
import socket

import aiohttp
import msgspec
import pytest
from conftest import Served, serving
from talking import WAIT_S, until, until_closed

from riposte.client.client import Client, Closed, connect
from riposte.wire import frames as wire


async def test_json_in_json_out(served: Served) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(served.ws_url) as socket:
        await socket.send_str('{"type": "hello", "version": 1, "later": "unknown fields are skipped"}')
        ready = json.loads((await socket.receive(WAIT_S)).data)
        assert (ready["type"], ready["resumed"]) == ("ready", False)
        await socket.send_str('{"type": "text", "text": "bonjour"}')
        kinds = set()
        while (frame := json.loads((await socket.receive(WAIT_S)).data))["type"] != "done":
            kinds.add(frame["type"])
            if frame["type"] == "audio":
                assert len(base64.b64decode(frame["pcm"])) % 2 == 0
        assert {"token", "clause", "audio"} <= kinds


async def test_the_subprotocol_is_selected_when_offered(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(served.ws_url, protocols=["riposte.v1"]) as socket:
            assert socket.protocol == "riposte.v1"
        async with http.ws_connect(served.ws_url) as socket:
            assert socket.protocol is None


async def test_another_frame_first_is_told_to_say_hello(served: Served) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(served.ws_url) as socket:
        await socket.send_bytes(msgspec.msgpack.encode({"type": "text", "text": "hi"}))
        message = await socket.receive(WAIT_S)
        assert message.type is aiohttp.WSMsgType.BINARY
        assert msgspec.msgpack.decode(message.data)["code"] == "no_hello"
        await socket.send_str('{"type": "text", "text": "hi"}')
        assert json.loads((await socket.receive(WAIT_S)).data)["code"] == "no_hello"


async def test_twenty_bad_frames_in_a_row_close_the_connection(client: Client) -> None:
    for _ in range(19):
        await client._socket.send_bytes(b"\xc1")
    await client.send(wire.Mark(1))
    frames = await until(client, wire.Mark)
    assert [frame.code for frame in frames[:-1]] == ["bad_frame"] * 19
    for _ in range(20):
        await client._socket.send_bytes(b"\x93\x01")
    _, close_code = await until_closed(client)
    assert close_code == 1008


def small_socket(address: tuple) -> socket.socket:
    """A client's socket that takes little before its kernel makes the server wait."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    return made


async def test_a_client_that_does_not_read_is_hung_up_on_and_told_why() -> None:
    connector = aiohttp.TCPConnector(socket_factory=small_socket)

    async def metrics() -> str:
        async with http.get(f"{served.url}/metrics") as answer:
            return 'code="slow_client"} 1.0' if 'code="slow_client"} 1.0' in await answer.text() else ""

    async with (
        serving(server__fake=True, limits__slow_client_s=0.3) as served,
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(served.ws_url) as websocket,
    ):
        await websocket.send_str('{"type": "hello", "modalities": ["text"], "max_tokens": 8000}')
        websocket._response.connection.transport.pause_reading()
        async with asyncio.timeout(30):
            while not await metrics():
                await websocket.send_str('{"type": "text", "text": "count to 8000"}')
                await asyncio.sleep(0.3)
        websocket._response.connection.transport.resume_reading()
        codes = []
        while (message := await websocket.receive(WAIT_S)).type is aiohttp.WSMsgType.TEXT:
            codes.append(json.loads(message.data).get("code"))
        assert codes[-1] == "slow_client"
        assert websocket.close_code == 1008


async def test_an_unsupported_version_closes_with_1002(served: Served) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(served.ws_url) as socket:
        await socket.send_str('{"type": "hello", "version": 9}')
        assert json.loads((await socket.receive(WAIT_S)).data)["code"] == "unsupported_version"
        assert (await socket.receive(WAIT_S)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert socket.close_code == 1002


async def test_a_message_over_the_limit_closes_with_1009() -> None:
    async with (
        serving(server__fake=True, limits__message_bytes=65_536) as served,
        aiohttp.ClientSession() as http,
        http.ws_connect(served.ws_url) as socket,
    ):
        await socket.send_bytes(bytes(70_000))
        await socket.receive(WAIT_S)
        assert socket.close_code == 1009


async def test_an_idle_connection_is_closed() -> None:
    async with (
        serving(server__fake=True, limits__idle_s=0.2) as served,
        connect(served.ws_url) as client,
    ):
        frames = await until(client, wire.Error)
        assert frames[-1].code == "idle"
        with pytest.raises(Closed) as closed:
            await client.receive(WAIT_S)
        assert closed.value.close_code == 1001
