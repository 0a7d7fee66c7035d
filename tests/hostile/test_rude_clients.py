"""Clients that vanish, stall, flood or never finish what they began: nothing of them stays behind."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from conftest import Served, fakes, serving
from leaks import becomes, flat_memory, no_leaks, tables
from rawsocket import BINARY, PING, TEXT, connected, frame
from talking import heard_nothing_more, of, pcm, speak, until

from riposte.client.client import Client, connect
from riposte.wire import frames as wire
from riposte.wire.codec import encode

HELLO = frame(BINARY, encode(wire.Hello()))
MIDWAY = {
    "before hello": b"",
    "after hello": HELLO,
    "in a typed turn": HELLO + frame(BINARY, encode(wire.Text("count to 500"))),
    "in the middle of a word": HELLO
    + b"".join(
        frame(BINARY, encode(wire.AudioIn(pcm("in the middle of a wo")[at : at + 1280])))
        for at in range(0, 25_600, 1280)
    ),
    "in the middle of a frame": HELLO + frame(BINARY, encode(wire.Text("half of this")))[:9],
    "between two fragments": HELLO + frame(TEXT, b'{"type": "te', fin=False),
}


async def well(url: str) -> None:
    """A client that behaves is served as ever."""
    async with connect(url, modalities=["text"]) as client:
        assert [f async for f in client.turn("all is well")][-1].reason == "stop"


@pytest.mark.parametrize("goes", ["resets", "closes its end"])
@pytest.mark.parametrize("sent", MIDWAY.values(), ids=MIDWAY.keys())
async def test_a_client_may_vanish_at_any_moment(slow: Served, sent: bytes, goes: str) -> None:
    async with no_leaks():
        async with connected(slow.url) as raw:
            await raw.upgrade()
            await raw.send(sent)
            if sent.startswith(HELLO):
                await raw.receive()  # ready
            if sent == MIDWAY["in a typed turn"]:
                await raw.receive()  # its first frame
            if goes == "resets":
                raw.reset()
            else:
                raw.writer.write_eof()
                await raw.close_code()
        await becomes(lambda: not any(session.in_turn for session in tables()[0]))
        await well(slow.ws_url)


@pytest.mark.parametrize("route", ["/chat", "/chat/stream", "/tts"])
async def test_a_request_may_be_given_up_in_the_middle_of_its_answer(slow: Served, route: str) -> None:
    body = json.dumps({"message": "count to 500", "session_id": "s", "text": "word " * 700}).encode()
    head = f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with no_leaks():
        async with connected(slow.url) as raw:
            await raw.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await becomes(lambda: any(session.in_turn for session in tables()[0]))
            raw.reset()
        await becomes(lambda: not any(session.in_turn for session in tables()[0]))
        await well(slow.ws_url)


@pytest.mark.parametrize("goes", ["vanishes", "says nothing"])
async def test_a_client_that_owes_a_tools_result_may_go_or_stay(goes: str) -> None:
    light = {"type": "function", "function": {"name": "light", "parameters": {"type": "object"}}}
    async with (
        serving(server__fake=True, server__drain_s=0.0, turn__tool_deadline_s=0.2) as served,
        no_leaks(),
        connect(served.ws_url, modalities=["text"], tools=[light]) as client,
    ):
        await client.send(wire.Text('#tool light {"on": true}'))
        await until(client, wire.ToolCall)
        if goes == "vanishes":
            client._socket._response.connection.transport.abort()
            await becomes(lambda: tables()[0].connected == 0)
            await well(served.ws_url)
        else:
            error, done = (await until(client, wire.Done))[-2:]
            assert (error.code, done.reason) == ("engine", "error")
            assert [f async for f in client.turn("all is well")][-1].reason == "stop"


async def test_a_newer_socket_finds_what_a_vanished_one_was_told(slow: Served) -> None:
    async with no_leaks():
        async with connect(slow.ws_url, modalities=["text"]) as client:
            assert [f async for f in client.turn("remember the milk")]
            session = client.session
            await client.send(wire.Text("count to 500"))
            await until(client, wire.Token, 2)
            client._socket._response.connection.transport.abort()
        async with connect(slow.ws_url, session=session, modalities=["text"]) as client:
            done = [f async for f in client.turn("back again")][-1]
        assert (done.turn, done.reason) == (3, "stop")
        assert done.usage.prompt_tokens > 30


async def test_sound_faster_than_speech_is_heard_whole() -> None:
    sentences = [f"sentence {number} of this talk" for number in range(12)]
    sound = b"".join(pcm(text, lead_s=0.1, tail_s=1.1) for text in sentences)  # sooner, it would go on
    async with (
        serving(fakes(tts={"char_ms": 1}), server__drain_s=0.0) as served,
        no_leaks(),
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        sending = asyncio.create_task(speak(client, sound))
        frames: list[wire.ServerFrame] = []
        while not of(frames, wire.Transcript) or of(frames, wire.Transcript)[-1].text != sentences[-1]:
            frames += await until(client, wire.Transcript)
        await sending
        states = [f.state for f in of(frames, wire.Speech)]
        assert states == ["started", "stopped"] * 12
        assert not of(frames, wire.Error)


async def test_a_client_that_stops_in_mid_word_and_stays_still_gets_its_turn(slow: Served) -> None:
    async with no_leaks(), connect(slow.ws_url, modalities=["text"]) as client:
        await speak(client, pcm("this word is cut o"))
        frames = await until(client, wire.Done)
        assert (of(frames, wire.Transcript)[-1].text, frames[-1].reason) == ("this word is cut o", "stop")


UNFINISHED = {
    "nothing": b"",
    "half a request line": b"GET /hea",
    "half a header": b"GET /health HTTP/1.1\r\nHost: loc",
    "half an upgrade": b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n",
    "half a body": b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 90\r\n\r\n{",
    "half a chunk": b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Transfer-Encoding: chunked\r\n\r\n9\r\n{"te',
}


@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED.keys())
async def test_requests_that_never_end_delay_nobody_and_leave_nothing(served: Served, sent: bytes) -> None:
    async with no_leaks(), AsyncExitStack() as stack:
        for _ in range(40):
            raw = await stack.enter_async_context(connected(served.url))
            await raw.send(sent)
        await well(served.ws_url)


async def test_a_socket_that_never_says_hello_takes_no_session() -> None:
    async with (
        serving(server__fake=True, server__drain_s=0.0, limits__sessions=1) as served,
        no_leaks(),
        AsyncExitStack() as stack,
    ):
        for _ in range(20):
            raw = await stack.enter_async_context(connected(served.url))
            await raw.upgrade()
            await raw.send(HELLO[:5])
        await well(served.ws_url)


async def test_pings_by_the_thousand_delay_no_other_client(served: Served) -> None:
    async with no_leaks(), connected(served.url) as raw:
        await raw.upgrade()
        flood = frame(PING, b"", masked=True) * 5_000
        flooding = asyncio.create_task(raw.send(flood * 4))
        await well(served.ws_url)
        pongs = 0
        while pongs < 20_000:
            await raw.receive()
            pongs += 1
        await flooding
        await raw.send(HELLO)
        assert (await raw.receive())[0] == BINARY


@pytest.mark.parametrize("client_goes", [True, False])
async def test_memory_stays_flat_over_many_clients(slow: Served, client_goes: bool) -> None:
    session: list[str | None] = [None]

    async def scenario() -> None:
        async with connect(slow.ws_url, session=session[0]) as client:
            session[0] = client.session  # kept for an hour, so it is the same one each time
            await client.send(wire.AudioIn(bytes(16_000)))
            await client.send(wire.Text("count to 100"))
            await until(client, wire.Token)
            if client_goes:
                client._socket._response.connection.transport.abort()
            else:
                await _cancelled(client)
        await becomes(lambda: tables()[0].connected == 0)

    async with no_leaks():
        await flat_memory(scenario, times=10, grown_bytes=150_000)


async def _cancelled(client: Client) -> None:
    await client.send(wire.Cancel())
    await until(client, wire.Done)
    await heard_nothing_more(client)
