"""A model that fails in mid-turn: the turn ends as `engine`, /health tells the truth, the next turn works."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
from conftest import PICO, Served, fakes, serving
from leaks import becomes, no_leaks, tables
from talking import of, pcm, speak, until

from riposte.audio import to_s16
from riposte.backends import tts_espeak
from riposte.backends.fake import FAIL_ASR, FAIL_LLM, FAIL_TTS, FakeVad
from riposte.client.client import Client, connect
from riposte.errors import EngineError
from riposte.interfaces import Models, PcmF32
from riposte.wire import frames as wire

WAIT_S = 20.0
FAILED = (["engine"], "error")
# A burst that begins and ends, which is not what ears and detectors take for silence.
NOISE = to_s16(
    (np.random.default_rng(5).standard_normal(8_000) * np.hanning(8_000) * 0.3).astype(np.float32)
).tobytes()
FINE: tuple[list[str], str] = ([], "stop")


@pytest.fixture
async def pico() -> AsyncIterator[Served]:
    if not (PICO / "thinking" / "manifest.json").is_file():
        pytest.skip("pico is not built; run `make engines PROFILE=pico`")
    async with serving(server__profile="pico", server__drain_s=0.0) as server:
        async with connect(server.ws_url, modalities=["text"]) as client:
            assert await asked(client, wire.Text("hello")) == FINE  # a thread starts at its first use
        yield server


async def health(served: Served) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/health") as answer:
        return await answer.json()


async def asked(client: Client, frame: wire.ClientFrame) -> tuple[list[str], str]:
    """Send a frame that makes a turn; return the codes of its errors and the reason of its end."""
    await client.send(frame)
    frames: list[wire.ServerFrame] = []
    while not (frames and isinstance(frames[-1], wire.Done)):
        frames.append(await client.receive(WAIT_S))
    return [frame.code for frame in of(frames, wire.Error)], frames[-1].reason


def models() -> Models:
    (table,) = tables()
    assert table.models is not None
    return table.models


@pytest.mark.parametrize("text", [FAIL_LLM, f"say {FAIL_TTS} and more of it"])
async def test_a_fake_that_fails_ends_its_turn_alone(served: Served, text: str) -> None:
    async with no_leaks():
        async with connect(served.ws_url) as client, connect(served.ws_url) as other:
            answers = asyncio.create_task(asked(other, wire.Text("count to 20")))
            assert await asked(client, wire.Text(text)) == FAILED
            assert await asked(client, wire.Text("and on")) == FINE
            assert await answers == FINE
        assert (await health(served))["status"] == "healthy"


async def test_ears_that_fail_end_the_spoken_turn(served: Served) -> None:
    async with no_leaks():
        async with connect(served.ws_url, modalities=["text"]) as client:
            await speak(client, pcm(FAIL_ASR, lead_s=0.1, tail_s=0.6))
            frames = await until(client, wire.Done)
            assert ([f.code for f in of(frames, wire.Error)], frames[-1].reason) == FAILED
            await speak(client, pcm("heard again", lead_s=0.1, tail_s=0.6))
            assert of(await until(client, wire.Done), wire.Transcript)[-1].text == "heard again"
        assert (await health(served))["status"] == "healthy"


async def test_a_voice_detector_that_fails_is_told_and_asked_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = type(FakeVad().open())

    async def fails(self: object, pcm: PcmF32) -> PcmF32:
        raise EngineError("the fake-vad model failed")

    async with no_leaks():
        async with connect(served.ws_url, modalities=["text"]) as client:
            with monkeypatch.context() as broken:
                broken.setattr(stream, "score", fails)
                await client.send(wire.AudioIn(bytes(3_200)))
                assert (await until(client, wire.Error))[-1].code == "engine"
            await speak(client, pcm("heard again", lead_s=0.1, tail_s=0.6))
            assert of(await until(client, wire.Done), wire.Transcript)[-1].text == "heard again"
        assert (await health(served))["status"] == "healthy"


async def test_a_detector_that_fails_while_the_client_stalls_still_ends_the_turn(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = type(FakeVad().open())
    score, failures = stream.score, iter([EngineError("the fake-vad model failed"), ValueError("a mistake")])

    async def fails_twice(self: object, pcm: PcmF32) -> PcmF32:
        if not pcm[-512:].any() and (failure := next(failures, None)) is not None:
            raise failure
        return await score(self, pcm)

    monkeypatch.setattr(stream, "score", fails_twice)
    async with no_leaks(), connect(served.ws_url, modalities=["text"]) as client:
        await speak(client, pcm("cut in mid word"))
        frames = await until(client, wire.Done)
        assert [frame.code for frame in of(frames, wire.Error)] == ["engine", "internal"]
        assert of(frames, wire.Transcript)[-1].text == "cut in mid word"


async def test_a_language_model_whose_step_fails_answers_the_next_turn(
    pico: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = models().llm._graph
    forward, steps = graph.forward, iter(range(1_000))

    def fails_once(*arguments: Any) -> Any:
        if next(steps) == 2:
            raise RuntimeError("[ONNXRuntimeError] : 6 : /a/path")
        return forward(*arguments)

    async with no_leaks():
        async with connect(pico.ws_url, modalities=["text"]) as client:
            monkeypatch.setattr(graph, "forward", fails_once)
            assert await asked(client, wire.Text("what is the capital of france")) == FAILED
            assert await asked(client, wire.Text("what is the capital of france")) == FINE
        assert (await health(pico))["status"] == "healthy"


async def test_ears_whose_step_fails_hear_the_next_turn(
    pico: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asr = models().asr._model
    steps = asr._steps

    def fails(*arguments: Any) -> Any:
        raise RuntimeError("[ONNXRuntimeError] : 6 : /a/path")
        yield

    async with no_leaks():
        async with connect(pico.ws_url, modalities=["text"], turn_detection="none") as client:
            with monkeypatch.context() as broken:
                broken.setattr(asr, "_steps", fails)
                await client.send(wire.AudioIn(NOISE))
                assert await asked(client, wire.End()) == FAILED
            assert asr._steps == steps
            await client.send(wire.AudioIn(NOISE))
            assert (await asked(client, wire.End()))[0] == []
        assert (await health(pico))["status"] == "healthy"


async def test_a_detector_whose_run_fails_hears_the_next_sound(
    pico: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(batch: object) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 6 : /a/path")

    async with no_leaks():
        async with connect(pico.ws_url, modalities=["text"]) as client:
            with monkeypatch.context() as broken:
                broken.setattr(models().vad, "_score_heads", fails)
                await client.send(wire.AudioIn(bytes(6_400)))
                assert (await until(client, wire.Error))[-1].code == "engine"
            await client.send(wire.AudioIn(bytes(6_400)))
            assert await asked(client, wire.Text("hello")) == FINE
        assert (await health(pico))["status"] == "healthy"


class ThreadEnds(BaseException):
    """What no model raises: it gets past all that waits for a model's own failures."""


@pytest.mark.parametrize(
    ("kind", "frames"),
    [
        ("llm", [wire.Text("hello")]),
        (
            "whisper",
            [wire.Hello(turn_detection="none", modalities=["text"]), wire.AudioIn(NOISE), wire.End()],
        ),
        ("vad", [wire.AudioIn(NOISE)]),
    ],
)
async def test_a_thread_that_ends_is_told_in_health_and_keeps_nobody_waiting(
    pico: Served, monkeypatch: pytest.MonkeyPatch, kind: str, frames: list[wire.ClientFrame]
) -> None:
    def ends(*_: object) -> None:
        raise ThreadEnds

    owner, name = {
        "llm": (models().llm._scheduler, "_decode"),
        "whisper": (models().asr._worker, "_advance"),
        "vad": (models().vad._worker, "_advance"),
    }[kind]
    monkeypatch.setattr(owner, name, ends)
    async with no_leaks(), connect(pico.ws_url, modalities=["text"]) as client:
        for _ in range(2):  # who waits when it ends, and who comes afterwards
            for frame in frames:
                await client.send(frame)
            while not isinstance(answer := await client.receive(WAIT_S), wire.Error):
                continue
            assert answer.code == "engine"
    state = await health(pico)
    assert (state["status"], [part for part in ("llm", "whisper", "tts", "vad") if not state[part]]) == (
        "unhealthy",
        [kind],
    )


async def test_a_voice_whose_process_is_killed_speaks_the_next_turn(pico: Served) -> None:
    tts = models().tts
    async with no_leaks():
        async with connect(pico.ws_url) as client:
            assert await asked(client, wire.Say("one two three")) == FINE
            await client.send(wire.Say(" ".join(["and so it goes on and on, sentence after sentence."] * 60)))
            await until(client, wire.AudioOut)
            os.kill(tts._process._process.pid, signal.SIGKILL)
            frames = await until(client, wire.Done)
            assert ([f.code for f in of(frames, wire.Error)], frames[-1].reason) == FAILED
            assert await asked(client, wire.Say("one two three")) == FINE
        assert (await health(pico))["status"] == "healthy"


async def test_a_voice_that_does_not_start_again_makes_the_server_unhealthy_until_it_does(
    pico: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    tts = models().tts
    monkeypatch.setattr(tts_espeak, "_AGAIN_S", 0.3)
    async with no_leaks():
        async with connect(pico.ws_url) as client:
            assert await asked(client, wire.Say("one two three")) == FINE
            with monkeypatch.context() as broken:
                broken.setattr(tts_espeak.sys, "executable", "/bin/false")
                os.kill(tts._process._process.pid, signal.SIGKILL)
                assert await asked(client, wire.Say("one two three")) == FAILED
                await becomes(lambda: not tts.alive)
                state = await health(pico)
                assert (state["status"], state["tts"], state["llm"]) == ("unhealthy", False, True)
                # A turn that needs no voice is answered all the same.
                await client.send(wire.Hello(modalities=["text"]))
                assert await asked(client, wire.Text("hello")) == FINE
            await becomes(lambda: tts.alive)
            await client.send(wire.Hello(modalities=None))
            assert await asked(client, wire.Say("one two three")) == FINE
        assert (await health(pico))["status"] == "healthy"


async def test_a_model_that_makes_a_mistake_shows_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    def fails(messages: object) -> str:
        raise KeyError("/a/path")

    async with serving(fakes(llm={"reply": fails}), server__drain_s=0.0) as served, no_leaks():
        async with connect(served.ws_url, modalities=["text"]) as client:
            await client.send(wire.Text("hello"))
            error, done = (await until(client, wire.Done))[-2:]
        assert (error.code, done.reason, "/a/path" in error.message) == ("internal", "error", False)
        assert (await health(served))["status"] == "healthy"
    assert "/a/path" in caplog.text  # the log has it
