"""Fifty clients at once, and one more than there may be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from conftest import Served, fakes, serving
from leaks import becomes, flat_memory, no_leaks, tables
from talking import of, pcm, speak

from riposte.client.client import Client, connect
from riposte.errors import Busy
from riposte.wire import frames as wire

WAIT_S = 60.0
CLIENTS = 50


async def answered(client: Client) -> list[wire.ServerFrame]:
    frames: list[wire.ServerFrame] = []
    while not (frames and isinstance(frames[-1], wire.Done)):
        frames.append(await client.receive(WAIT_S))
    return frames


async def together(work: list[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for number, each in enumerate(work):
            group.create_task(each, name=f"client-{number}")


async def types(url: str, number: int) -> None:
    async with connect(url, modalities=["text"], ready_s=WAIT_S) as client:
        for turn in (1, 2):
            await client.send(wire.Text(f"this is number {number}"))
            frames = await answered(client)
            assert (frames[-1].turn, frames[-1].reason) == (turn, "stop")
            text = "".join(frame.text for frame in of(frames, wire.Token))
            assert text == f"You said: this is number {number}"


async def speaks(url: str, number: int) -> None:
    async with connect(url, turn_detection="none", ready_s=WAIT_S, json=number % 2 == 0) as client:
        await speak(client, pcm(f"number {number}"))
        await client.send(wire.End())
        frames = await answered(client)
        assert (of(frames, wire.Transcript)[-1].text, frames[-1].reason) == (f"number {number}", "stop")
        seq = [frame.seq for frame in of(frames, wire.AudioOut)]
        assert seq == list(range(len(seq)))
        assert seq


async def leaves(url: str, number: int) -> None:
    async with connect(url, ready_s=WAIT_S) as client:
        await client.send(wire.Text("count to 400"))
        await client.receive(WAIT_S)
        if number % 2:
            client._socket._response.connection.transport.abort()


async def test_fifty_clients_type_speak_and_leave_at_once() -> None:
    profile = fakes(llm={"token_s": 0.001}, tts={"char_ms": 1})
    async with serving(profile, server__drain_s=0.0) as served:
        async with no_leaks():
            ways = (types, speaks, leaves, types, speaks)
            await together([ways[number % 5](served.ws_url, number) for number in range(CLIENTS)])
        async with aiohttp.ClientSession() as http, http.get(f"{served.url}/health") as answer:
            state = await answer.json()
            assert (state["status"], state["sessions"]) == ("healthy", 0)


async def test_the_same_crowd_again_and_again_needs_no_more_memory() -> None:
    # A session is kept for an hour by default: here it is forgotten at once.
    settings: dict[str, Any] = {"server__drain_s": 0.0, "limits__session_kept_s": 0.0}
    async with serving(fakes(llm={"token_s": 0.001}), **settings) as served, no_leaks():

        async def crowd() -> None:
            await together([types(served.ws_url, number) for number in range(10)])
            await becomes(lambda: tables()[0].connected == 0)

        await flat_memory(crowd, times=4, grown_bytes=200_000)


async def test_one_client_too_many_is_told_and_takes_the_place_of_one_who_leaves() -> None:
    async with (
        serving(server__fake=True, server__drain_s=0.0, limits__sessions=CLIENTS) as served,
        no_leaks(),
        AsyncExitStack() as stack,
    ):
        for _ in range(CLIENTS - 1):
            await stack.enter_async_context(connect(served.ws_url, modalities=["text"]))
        async with connect(served.ws_url, modalities=["text"]) as last:
            for _ in range(3):
                with pytest.raises(Busy, match="try again"):
                    async with connect(served.ws_url):
                        pass
            async with aiohttp.ClientSession() as http:
                body = {"message": "hello", "session_id": "s", "text": "hello"}
                for path in ("/chat", "/chat/stream", "/tts"):
                    async with http.post(f"{served.url}{path}", json=body) as answer:
                        assert answer.status == 503
                        assert (await answer.json())["error"]["code"] == "busy"
            assert [frame async for frame in last.turn("still fine")][-1].reason == "stop"
        await becomes(lambda: tables()[0].connected == CLIENTS - 1)
        async with connect(served.ws_url, modalities=["text"]) as client:
            assert [frame async for frame in client.turn("in at last")][-1].reason == "stop"


async def test_conversations_that_are_kept_take_no_place_beyond_the_limit() -> None:
    """A conversation of /chat that exists already counts like a new one when it speaks again."""
    async with (
        serving(fakes(llm={"token_s": 0.01}), server__drain_s=0.0, limits__sessions=1) as served,
        no_leaks(),
        aiohttp.ClientSession() as http,
    ):

        async def chat(session: str, message: str) -> int:
            body = {"message": message, "session_id": session}
            async with http.post(f"{served.url}/chat", json=body) as answer:
                await answer.read()
                return answer.status

        assert [await chat("a", "hello"), await chat("b", "hello")] == [200, 200]
        first = asyncio.create_task(chat("a", "count to 60"))
        await becomes(lambda: tables()[0].connected == 1)
        assert await chat("b", "hello") == 503
        assert await first == 200
        assert await chat("b", "hello") == 200
        await http.close()


async def test_many_requests_of_one_conversation_are_answered_one_after_the_other(served: Served) -> None:
    async with no_leaks(), aiohttp.ClientSession() as http:

        async def chat(number: int) -> None:
            body = {"message": f"number {number}", "session_id": "one"}
            async with http.post(f"{served.url}/chat", data=json.dumps(body), headers=JSON) as answer:
                assert (await answer.json())["response"] == f"You said: number {number}"

        await together([chat(number) for number in range(30)])
        await http.close()


JSON = {"Content-Type": "application/json"}
