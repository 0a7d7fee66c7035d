"""The plain routes against a whole server with fake models."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import soundfile
from conftest import Served, serving

from riposte.backends.fake import FAIL_LLM, FAIL_TTS, FakeTts

PATIENCE_S = 10.0
LONG = "count to 5000"
SLOW_PROFILE = """
asr = { backend = "fake" }
llm = { backend = "fake", options = { token_s = 0.01 } }
tts = { backend = "fake", options = { piece_s = 0.01 } }
vad = { backend = "fake" }
"""


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session:
        yield session


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[Served]:
    """A server whose model takes 10 ms a token."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "profile.toml").write_text(SLOW_PROFILE)
    async with serving(
        server__models_dir=str(tmp_path), server__profile="slow", server__drain_s=0.0
    ) as server:
        yield server


async def figure(http: aiohttp.ClientSession, served: Served, name: str) -> float:
    async with http.get(f"{served.url}/metrics") as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", await answer.text(), re.MULTILINE)
        return float(found[1]) if found else 0.0


async def until_counted(http: aiohttp.ClientSession, served: Served, name: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await figure(http, served, name):  # noqa: ASYNC110  the server tells by polling alone
            await asyncio.sleep(0.01)


def chat(message: str, session_id: str = "s") -> dict[str, str]:
    return {"message": message, "session_id": session_id}


async def test_health_tells_that_every_part_is_warm(http: aiohttp.ClientSession, served: Served) -> None:
    async with http.get(f"{served.url}/health") as answer:
        body = await answer.json()
    assert answer.status == 200
    version = body.pop("version")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    gpu = body.pop("gpu")
    assert gpu is None or set(gpu) == {"name", "utilization", "memory_used_mib", "memory_total_mib"}
    warm = dict.fromkeys(("llm", "whisper", "tts", "vad", "database"), True)
    assert body == {"status": "healthy", "profile": "fake", "sessions": 0, **warm}


async def test_health_tells_that_a_part_is_dead_and_that_it_lives_again(
    http: aiohttp.ClientSession, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeTts, "alive", False, raising=False)
    async with http.get(f"{served.url}/health") as answer:
        body = await answer.json()
    assert (answer.status, body["status"], body["tts"], body["llm"]) == (503, "unhealthy", False, True)
    monkeypatch.setattr(FakeTts, "alive", True)
    async with http.get(f"{served.url}/health") as answer:
        assert (answer.status, (await answer.json())["tts"]) == (200, True)


async def test_health_counts_sessions_while_they_are_connected(
    http: aiohttp.ClientSession, served: Served
) -> None:
    async with http.ws_connect(served.ws_url) as socket:
        await socket.send_str('{"type": "hello"}')
        await socket.receive(timeout=PATIENCE_S)
        async with http.get(f"{served.url}/health") as answer:
            assert (await answer.json())["sessions"] == 1


async def test_metrics_are_prometheus_text(http: aiohttp.ClientSession, served: Served) -> None:
    async with http.get(f"{served.url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "# TYPE riposte_sessions_connected gauge" in await answer.text()


async def test_chat_answers_whole(http: aiohttp.ClientSession, served: Served) -> None:
    async with http.post(f"{served.url}/chat", json=chat("hello there")) as answer:
        body = await answer.json()
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert body.pop("latency_ms") >= 0
    assert body == {"response": "You said: hello there", "session_id": "s"}


async def test_chat_goes_on_with_the_conversation_that_the_client_names(
    http: aiohttp.ClientSession, served: Served
) -> None:
    prompts = []
    for session_id in ("one", "one", "other"):
        before = await figure(http, served, 'riposte_tokens_total{kind="prompt"}')
        async with http.post(f"{served.url}/chat", json=chat("hello", session_id)) as answer:
            assert answer.status == 200
        prompts.append(await figure(http, served, 'riposte_tokens_total{kind="prompt"}') - before)
    assert prompts[1] > prompts[0]
    assert prompts[2] == prompts[0]


async def test_turns_of_one_conversation_do_not_interrupt_each_other(
    http: aiohttp.ClientSession, served: Served
) -> None:
    async def ask(number: int) -> str:
        async with http.post(f"{served.url}/chat", json=chat(f"number {number}")) as answer:
            response: str = (await answer.json())["response"]
            return response

    assert await asyncio.gather(*map(ask, range(5))) == [f"You said: number {n}" for n in range(5)]


async def test_a_stream_has_a_line_a_token_and_an_end(http: aiohttp.ClientSession, served: Served) -> None:
    async with http.post(f"{served.url}/chat/stream", json=chat("hello there")) as answer:
        text = await answer.text()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    *events, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    tokens = [json.loads(event.removeprefix("data: "))["token"] for event in events]
    assert "".join(tokens) == "You said: hello there"
    assert len(tokens) > 1


async def test_a_model_that_fails_is_told(http: aiohttp.ClientSession, served: Served) -> None:
    async with http.post(f"{served.url}/chat", json=chat(FAIL_LLM)) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (503, "engine")
    async with http.post(f"{served.url}/chat/stream", json=chat(FAIL_LLM)) as answer:
        assert answer.status == 200
        *_, last, rest = (await answer.text()).split("\n\n")
    assert rest == ""
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine"
    assert await figure(http, served, 'riposte_errors_total{code="engine"}') == 2


async def test_a_client_that_leaves_cancels_its_turn(http: aiohttp.ClientSession, slow: Served) -> None:
    async with http.post(f"{slow.url}/chat/stream", json=chat(LONG)) as answer:
        await answer.content.readline()
        answer.close()
    await until_counted(http, slow, 'riposte_turns_total{clock="text",reason="cancelled"}')


async def test_a_client_that_leaves_chat_cancels_its_turn(http: aiohttp.ClientSession, slow: Served) -> None:
    with pytest.raises(TimeoutError):
        await http.post(f"{slow.url}/chat", json=chat(LONG), timeout=aiohttp.ClientTimeout(total=0.2))
    await until_counted(http, slow, 'riposte_turns_total{clock="text",reason="cancelled"}')


async def test_speech_is_a_wav_file(http: aiohttp.ClientSession, served: Served) -> None:
    async with http.post(f"{served.url}/tts", json={"text": "Hello you.", "voice": "high"}) as answer:
        sound = await answer.read()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "audio/wav")
    pcm, rate_hz = soundfile.read(io.BytesIO(sound), dtype="int16")
    assert rate_hz == 16_000
    # Of the 20 ms of silence at its head 5 are left, and behind a sentence there are 200.
    assert len(pcm) == pytest.approx(16 * (5 + 10 * len("Hello you.") + 200), abs=2)
    assert np.abs(pcm).max() > 4_000


async def test_text_with_nothing_to_pronounce_is_an_empty_sound(
    http: aiohttp.ClientSession, served: Served
) -> None:
    async with http.post(f"{served.url}/tts", json={"text": "..."}) as answer:
        assert answer.status == 200
        pcm, _ = soundfile.read(io.BytesIO(await answer.read()))
    assert len(pcm) == 0


async def test_speech_is_not_paced(http: aiohttp.ClientSession, served: Served) -> None:
    async with asyncio.timeout(5), http.post(f"{served.url}/tts", json={"text": "word " * 300}) as answer:
        assert len(await answer.read()) > 12 * 32_000  # bytes: more than twelve seconds of sound


async def test_speech_that_fails_is_broken_off(http: aiohttp.ClientSession, served: Served) -> None:
    async with http.post(f"{served.url}/tts", json={"text": f"Hello {FAIL_TTS} you."}) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_voices_are_listed(http: aiohttp.ClientSession, served: Served) -> None:
    async with http.get(f"{served.url}/voices") as answer:
        assert await answer.json() == [
            {"id": "low", "name": "Low tone", "language": "en"},
            {"id": "high", "name": "High tone", "language": "en"},
        ]


BAD_BODIES: list[tuple[str, Any, int, str, str]] = [
    ("/chat", "{", 400, "bad_value", "the body is not JSON"),
    ("/chat", "[]", 400, "bad_value", "the body is not a JSON object"),
    ("/chat", '{"session_id": "s"}', 400, "bad_value", "message is missing; a text fits"),
    ("/chat", '{"message": "m"}', 400, "bad_value", "session_id is missing; a text fits"),
    ("/chat", '{"message": 1, "session_id": "s"}', 400, "bad_value", "message is a number; a text fits"),
    ("/chat", '{"message": null, "session_id": "s"}', 400, "bad_value", "message is null; a text fits"),
    ("/chat", '{"message": " ", "session_id": "s"}', 400, "bad_value", "message is empty; a text fits"),
    ("/chat", '{"message": "m", "session_id": ["s"]}', 400, "bad_value", "session_id is a list; a text fits"),
    ("/chat", json.dumps(chat("m", "s" * 201)), 400, "bad_value", "session_id has 201 characters"),
    ("/chat", '{"message": "\\ud800", "session_id": "s"}', 400, "bad_value", "the body is not JSON"),
    ("/chat", "[" * 100_000, 400, "bad_value", "the body is not JSON"),
    ("/chat", json.dumps(chat("m" * 4001)), 413, "too_large", "4001"),
    ("/chat", json.dumps(chat("m" * (1 << 20))), 413, "too_large", "the body is larger"),
    ("/chat/stream", json.dumps(chat("m" * 4001)), 413, "too_large", "4001"),
    ("/chat/stream", '{"session_id": "s"}', 400, "bad_value", "message is missing"),
    ("/tts", "{}", 400, "bad_value", "text is missing; a text fits"),
    ("/tts", '{"text": "t", "voice": {}}', 400, "bad_value", "voice is an object; a text fits"),
    ("/tts", '{"text": "t", "voice": "nobody"}', 400, "unknown_voice", "nobody"),
    ("/tts", json.dumps({"text": "t" * 4001}), 413, "too_large", "4001"),
]


@pytest.mark.parametrize(("path", "body", "status", "code", "part"), BAD_BODIES)
async def test_bad_input_is_refused_in_a_sentence(
    http: aiohttp.ClientSession, served: Served, path: str, body: str, status: int, code: str, part: str
) -> None:
    headers = {"Content-Type": "application/json"}
    async with http.post(f"{served.url}{path}", data=io.BytesIO(body.encode()), headers=headers) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (status, code)
    assert part in error["message"]
    assert len(error["message"]) < 400
