"""What every model that hears whether a turn is over promises: riposte.interfaces.TurnDetector."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from smart_turn import smart_turn_folder

from riposte.backends.fake import FakeTurn, fake_speech
from riposte.backends.registry import BACKENDS
from riposte.backends.turn_smart import SmartTurn
from riposte.errors import EngineError
from riposte.interfaces import PcmF32, TurnDetector

RATE = 16_000


@pytest.fixture(params=list(BACKENDS["turn"]))
async def turn(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TurnDetector]:
    before = set(threading.enumerate())
    turn: TurnDetector = FakeTurn() if request.param == "fake" else SmartTurn(smart_turn_folder(tmp_path))
    await turn.warm_up()
    yield turn
    await turn.aclose()
    await turn.aclose()
    assert turn.active == 0
    assert set(threading.enumerate()) <= before


def sound(seconds: float, seed: int = 1) -> PcmF32:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.0, 1 / RATE, 0.7, 8.0, 20.0])
async def test_any_length_of_sound_has_a_probability(turn: TurnDetector, seconds: float) -> None:
    assert 0.0 <= await turn.finished(sound(seconds)) <= 1.0
    assert 0.0 <= await turn.finished(np.zeros(int(seconds * RATE), np.float32)) <= 1.0


async def test_the_same_sound_is_judged_alike(turn: TurnDetector) -> None:
    speech = fake_speech("turn on the", tail_s=0.1)
    assert await turn.finished(speech) == await turn.finished(speech)


async def test_only_the_end_is_heard(turn: TurnDetector) -> None:
    end = np.concatenate([sound(6.0), fake_speech("turn on the")])[-int(turn.window_s * RATE) :]
    end = np.concatenate([np.zeros(int(turn.window_s * RATE) - len(end), np.float32), end])
    assert await turn.finished(np.concatenate([sound(3.0, seed=2), end])) == await turn.finished(end)


async def test_the_callers_buffer_may_be_reused(turn: TurnDetector) -> None:
    speech = fake_speech("turn on the")
    wanted = await turn.finished(speech)
    buffer = speech.copy()
    judging = asyncio.create_task(turn.finished(buffer), name="judging")
    await asyncio.sleep(0)
    buffer[:] = 0
    assert await judging == wanted


async def test_who_gives_up_disturbs_nobody(turn: TurnDetector) -> None:
    wanted = await turn.finished(sound(1.0))
    tasks = [asyncio.create_task(turn.finished(sound(1.0)), name=f"judging-{n}") for n in range(6)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[1::2] == [wanted] * 3
    assert all(isinstance(result, asyncio.CancelledError) or result == wanted for result in results)
    assert turn.active == 0


async def test_a_closed_model_says_so(turn: TurnDetector) -> None:
    await turn.aclose()
    with pytest.raises(EngineError):
        await turn.finished(sound(1.0))
