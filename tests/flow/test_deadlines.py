"""Whatever never answers, somebody stops waiting for it: the waits that docs/behaviour.md names."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from conftest import fakes, serving
from talking import WAIT_S, heard_nothing_more, of, pcm, speak, tokens, until

from riposte import app as riposte_app
from riposte import sessions as riposte_sessions
from riposte.backends.fake import HANG_ASR, HANG_LLM, HANG_TTS
from riposte.client import Client, connect
from riposte.config import load_config
from riposte.endpoints import bodies
from riposte.endpoints.keys import ServerState
from riposte.errors import ModelError
from riposte.metrics import Metrics
from riposte.sessions import SessionTable
from riposte.wire import frames as wire

SOON = {
    "turn__asr_deadline_s": 0.1,
    "turn__llm_deadline_s": 0.1,
    "turn__tts_deadline_s": 0.1,
    "turn__stop_deadline_s": 0.1,
    "server__drain_s": 0.1,
}
DEAF = {kind: {"deaf": True} for kind in ("asr", "llm", "tts")}


def long_said() -> str:
    return f"a clause that is long enough to be two pieces {HANG_TTS}"


async def ask(client: Client, what: str) -> None:
    """Begin a turn in which that model never answers."""
    if what == "asr":
        await client.send(wire.Hello(turn_detection="none"))
        await until(client, wire.Ready)
        await speak(client, pcm(HANG_ASR))
        await client.send(wire.End())
    else:
        await client.send(wire.Text(f"well {HANG_LLM}" if what == "llm" else long_said()))


@pytest.mark.parametrize("deaf", [False, True], ids=["lets go", "deaf"])
@pytest.mark.parametrize("what", ["asr", "llm", "tts"])
async def test_a_model_that_never_answers_ends_its_turn_in_an_error(what: str, deaf: bool) -> None:
    async with serving(fakes(**DEAF if deaf else {}), **SOON) as served, connect(served.ws_url) as client:
        await ask(client, what)
        frames = await until(client, wire.Done)
        assert [frame.code for frame in of(frames, wire.Error)] == ["engine"]
        assert frames[-1].reason == "error"
        frames = [frame async for frame in client.turn("the next one")]
        assert (tokens(frames), frames[-1].reason) == ("You said: the next one", "stop")


@pytest.mark.parametrize("what", ["asr", "llm", "tts"])
async def test_a_turn_that_is_cancelled_ends_though_its_model_does_not_let_go(what: str) -> None:
    patient = SOON | {f"turn__{kind}_deadline_s": 30.0 for kind in ("asr", "llm", "tts")}
    async with serving(fakes(**DEAF), **patient) as served, connect(served.ws_url) as client:
        await ask(client, what)
        await heard_nothing_more(client)
        await client.send(wire.Cancel())
        frames = await until(client, wire.Done)
        assert frames[-1].reason == "cancelled"
        assert not of(frames, wire.Error)


async def test_turns_end_in_their_order_though_a_model_does_not_let_go() -> None:
    async with serving(fakes(**DEAF), **SOON) as served, connect(served.ws_url) as client:
        await client.send(wire.Text(f"well {HANG_LLM}"))
        await until(client, wire.Token)
        await client.send(wire.Text("the second"))
        frames = await until(client, wire.Done, 2)
        assert [(done.turn, done.reason) for done in of(frames, wire.Done)] == [
            (1, "interrupted"),
            (2, "stop"),
        ]
        assert not [frame for frame in frames if getattr(frame, "turn", 2) == 1 and not _is_end(frame)]


def _is_end(frame: wire.ServerFrame) -> bool:
    return isinstance(frame, wire.Done | wire.Playback | wire.Token)


async def test_a_voice_detector_that_never_answers_is_an_error_and_no_more() -> None:
    async with serving(fakes(vad={"hang": True}), **SOON) as served, connect(served.ws_url) as client:
        await speak(client, bytes(2 * 1280))
        errors = of(await heard_nothing_more(client), wire.Error)
        assert {error.code for error in errors} == {"engine"}
        assert [frame async for frame in client.turn("typed all the same")][-1].reason == "stop"


async def test_a_hint_that_is_never_taken_keeps_nobody() -> None:
    profile = fakes(llm={"context_tokens": 40, "deaf": True})
    async with (
        asyncio.timeout(WAIT_S),
        serving(profile, llm__instructions="", **SOON) as served,
        connect(served.ws_url, modalities=["text"], max_tokens=1) as client,
    ):
        for number in range(12):
            # A reply of one word does not hang; the prompt that is brought into the cache after it does.
            frames = [frame async for frame in client.turn(f"this is number {number} {HANG_LLM}")]
            assert frames[-1].reason == "length"


async def test_messages_of_a_conversation_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(riposte_sessions, "CHAT_WAIT_S", 0.1)
    async with serving(fakes(), server__drain_s=0.1) as served, aiohttp.ClientSession() as http:

        async def chat(message: str) -> tuple[int, str]:
            body = {"message": message, "session_id": "one"}
            async with http.post(f"{served.url}/chat/stream", json=body) as answer:
                return answer.status, await answer.text()

        body = {"message": f"well {HANG_LLM}", "session_id": "one"}
        async with http.post(f"{served.url}/chat/stream", json=body) as first:
            await first.content.readany()  # it is being answered
            status, told = await chat("and me")
            assert (status, json.loads(told)["error"]["code"]) == (503, "busy")
        async with asyncio.timeout(WAIT_S):
            while (await chat("and now"))[0] != 200:  # the first has left, which takes a moment to be seen
                pass


async def test_a_body_that_does_not_arrive_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_S", 0.1)
    async with serving(fakes(), server__drain_s=0.1) as served:
        answer = await raw(
            served.url,
            b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n"
            b"Content-Type: application/json\r\n\r\n{",
        )
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"timeout"' in answer


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /health HTTP/1.1\r\nHos", b"GET /voices HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ids=["nothing", "half a header", "a request"],
)
async def test_a_connection_without_a_request_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(riposte_app, "HTTP_IDLE_S", 0.2)
    async with serving(fakes(), server__drain_s=0.1) as served:
        await raw(served.url, sent)


async def test_an_answer_that_is_not_read_is_broken_off() -> None:
    """Of no route here: none has an answer that is sure to be more than two kernels hold."""

    async def much(request: web.Request) -> web.Response:
        return web.Response(body=bytes(32 << 20))

    @web.middleware
    async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        given_up.set()
        return answer

    given_up = asyncio.Event()
    config = load_config(None, {}, {"limits.slow_client_s": 0.2}).config
    metrics = Metrics()
    sessions = SessionTable(config, metrics)
    served = riposte_app.build_app(config, metrics, ServerState("starting", "fake"), sessions)
    served.router.add_get("/much", much)
    served.middlewares.insert(0, outermost)
    async with TestServer(served) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1)
        try:
            writer.write(b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(WAIT_S):
                await given_up.wait()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(32 << 20)
        finally:
            writer.close()


async def raw(url: str, sent: bytes) -> bytes:
    """Send bytes, and return what comes until the server hangs up."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        async with asyncio.timeout(WAIT_S):
            if b"Content-Length" in sent:
                return await reader.readuntil(b"}}")
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_models_that_are_never_ready_are_told() -> None:
    with pytest.raises(ModelError, match=r"not ready after 0\.1 s"):
        async with serving(fakes(llm={"load_s": 5.0}), server__start_deadline_s=0.1):
            pass
