"""Frames to bytes and back: MessagePack in binary messages, JSON with base64 in text messages."""

from __future__ import annotations

import msgspec

from riposte.errors import BadFrame
from riposte.wire.frames import AudioIn, ClientFrame, ServerFrame

# Built once: a decoder compiles its type when it is made, which costs far more than a frame.
_client_msgpack: msgspec.msgpack.Decoder[ClientFrame] = msgspec.msgpack.Decoder(ClientFrame)
_client_json: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)
_server_msgpack: msgspec.msgpack.Decoder[ServerFrame] = msgspec.msgpack.Decoder(ServerFrame)
_server_json: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)
_msgpack = msgspec.msgpack.Encoder()
_json = msgspec.json.Encoder()


def decode_client(message: bytes | str) -> ClientFrame:
    """Decode one client message: bytes are MessagePack, str is JSON.

    Raises BadFrame, which names the field, for anything that does not decode: a wrong type, an unknown
    tag, bytes that are no MessagePack, nesting beyond the decoder's depth, an odd number of PCM bytes.
    """
    try:
        frame = _client_json.decode(message) if isinstance(message, str) else _client_msgpack.decode(message)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as exc:
        raise BadFrame(_sentence(exc)) from exc
    if isinstance(frame, AudioIn) and len(frame.pcm) % 2:
        raise BadFrame(f"audio.pcm has {len(frame.pcm)} bytes; 16-bit samples need an even number")
    return frame


def decode_server(message: bytes | str) -> ServerFrame:
    """Decode one server message; the client's side of `encode`. Raises BadFrame like `decode_client`."""
    try:
        if isinstance(message, str):
            return _server_json.decode(message)
        return _server_msgpack.decode(message)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as exc:
        raise BadFrame(_sentence(exc)) from exc


def encode(frame: ClientFrame | ServerFrame) -> bytes:
    """Encode one frame as MessagePack, for a binary message."""
    return _msgpack.encode(frame)


def encode_json(frame: ClientFrame | ServerFrame) -> str:
    """Encode one frame as JSON, bytes in base64, for a text message."""
    return _json.encode(frame).decode()


def _sentence(exc: BaseException) -> str:
    # A decoder's text may quote the input; a frame can be a megabyte.
    text = str(exc) or type(exc).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
