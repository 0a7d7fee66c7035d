"""Models with a watch beside them: nothing changes but the figures."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from test_metrics import value

from riposte.backends.fake import (
    FAIL_ASR,
    FAIL_LLM,
    FAIL_TTS,
    FakeAsr,
    FakeLlm,
    FakeTts,
    FakeVad,
    fake_speech,
)
from riposte.errors import EngineError
from riposte.interfaces import Message, Models, Priority, Sampling
from riposte.metrics import Metrics
from riposte.timed import timed


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def models(metrics: Metrics) -> Models:
    return timed(Models(FakeAsr(), FakeLlm(), FakeTts(), FakeVad()), metrics)


def ended(metrics: Metrics, role: str) -> list[float | None]:
    name = "riposte_model_streams_total"
    return [value(metrics, name, role=role, outcome=outcome) for outcome in ("whole", "cut", "failed")]


def asked(text: str) -> list[Message]:
    return [Message("user", text)]


async def test_a_reply_is_timed_to_its_first_text_and_from_token_to_token(
    models: Models, metrics: Metrics
) -> None:
    stream = models.llm.generate(asked("count to 20"), key="a", sampling=Sampling())
    assert "".join([piece.text async for piece in stream]).endswith("20.")
    assert ended(metrics, "llm") == [1, 0, 0]
    assert value(metrics, "riposte_llm_first_text_seconds_count") == 1
    assert value(metrics, "riposte_llm_token_seconds_count") == 1
    total, count = (value(metrics, f"riposte_llm_token_seconds_{part}") for part in ("sum", "count"))
    assert 0 < total < 10
    assert count == 1


async def test_a_short_reply_has_no_pace(models: Models, metrics: Metrics) -> None:
    _ = [piece async for piece in models.llm.generate(asked("count to 2"), key="a", sampling=Sampling())]
    assert value(metrics, "riposte_llm_first_text_seconds_count") == 1
    assert value(metrics, "riposte_llm_token_seconds_count") == 0


async def test_a_reply_that_is_closed_early_is_cut_and_its_stream_closed(
    models: Models, metrics: Metrics
) -> None:
    async with aclosing(models.llm.generate(asked("count to 20"), key="a", sampling=Sampling())) as stream:
        await anext(stream)
        assert models.llm.active == 1
    assert models.llm.active == 0
    assert ended(metrics, "llm") == [0, 1, 0]


async def test_a_task_that_is_cancelled_cuts_its_stream(metrics: Metrics) -> None:
    models = timed(Models(FakeAsr(step_s=60), FakeLlm(), FakeTts(piece_s=60), FakeVad()), metrics)

    async def speak() -> None:
        async for _ in models.tts.speak("hello", voice="low"):
            pass

    listening = models.asr.listen()
    tasks = [asyncio.create_task(speak()), asyncio.create_task(listening.transcribe())]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert (ended(metrics, "tts"), ended(metrics, "asr")) == ([0, 1, 0], [0, 1, 0])
    listening.close()
    assert models.asr.active == 0


async def test_failures_are_counted_and_raised(models: Models, metrics: Metrics) -> None:
    with pytest.raises(EngineError):
        _ = [p async for p in models.llm.generate(asked(f"a {FAIL_LLM}"), key="a", sampling=Sampling())]
    with pytest.raises(EngineError):
        _ = [pcm async for pcm in models.tts.speak(f"a long clause {FAIL_TTS}", voice="low")]
    listening = models.asr.listen(language="en")
    listening.push(fake_speech(FAIL_ASR))
    with pytest.raises(EngineError):
        await listening.transcribe()
    for role in ("asr", "llm", "tts"):
        assert ended(metrics, role) == [0, 0, 1]


async def test_a_clause_is_timed_to_its_first_sound(models: Models, metrics: Metrics) -> None:
    pieces = [pcm async for pcm in models.tts.speak("hello and good morning", voice="high")]
    assert len(pieces) > 1
    assert value(metrics, "riposte_tts_first_sound_seconds_count") == 1
    assert ended(metrics, "tts") == [1, 0, 0]


async def test_recognition_ahead_is_told_from_the_one_that_is_waited_for(
    models: Models, metrics: Metrics
) -> None:
    listening = models.asr.listen()
    listening.push(fake_speech("hello"))
    await listening.transcribe(Priority.AHEAD)
    assert (await listening.transcribe()).text == "hello"
    name = "riposte_asr_recognition_seconds_count"
    assert (value(metrics, name, ahead="true"), value(metrics, name, ahead="false")) == (1, 1)


def test_all_else_is_the_models_own(models: Models) -> None:
    assert (models.llm.name, models.tts.rate_hz, models.asr.languages) == ("fake-llm", 16_000, ("en",))
    assert not hasattr(models.llm, "alive")  # /health asks for it
