"""What every voice activity back end promises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import cache

import numpy as np
import pytest
import soxr

from riposte.backends.registry import BACKENDS, load_backend
from riposte.backends.tts_espeak import EspeakTts
from riposte.errors import EngineError, ModelError
from riposte.interfaces import PcmF32, Vad

RATE = 16_000
rng = np.random.default_rng(11)


@pytest.fixture(params=list(BACKENDS["vad"]))
async def vad(request: pytest.FixtureRequest) -> AsyncIterator[Vad]:
    before = set(threading.enumerate())
    vad: Vad = load_backend("vad", request.param)()
    await vad.warm_up()
    yield vad
    await vad.aclose()
    assert vad.active == 0
    assert set(threading.enumerate()) <= before


@cache
def speech() -> PcmF32:
    """Half a second of silence, a sentence, half a second of silence; whole windows of 512."""

    async def speak() -> list[np.ndarray]:
        tts = EspeakTts()
        try:
            return [pcm async for pcm in tts.speak("Turn on the light in the kitchen.", voice="en-us")]
        finally:
            await tts.aclose()

    # In a loop of its own, because the result is shared by tests that each have one.
    result: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: result.extend(asyncio.run(speak())))
    thread.start()
    thread.join()
    voice = soxr.resample(np.concatenate(result) / 32_768, 22_050, RATE)
    silence = np.zeros(RATE // 2)
    pcm = np.concatenate([silence, voice, silence]).astype(np.float32)
    return pcm[: len(pcm) // 512 * 512]


@pytest.fixture
def spoken() -> PcmF32:
    try:
        return speech()
    except (ModelError, ValueError):
        pytest.skip("espeakng-loader, which says the sentence, is not installed")


def quiet(kind: str) -> PcmF32:
    samples = 100 * 512
    match kind:
        case "silence":
            return np.zeros(samples, np.float32)
        case "faint noise":
            return rng.normal(0, 0.003, samples).astype(np.float32)
        case _:
            return (0.002 * np.sin(2 * np.pi * 50 * np.arange(samples) / RATE)).astype(np.float32)


async def test_speech_is_voice_and_the_silence_around_it_is_not(vad: Vad, spoken: PcmF32) -> None:
    stream = vad.open()
    scores = await stream.score(spoken)
    stream.close()
    assert scores.dtype == np.float32
    assert scores.shape == (len(spoken) // vad.window,)
    assert scores.min() >= 0
    assert scores.max() <= 1
    edge = RATE // 2 // vad.window
    assert scores[: edge - 1].max() < 0.35
    assert scores[-edge // 2 :].max() < 0.35
    assert np.mean(scores[edge + 1 : -edge - 1] > 0.5) > 0.8


@pytest.mark.parametrize("kind", ["silence", "faint noise", "mains hum"])
async def test_what_nobody_said_is_no_voice(vad: Vad, kind: str) -> None:
    stream = vad.open()
    assert (await stream.score(quiet(kind))).max() < 0.35
    stream.close()


async def test_the_scores_do_not_depend_on_how_the_windows_are_handed_over(vad: Vad, spoken: PcmF32) -> None:
    whole, pieces, at_once = vad.open(), vad.open(), vad.open()
    want = await whole.score(spoken)
    parts = np.split(spoken, [vad.window * n for n in (1, 3, 10, 11, 40)])
    one_by_one = [await pieces.score(part) for part in parts]
    together = await asyncio.gather(*(at_once.score(part) for part in parts))
    np.testing.assert_allclose(np.concatenate(one_by_one), want, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(together), want, atol=1e-5)
    for stream in (whole, pieces, at_once):
        stream.close()


async def test_streams_do_not_hear_each_other(vad: Vad, spoken: PcmF32) -> None:
    alone = vad.open()
    want = await alone.score(spoken)
    streams = [vad.open() for _ in range(6)]
    noise = rng.normal(0, 0.003, len(spoken)).astype(np.float32)
    inputs = [spoken, noise, spoken[: 20 * vad.window], noise, spoken, np.zeros(0, np.float32)]
    scores = await asyncio.gather(*(s.score(pcm) for s, pcm in zip(streams, inputs, strict=True)))
    np.testing.assert_allclose(scores[0], want, atol=1e-4)
    np.testing.assert_allclose(scores[4], want, atol=1e-4)
    np.testing.assert_allclose(scores[2], want[:20], atol=1e-4)
    assert scores[1].max() < 0.35
    assert len(scores[5]) == 0
    assert vad.active == 7
    for stream in (alone, *streams):
        stream.close()


async def test_reset_forgets(vad: Vad, spoken: PcmF32) -> None:
    stream = vad.open()
    first = await stream.score(spoken)
    stream.reset()
    np.testing.assert_allclose(await stream.score(spoken), first, atol=1e-5)
    stream.close()


async def test_the_callers_buffer_may_be_reused(vad: Vad, spoken: PcmF32) -> None:
    stream = vad.open()
    want = await stream.score(spoken)
    stream.reset()
    buffer = spoken.copy()
    scoring = asyncio.create_task(stream.score(buffer))
    await asyncio.sleep(0)
    if not scoring.done():
        buffer[:] = 0
    np.testing.assert_allclose(await scoring, want, atol=1e-5)
    stream.close()


async def test_part_of_a_window_is_refused(vad: Vad) -> None:
    stream = vad.open()
    with pytest.raises(ValueError, match="whole windows"):
        await stream.score(np.zeros(vad.window + 1, np.float32))
    stream.close()


async def test_a_cancelled_score_leaves_the_others_in_order(vad: Vad, spoken: PcmF32) -> None:
    given_up, other = vad.open(), vad.open()
    scoring = asyncio.create_task(given_up.score(np.zeros(3_000 * vad.window, np.float32)))
    await asyncio.sleep(0)
    scoring.cancel()
    async with asyncio.timeout(2):
        await asyncio.gather(scoring, return_exceptions=True)
        assert len(await other.score(spoken)) == len(spoken) // vad.window
    given_up.close()
    other.close()


async def test_closing_twice_gives_back_one_stream(vad: Vad) -> None:
    stream, other = vad.open(), vad.open()
    stream.close()
    stream.close()
    assert vad.active == 1
    other.close()


async def test_a_closed_model_says_so(vad: Vad) -> None:
    stream = vad.open()
    waiting = asyncio.create_task(stream.score(np.zeros(30_000 * vad.window, np.float32)))
    await asyncio.sleep(0)
    await vad.aclose()
    async with asyncio.timeout(5):
        await asyncio.gather(waiting, return_exceptions=True)
        with pytest.raises(EngineError):
            await stream.score(np.zeros(vad.window, np.float32))
    stream.close()
