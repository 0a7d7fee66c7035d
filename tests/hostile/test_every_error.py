"""Every code of the protocol's table is provoked through a real socket; a new code needs a row here."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator

import aiohttp
import pytest
from conftest import Served, fakes, serving
from leaks import no_leaks, tables
from talking import WAIT_S, heard_nothing_more, of, pcm, speak, until, until_closed

from riposte.backends.fake import FAIL_LLM
from riposte.client.client import Client, connect
from riposte.errors import ClientError
from riposte.wire import frames as wire
from riposte.wire.codec import decode_server, encode

Provoke = Callable[[], Awaitable[tuple[str, int | None]]]

_FAKE = {"server__fake": True, "server__drain_s": 0.0}


async def _answer(client: Client, sent: wire.ClientFrame | bytes) -> tuple[str, int | None]:
    """Send a frame, return the code of the error that answers it; the connection must be well after it."""
    if isinstance(sent, bytes):
        await client._socket.send_bytes(sent)
    else:
        await client.send(sent)
    errors = of(await heard_nothing_more(client), wire.Error)
    assert len(errors) == 1, errors
    assert (errors[0].turn, bool(errors[0].message)) == (None, True)
    await client.send(wire.Hello(modalities=["text"]))
    await until(client, wire.Ready)
    return errors[0].code, None


async def _first_answer(ws: aiohttp.ClientWebSocketResponse) -> tuple[str, int | None]:
    """Return the code of the error on a socket without a session, and how the server hung up if it did."""
    frame = decode_server((await ws.receive(WAIT_S)).data)
    assert isinstance(frame, wire.Error), frame
    if frame.code in ("unsupported_version", "idle"):
        await ws.receive(WAIT_S)
    return frame.code, ws.close_code


async def _refused_hello(served: Served, hello: wire.ClientFrame) -> tuple[str, int | None]:
    async with aiohttp.ClientSession() as http, http.ws_connect(served.ws_url) as ws:
        await ws.send_bytes(encode(hello))
        return await _first_answer(ws)


async def _failed_turn(profile_options: dict, text: str) -> tuple[str, int | None]:
    async with (
        serving(fakes(**profile_options), server__drain_s=0.0) as served,
        no_leaks(),
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        await client.send(wire.Text(text))
        *_, error, done = await until(client, wire.Done)
        assert (error.turn, done.reason) == (1, "error")
        return error.code, None


async def bad_frame() -> tuple[str, int | None]:
    async with serving(**_FAKE) as served, no_leaks(), connect(served.ws_url) as client:
        assert await _answer(client, b"\xc1") == ("bad_frame", None)
        for _ in range(20):
            await client._socket.send_bytes(b"\xc1")
        frames, close_code = await until_closed(client)
        return frames[-1].code, close_code


async def bad_value() -> tuple[str, int | None]:
    async with serving(**_FAKE) as served, no_leaks(), connect(served.ws_url) as client:
        return await _answer(client, wire.Hello(audio_in_hz=7))


async def unknown_voice() -> tuple[str, int | None]:
    async with serving(**_FAKE) as served, no_leaks(), connect(served.ws_url) as client:
        return await _answer(client, wire.Say("hello", "nobody's"))


async def unavailable() -> tuple[str, int | None]:
    async with serving(**_FAKE) as served, no_leaks(), connect(served.ws_url) as client:
        return await _answer(client, wire.Hello(language="tlh"))


async def unsupported_version() -> tuple[str, int | None]:
    async with serving(**_FAKE) as served, no_leaks():
        return await _refused_hello(served, wire.Hello(version=2))


async def no_hello() -> tuple[str, int | None]:
    async with serving(**_FAKE) as served, no_leaks():
        return await _refused_hello(served, wire.Text("hello"))


async def busy() -> tuple[str, int | None]:
    async with serving(**_FAKE, limits__sessions=1) as served, no_leaks(), connect(served.ws_url):
        return await _refused_hello(served, wire.Hello())


async def too_large() -> tuple[str, int | None]:
    async with serving(**_FAKE) as served, no_leaks(), connect(served.ws_url) as client:
        return await _answer(client, wire.Text("x" * 4_001))


async def rate_limited() -> tuple[str, int | None]:
    async with (
        serving(**_FAKE, limits__turns_per_minute=1) as served,
        no_leaks(),
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        assert [frame async for frame in client.turn("one")][-1].reason == "stop"
        return await _answer(client, wire.Text("two"))


async def unknown_session() -> tuple[str, int | None]:
    async with serving(**_FAKE) as served, no_leaks():
        return await _refused_hello(served, wire.Hello(session="nobody's"))


async def slow_client() -> tuple[str, int | None]:
    connector = aiohttp.TCPConnector(socket_factory=_small_socket)
    talkative = fakes(llm={"reply": lambda _: "x" * 1_000_000})
    async with (
        serving(talkative, server__drain_s=0.0, limits__slow_client_s=0.3) as served,
        no_leaks(),
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(served.ws_url) as ws,
    ):
        await ws.send_bytes(encode(wire.Hello(modalities=["text"])))
        await ws.receive(WAIT_S)
        transport = ws._response.connection.transport
        transport.pause_reading()
        (outbox,) = [session._outbox for session in tables()[0]]
        while outbox.close_code is None:
            await ws.send_bytes(encode(wire.Text("more")))
            await asyncio.sleep(0.05)
        transport.resume_reading()
        while (message := await ws.receive(WAIT_S)).type is aiohttp.WSMsgType.BINARY:
            frame = decode_server(message.data)
        assert isinstance(frame, wire.Error)
        return frame.code, ws.close_code


def _small_socket(address: tuple) -> socket.socket:
    """Make a socket that takes little before its kernel makes the server wait."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    return made


async def idle() -> tuple[str, int | None]:
    async with (
        serving(**_FAKE, limits__idle_s=0.1) as served,
        no_leaks(),
        aiohttp.ClientSession() as http,
        http.ws_connect(served.ws_url) as ws,
    ):
        return await _first_answer(ws)


async def engine() -> tuple[str, int | None]:
    return await _failed_turn({}, FAIL_LLM)


async def internal() -> tuple[str, int | None]:
    def fails(messages: object) -> str:
        raise RuntimeError("/a/path and what the user said")

    return await _failed_turn({"llm": {"reply": fails}}, "hello")


async def draining() -> tuple[str, int | None]:
    async with serving(fakes(llm={"token_s": 0.01}), server__drain_s=10.0) as served:
        context = connect(served.ws_url, modalities=["text"])
        client = await context.__aenter__()
        await client.send(wire.Text("count to 40"))
        await until(client, wire.Token)
        reading = asyncio.create_task(until_closed(client))
    frames, close_code = await reading
    await context.__aexit__(None, None, None)
    assert of(frames, wire.Done)[0].reason == "stop"
    return of(frames, wire.Error)[0].code, close_code


# code → what provokes it, and the code with which the server then hangs up
PROVOKED: dict[str, tuple[Provoke, int | None]] = {
    "bad_frame": (bad_frame, 1008),
    "bad_value": (bad_value, None),
    "unknown_voice": (unknown_voice, None),
    "unavailable": (unavailable, None),
    "unsupported_version": (unsupported_version, 1002),
    "no_hello": (no_hello, None),
    "busy": (busy, None),
    "too_large": (too_large, None),
    "rate_limited": (rate_limited, None),
    "unknown_session": (unknown_session, None),
    "slow_client": (slow_client, 1008),
    "idle": (idle, 1001),
    "engine": (engine, None),
    "draining": (draining, 1001),
    "internal": (internal, None),
}


def codes(kind: type[ClientError] = ClientError) -> Iterator[str]:
    yield kind.code
    for special in kind.__subclasses__():
        yield from codes(special)


@pytest.mark.parametrize("code", sorted(set(codes()) | set(PROVOKED)))
async def test_a_code_of_the_table_is_told_and_the_connection_goes_on_or_closes_as_it_says(code: str) -> None:
    provoke, close_code = PROVOKED[code]
    assert await provoke() == (code, close_code)


async def test_speech_that_no_turn_may_be_made_of_is_told_and_given_back() -> None:
    async with (
        serving(**_FAKE, limits__turns_per_minute=1) as served,
        no_leaks(),
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        assert [frame async for frame in client.turn("one")]
        await speak(client, pcm("words for nothing", lead_s=0.2, tail_s=0.6))
        assert (await until(client, wire.Error))[-1].code == "rate_limited"
