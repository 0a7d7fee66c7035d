"""Seeded rubbish on the native socket: whatever comes, the server is well afterwards and nothing is left.

A failure names its seed; HYPOTHESIS_PROFILE=long draws many more.
"""

from __future__ import annotations

import asyncio
import os
import random

import aiohttp
import pytest
from conftest import Served, fakes, serving
from leaks import no_leaks
from rawsocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, connected, frame

from riposte.audio import to_s16
from riposte.backends.fake import FAIL_LLM, FAIL_TTS, fake_speech
from riposte.client.client import connect
from riposte.wire import frames as wire
from riposte.wire.codec import decode_server, encode, encode_json

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
SEEDS = range(400 if LONG else 10)
MESSAGES = 120
SPEECH = to_s16(fake_speech("some words", lead_s=0.05, tail_s=0.45)).tobytes()
TOOLS = [{"type": "function", "function": {"name": "light", "parameters": {"type": "object"}}}]
TEXTS = ("hello", "count to 40", FAIL_LLM, f"well {FAIL_TTS}", "", "\0", "x" * 5_000, '#tool light {"on": 1}')
CLOSE_CODES = {None, 1000, 1002, 1003, 1007, 1008, 1009}


def valid(rng: random.Random) -> wire.ClientFrame:
    at = rng.randrange(0, len(SPEECH), 2)
    return rng.choice(
        (
            wire.Hello(
                modalities=rng.choice((["text"], ["audio"], ["text", "audio"])),
                turn_detection=rng.choice(("server", "none")),
                audio_in_hz=rng.choice((8_000, 16_000, 44_100, 48_000)),
                audio_out_hz=rng.choice((8_000, 24_000, None)),
                tools=rng.choice(([], TOOLS, TOOLS * 2, [{"type": "function"}], None)),
            ),
            wire.AudioIn(SPEECH[at : at + rng.choice((2, 640, 3_200, 32_000))]),
            wire.End(),
            wire.Text(rng.choice(TEXTS)),
            wire.Say(rng.choice(("aloud", "", "?!")), rng.choice((None, "high", "nobody's"))),
            wire.Cancel(),
            wire.Clear(),
            wire.Played(rng.randrange(-2, 40), rng.choice((-1, 0, 300, 2**62))),
            wire.ToolResult(f"call-{rng.randrange(9)}", "a result"),
            wire.Mark(rng.randrange(-(2**63), 2**63)),
        )
    )


def mutated(rng: random.Random, message: bytes) -> bytes:
    changed = bytearray(message)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0:
                changed[at:at] = rng.randbytes(rng.randrange(1, 5))
            case 1:
                del changed[at : at + rng.randrange(1, 9)]
            case 2:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case _:
                changed += changed[:at]
    return bytes(changed)


def message_of(rng: random.Random) -> bytes:
    """Return one message of a client that is mostly of good will, as frames of a WebSocket."""
    if rng.random() < 0.5:
        opcode, payload = BINARY, encode(valid(rng))
    else:
        opcode, payload = TEXT, encode_json(valid(rng)).encode()
    if rng.random() < 0.3:
        payload = mutated(rng, payload)
        if opcode == TEXT:
            payload = payload.decode(errors="replace").encode()
    if rng.random() < 0.1:
        payload = rng.randbytes(rng.choice((0, 1, 30, 70_000)))
        opcode = BINARY
    if rng.random() < 0.15 and len(payload) > 3:
        cuts = sorted(rng.sample(range(len(payload)), 3))
        parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        frames = [frame(opcode, parts[0], fin=False)]
        frames += [frame(CONTINUATION, part, fin=False) for part in parts[1:-1]]
        frames.insert(rng.randrange(1, len(frames) + 1), frame(PING, rng.randbytes(5)))
        return b"".join([*frames, frame(CONTINUATION, parts[-1])])
    return frame(opcode, payload)


def violation(rng: random.Random) -> bytes:
    """Return what breaks the WebSocket itself; the server may hang up on it."""
    return rng.choice(
        (
            frame(rng.choice((3, 7, 11, 15)), b"reserved"),
            frame(TEXT, b"not compressed", rsv=4),
            frame(TEXT, b"\xff\xfe\xfd"),
            frame(CONTINUATION, b"of nothing"),
            frame(PING, bytes(126)),
            frame(PING, b"in pieces", fin=False),
            frame(BINARY, b"", size=2**62),
            frame(BINARY, bytes(20), size=2_000_000),
            frame(CLOSE, b"\x00"),
            frame(CLOSE, (1005).to_bytes(2)),
            frame(BINARY, encode(wire.Text("unmasked")), masked=False),
            rng.randbytes(64),
        )
    )


async def drain(raw: Raw) -> int | None:
    """Read whatever comes, as a client does; every message must be a frame. Return the close code."""
    try:
        while True:
            opcode, payload = await raw.receive()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2])
            assert opcode in (BINARY, TEXT, PONG), opcode
            if opcode != PONG:
                decode_server(payload.decode() if opcode == TEXT else payload)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def well(served: Served) -> None:
    async with connect(served.ws_url) as client:
        frames = [received async for received in client.turn("all is well")]
        assert frames[-1].reason == "stop"
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/health") as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "healthy")


@pytest.fixture
async def fuzzed():
    profile = fakes(llm={"token_s": 0.001}, tts={"char_ms": 1}, asr={"step_s": 0.001})
    settings = {"server__drain_s": 0.0, "limits__turns_per_minute": 100_000, "turn__tool_deadline_s": 0.05}
    async with serving(profile, **settings) as served:
        yield served


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_messages_in_any_order_leave_the_server_well(
    fuzzed: Served, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    rng = random.Random(seed)
    async with no_leaks():
        async with connected(fuzzed.url) as raw:
            await raw.upgrade()
            reading = asyncio.create_task(drain(raw))
            if rng.random() < 0.9:
                await raw.send(frame(BINARY, encode(wire.Hello())))
            for _ in range(MESSAGES):
                await raw.send(message_of(rng))
                if rng.random() < 0.2:
                    await asyncio.sleep(rng.random() * 0.01)
            match rng.randrange(3):
                case 0:
                    raw.reset()
                case 1:
                    await raw.send(frame(CLOSE, (1000).to_bytes(2)))
                case _:
                    raw.writer.write_eof()
            assert await reading in CLOSE_CODES
        await well(fuzzed)
    assert not [record for record in caplog.records if "could not be acted on" in record.message]


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_breaks_the_websocket_hangs_up_that_one_alone(fuzzed: Served, seed: int) -> None:
    rng = random.Random(seed)
    async with no_leaks():
        for _ in range(6):
            async with connected(fuzzed.url) as raw:
                await raw.upgrade()
                reading = asyncio.create_task(drain(raw))
                await raw.send(frame(BINARY, encode(wire.Hello())))
                for _ in range(rng.randrange(4)):
                    await raw.send(message_of(rng))
                await raw.send(violation(rng))
                raw.writer.write_eof()
                assert await reading in CLOSE_CODES
        await well(fuzzed)


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_is_no_http_hangs_up_that_one_alone(fuzzed: Served, seed: int) -> None:
    rng = random.Random(seed)
    asked = (
        b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 39\r\n\r\n"
        b'{"message": "hello", "session_id": "s"}'
    )
    async with no_leaks():
        for _ in range(10):
            async with connected(fuzzed.url) as raw:
                await raw.send(mutated(rng, asked) if rng.random() < 0.8 else rng.randbytes(300))
                raw.writer.write_eof()
                answer = await raw.reader.read()
                assert not answer or answer.startswith(b"HTTP/1."), answer
                assert b"Traceback" not in answer
        await well(fuzzed)
