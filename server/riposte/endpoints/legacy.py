"""The plain routes: POST /chat, /chat/stream and /tts, GET /voices. Each is an adapter of a session.

Nothing is cached, and nothing is sent before the first frame is there: what refuses a request has its
own HTTP status. After that a failure is told in the stream, or by breaking it off. A client that leaves
cancels its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from aiohttp import hdrs, web

from riposte.audio import wav_header
from riposte.endpoints import chat_socket
from riposte.endpoints.bodies import chat_body, reply_of, speech_body, told
from riposte.endpoints.keys import CONFIG, SESSIONS
from riposte.endpoints.middleware import allow_origin
from riposte.errors import ClientError
from riposte.wire.frames import AudioOut, Done, ServerFrame, Token

_NOT_KEPT = {hdrs.CACHE_CONTROL: "no-store"}


def add_routes(app: web.Application) -> None:
    """Add the routes of this module, and /ws/chat."""
    app.on_response_prepare.append(allow_origin)
    app.router.add_post("/chat", chat)
    app.router.add_post("/chat/stream", chat_stream)
    app.router.add_post("/tts", tts)
    app.router.add_get("/voices", voices)
    chat_socket.add_routes(app)


async def chat(request: web.Request) -> web.Response:
    """POST /chat: the whole reply at once."""
    began = time.monotonic()
    asked = chat_body(await request.read())
    reply = []
    async with aclosing(request.app[SESSIONS].chat_turn(asked.session_id, asked.message)) as frames:
        async for text in reply_of(frames):
            _check_present(request)
            reply.append(text)
    answer = {
        "response": "".join(reply),
        "session_id": asked.session_id,
        "latency_ms": round((time.monotonic() - began) * 1000, 1),
    }
    return _json(answer)


async def chat_stream(request: web.Request) -> web.StreamResponse:
    """POST /chat/stream: the reply as server-sent events, token by token."""
    asked = chat_body(await request.read())
    async with aclosing(request.app[SESSIONS].chat_turn(asked.session_id, asked.message)) as frames:
        tokens = reply_of(frames)
        first = await anext(tokens, None)
        # nginx gathers a response before it passes it on, unless it is told not to.
        out = await _begun(request, "text/event-stream", {"X-Accel-Buffering": "no"})
        try:
            if first is not None:
                await _write(request, out, _event({"token": first}))
            async for token in tokens:
                await _write(request, out, _event({"token": token}))
            await _write(request, out, b"data: [DONE]\n\n")
        except ClientError as exc:
            told(request.app, exc)
            await _write(request, out, _event({"error": {"code": exc.code, "message": str(exc)}}))
        except TimeoutError:
            _break_off(request)
    return out


async def tts(request: web.Request) -> web.StreamResponse:
    """POST /tts: a WAV file, sent as it is made."""
    asked = speech_body(await request.read())
    sessions = request.app[SESSIONS]
    rate_hz = sessions.ready_models().tts.rate_hz
    async with aclosing(sessions.say(asked.text, asked.voice)) as frames:
        sound = _sound_of(frames)
        first = await anext(sound, None)
        out = await _begun(request, "audio/wav", {})
        try:
            # Nothing to pronounce is a whole file, of no sound; else nobody knows yet how long it is.
            await _write(request, out, wav_header(rate_hz, None if first is not None else 0))
            if first is not None:
                await _write(request, out, first)
            async for pcm in sound:
                await _write(request, out, pcm)
        except ClientError as exc:
            told(request.app, exc)
            _break_off(request)  # a file cannot say that it is not whole
        except TimeoutError:
            _break_off(request)
    return out


async def voices(request: web.Request) -> web.Response:
    """GET /voices: what `voice` may be; the first is the default."""
    return _json(request.app[SESSIONS].ready_models().tts.voices)


async def _sound_of(frames: AsyncGenerator[ServerFrame, None]) -> AsyncGenerator[bytes, None]:
    async for frame in frames:
        match frame:
            case AudioOut(pcm=pcm):
                yield pcm
            case Done() | Token():
                pass
            case _:
                raise_if_error(frame)


async def _begun(request: web.Request, content_type: str, headers: dict[str, str]) -> web.StreamResponse:
    out = web.StreamResponse(headers={hdrs.CONTENT_TYPE: content_type, **_NOT_KEPT, **headers})
    await out.prepare(request)
    return out


async def _write(request: web.Request, out: web.StreamResponse, content: bytes) -> None:
    """Write, and wait for a client that reads slowly, though not for ever: raises TimeoutError."""
    async with asyncio.timeout(request.app[CONFIG].limits.slow_client_s):
        await out.write(content)


def _break_off(request: web.Request) -> None:
    """Cut the connection, so that the client sees an unfinished answer as one."""
    if request.transport is not None:
        request.transport.abort()
