"""The echo gate before the real voice detector, with espeak-ng's voices: a few of bench/"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from bench.echo_trials import Kind, begins, hear, speech, trial, voiced
from riposte.backends.vad_silero import SileroVad
from riposte.errors import ModelError
from riposte.turn.echo import EchoGate


@pytest.fixture
async def vad() -> AsyncIterator[SileroVad]:
    vad = SileroVad()
    yield vad
    await vad.aclose()


async def test_no_voice_in_an_echo_and_a_voice_over_one_is_found(vad: SileroVad) -> None:
    try:
        replies = [pcm for _, pcm in await speech(21, 4, long=False)]
    except (ModelError, ValueError):
        pytest.skip("espeakng-loader, which says the sentences, is not installed")
    user = (await speech(22, 1, long=False))[0]
    rng = random.Random(5)
    alone = [trial(rng, rng.sample(replies, 2), None, Kind(db)) for db in (-6.0, -20.0)]
    over = [trial(rng, rng.sample(replies, 2), user, Kind(-12), over=n) for n in (0, 1)]
    cleaned = [(await asyncio.to_thread(hear, EchoGate(), one))[0] for one in alone + over]
    scores = await voiced(vad, cleaned)
    plain = await voiced(vad, [one.alone for one in over])
    raw = await voiced(vad, [one.mic for one in alone])
    assert all(begins(score) for score in raw)
    assert not any(begins(score) for score in scores[:2])
    for one, score, without in zip(over, scores[2:], plain, strict=True):
        assert one.user_at is not None
        first = begins(score)[0]
        assert first > one.user_at
        assert first - begins(without, one.user_at)[0] <= 1_600
