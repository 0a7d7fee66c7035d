"""What the plain routes take and give: bodies to requests, a session's frames to text and sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from riposte.errors import BadValue, ClientError, Draining, EngineError
from riposte.wire.frames import AudioOut, Done, Error, ServerFrame, Token

BODY_S = 20.0  # for a request's body to arrive
SESSION_ID_CHARS = 200  # a name, not a place to keep things

_ERRORS = {kind.code: kind for kind in ClientError.__subclasses__()}
_KINDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


class ChatBody(msgspec.Struct, frozen=True):
    message: str
    session_id: str


class SpeechBody(msgspec.Struct, frozen=True):
    text: str
    voice: str | None


async def read_body(request: web.Request) -> bytes:
    """Return the whole body. Raises HTTPRequestTimeout when it does not come in time."""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError as exc:
        raise web.HTTPRequestTimeout from exc


def chat_body(body: bytes | str, default_session: str | None = None) -> ChatBody:
    """Read {"message", "session_id"}. Raises BadValue, which names the field."""
    fields = _object(body)
    if default_session is not None and fields.get("session_id") is None:
        fields["session_id"] = default_session
    asked = ChatBody(_text(fields, "message"), _text(fields, "session_id"))
    if len(asked.session_id) > SESSION_ID_CHARS:
        raise BadValue(f"session_id has {len(asked.session_id)} characters; {SESSION_ID_CHARS} are allowed")
    return asked


def speech_body(body: bytes) -> SpeechBody:
    """Read {"text", "voice"}; the voice may be left out. Raises BadValue, which names the field."""
    fields = _object(body)
    voice = _text(fields, "voice") if fields.get("voice") is not None else None
    return SpeechBody(_text(fields, "text"), voice)


async def tokens_of(turn: AsyncGenerator[ServerFrame, None]) -> AsyncGenerator[str, None]:
    """Yield a turn's tokens; raise what the turn failed with. Closing closes the turn."""
    async with aclosing(turn):
        async for frame in turn:
            if isinstance(frame, Token):
                yield frame.text
            elif _is_end(frame):
                return
        raise Draining("the server is shutting down; the reply is not whole")


async def sound_of(turn: AsyncGenerator[ServerFrame, None]) -> AsyncGenerator[bytes, None]:
    """Yield a turn's sound; raise what the turn failed with. Closing closes the turn."""
    async with aclosing(turn):
        async for frame in turn:
            if isinstance(frame, AudioOut):
                yield frame.pcm
            elif _is_end(frame):
                return
        raise Draining("the server is shutting down; the sound is not whole")


def _is_end(frame: ServerFrame) -> bool:
    """Tell whether the turn is over and whole; raise where it is over and is not."""
    if isinstance(frame, Error):
        raise _ERRORS.get(frame.code, ClientError)(frame.message)
    if isinstance(frame, Done) and frame.reason not in ("stop", "length"):
        raise EngineError("the turn was cut short; try again")
    return isinstance(frame, Done)


def _object(body: bytes | str) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise BadValue(f"the body is not JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise BadValue("the body is not a JSON object")
    return fields


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, str):
        if not value.strip():
            raise BadValue(f"{name} is empty; a text fits")
        return value
    shown = _KINDS.get(type(value), "null") if name in fields else "missing"
    raise BadValue(f"{name} is {shown}; a text fits")
