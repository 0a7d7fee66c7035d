"""The plain routes: POST /chat, /chat/stream and /tts, GET /voices. Each is an adapter of a session.

Nothing is kept, and nothing is sent before the first frame is there: what refuses a request has its own
HTTP status. After that a failure is told in the stream, or by breaking it off. A client that leaves
cancels its turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextlib import aclosing

import msgspec
from aiohttp import web

from riposte.audio import wav_header
from riposte.endpoints import chat_socket
from riposte.endpoints.bodies import chat_body, read_body, sound_of, speech_body, tokens_of
from riposte.endpoints.keys import CONFIG, METRICS, SESSIONS
from riposte.endpoints.middleware import add_headers, is_gone
from riposte.errors import ClientError, SlowClient

_NOT_KEPT = {"Cache-Control": "no-store"}


def add_routes(app: web.Application) -> None:
    """Add the routes of this module, and /ws/chat."""
    app.on_response_prepare.append(add_headers)
    app.router.add_post("/chat", chat)
    app.router.add_post("/chat/stream", chat_stream)
    app.router.add_post("/tts", tts)
    app.router.add_get("/voices", voices)
    chat_socket.add_routes(app)


async def chat(request: web.Request) -> web.Response:
    """POST /chat: the whole reply at once."""
    began = time.monotonic()
    asked = chat_body(await read_body(request))
    reply = []
    turn = request.app[SESSIONS].chat_turn(asked.session_id, asked.message)
    async with aclosing(tokens_of(turn)) as tokens:
        async for token in tokens:
            if is_gone(request):
                raise ConnectionResetError
            reply.append(token)
    answer = {
        "response": "".join(reply),
        "session_id": asked.session_id,
        "latency_ms": round((time.monotonic() - began) * 1000, 1),
    }
    return _json(answer)


async def chat_stream(request: web.Request) -> web.StreamResponse:
    """POST /chat/stream: the reply as server-sent events, token by token."""
    asked = chat_body(await read_body(request))
    turn = request.app[SESSIONS].chat_turn(asked.session_id, asked.message)
    async with aclosing(tokens_of(turn)) as tokens:
        token = await anext(tokens, None)
        # nginx gathers an answer before it passes it on, unless it is told not to.
        out = await _begun(request, "text/event-stream", {"X-Accel-Buffering": "no"})
        try:
            while token is not None:
                await _write(request, out, _event({"token": token}))
                token = await anext(tokens, None)
            await _write(request, out, b"data: [DONE]\n\n")
        except SlowClient:
            raise
        except ClientError as exc:
            request.app[METRICS].count_error(exc.code)
            await _write(request, out, _event({"error": {"code": exc.code, "message": str(exc)}}))
    return out


async def tts(request: web.Request) -> web.StreamResponse:
    """POST /tts: a WAV file, sent as it is made."""
    asked = speech_body(await read_body(request))
    sessions = request.app[SESSIONS]
    rate_hz = sessions.ready_models().tts.rate_hz
    async with aclosing(sound_of(sessions.say(asked.text, asked.voice))) as sound:
        pcm = await anext(sound, None)
        out = await _begun(request, "audio/wav", {})
        # Text with nothing to pronounce is a whole file, of no sound; any other has no known length yet.
        await _write(request, out, wav_header(rate_hz, 0 if pcm is None else None))
        while pcm is not None:
            await _write(request, out, pcm)
            pcm = await anext(sound, None)
    return out


async def voices(request: web.Request) -> web.Response:
    """GET /voices: what `voice` may be; the first is the default."""
    return _json(request.app[SESSIONS].ready_models().tts.voices)


async def _begun(request: web.Request, content_type: str, headers: dict[str, str]) -> web.StreamResponse:
    out = web.StreamResponse(headers={"Content-Type": content_type, **_NOT_KEPT, **headers})
    await _in_time(request, out.prepare(request))
    return out


async def _write(request: web.Request, out: web.StreamResponse, content: bytes) -> None:
    await _in_time(request, out.write(content))


async def _in_time(request: web.Request, writing: Awaitable[object]) -> None:
    """Wait for a client that reads slowly, though not for ever: raises SlowClient."""
    limit_s = request.app[CONFIG].limits.slow_client_s
    try:
        async with asyncio.timeout(limit_s):
            await writing
    except TimeoutError as exc:
        raise SlowClient(f"the client did not read for {limit_s:g} s") from exc


def _event(content: object) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def _json(content: object) -> web.Response:
    body = msgspec.json.encode(content)
    return web.Response(body=body, content_type="application/json", headers=_NOT_KEPT)
