"""What every hearing back end promises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from riposte.backends.asr_whisper import WhisperAsr
from riposte.backends.fake import FakeAsr, fake_speech
from riposte.errors import EngineError
from riposte.interfaces import Asr, PcmF32, Priority
from riposte.manifest import MANIFEST_NAME

RATE = 16_000
HEARING = Path(__file__).parents[2] / "onnx_models" / "pico" / "hearing"


def make(kind: str) -> Asr:
    if kind == "fake":
        return FakeAsr(step_s=0.01)
    if not (HEARING / MANIFEST_NAME).is_file():
        pytest.skip("no hearing built; run `make engines PROFILE=pico`")
    return WhisperAsr(HEARING)


@pytest.fixture(params=["fake", "whisper"])
async def asr(request: pytest.FixtureRequest) -> AsyncIterator[Asr]:
    before = set(threading.enumerate())
    asr = make(request.param)
    await asr.warm_up()
    yield asr
    await asr.aclose()
    assert asr.active == 0
    assert set(threading.enumerate()) <= before


def say(text: str, *, tail_s: float = 0.3) -> PcmF32:
    """Something to hear: words to the fake, sound with a voice's ups and downs to a model."""
    return fake_speech(text, lead_s=0.1, tail_s=tail_s)


async def settled(asr: Asr) -> None:
    """Wait until the model is idle: one step after the last stream was closed."""
    async with asyncio.timeout(2):
        while asr.active:  # noqa: ASYNC110 (a Protocol has no event for it)
            await asyncio.sleep(0.005)


async def test_it_says_what_it_is(asr: Asr) -> None:
    assert asr.name
    assert asr.window_s >= 5
    assert asr.languages
    for language in (None, *asr.languages):
        asr.listen(language=language).close()
    assert asr.active == 0


async def test_nothing_has_no_words(asr: Asr) -> None:
    listening = asr.listen()
    heard = await listening.transcribe()
    assert (heard.text, heard.stable) == ("", 0)
    listening.close()


@pytest.mark.parametrize("seconds", [0.01, 0.5, 9, 25])
async def test_silence_has_no_words(asr: Asr, seconds: float) -> None:
    listening = asr.listen()
    listening.push(np.zeros(int(seconds * RATE), np.float32))
    heard = await listening.transcribe()
    assert (heard.text, heard.stable) == ("", 0)
    listening.close()


async def test_hearing_twice_gives_the_same(asr: Asr) -> None:
    listening = asr.listen()
    listening.push(say("turn on the lights"))
    assert await listening.transcribe() == await listening.transcribe()
    listening.close()


async def test_the_size_of_a_push_does_not_matter(asr: Asr) -> None:
    pcm = say("turn on the lights in the kitchen")
    heard = []
    for size in (len(pcm), 512, 37):
        listening = asr.listen()
        for first in range(0, len(pcm), size):
            listening.push(pcm[first : first + size])
        heard.append(await listening.transcribe())
        listening.close()
    assert heard[0] == heard[1] == heard[2]


async def test_a_pushed_array_may_be_used_again(asr: Asr) -> None:
    pcm = say("good morning")
    one, two = asr.listen(), asr.listen()
    one.push(pcm.copy())
    used = pcm.copy()
    two.push(used)
    used[:] = 0
    assert await one.transcribe() == await two.transcribe()
    one.close()
    two.close()


async def test_what_is_stable_stays(asr: Asr) -> None:
    listening = asr.listen()
    settled_text = ""
    sentence = say("what is the time in the kitchen", tail_s=0.6)
    for _ in range(round(2.5 * asr.window_s * RATE / len(sentence))):
        listening.push(sentence)
        heard = await listening.transcribe()
        assert heard.text.startswith(settled_text)
        assert 0 <= heard.stable <= len(heard.text)
        settled_text = heard.text[: heard.stable]
    listening.close()


async def test_a_past_moment_is_heard_as_if_nothing_had_followed(asr: Asr) -> None:
    pcm = say("turn on the lights in the kitchen", tail_s=0.6)
    listening = asr.listen()
    listening.push(pcm)
    whole = await listening.transcribe()
    for until in (len(pcm) // 3, len(pcm) // 2, len(pcm) - 1, len(pcm), len(pcm) + 1, 0):
        alone = asr.listen()
        alone.push(pcm[:until])
        assert await listening.transcribe(until=until) == await alone.transcribe()
        alone.close()
    assert await listening.transcribe() == whole
    listening.close()


async def test_words_do_not_depend_on_what_was_asked_in_between(asr: Asr) -> None:
    pcm = np.concatenate([say("what is the time in the kitchen", tail_s=0.6)] * 3)
    texts = set()
    for ticks in ((), (4_096,), (3_000, 8_192), (20_000,)):
        listening = asr.listen()
        at = tick = 0
        while ticks and at < len(pcm):
            listening.push(pcm[at : at + ticks[tick % len(ticks)]])
            at += ticks[tick % len(ticks)]
            tick += 1
            await listening.transcribe(Priority.AHEAD)
            if tick % 3 == 0:
                await listening.transcribe(Priority.FIRST, until=at * 2 // 3)
        listening.push(pcm[at:])
        texts.add((await listening.transcribe(Priority.FIRST)).text)
        listening.close()
    assert len(texts) == 1


async def test_what_is_promised_by_a_moment_is_kept_from_there_on(asr: Asr) -> None:
    pcm = np.concatenate([say("what is the time in the kitchen", tail_s=0.6)] * 2)
    listening = asr.listen()
    promised: list[tuple[int, str]] = []
    for at in range(0, len(pcm), 4_096):
        listening.push(pcm[at : at + 4_096])
        heard = await listening.transcribe(Priority.AHEAD)
        promised.append((min(at + 4_096, len(pcm)), heard.text[: heard.stable]))
    assert promised[-1][1]
    for until in range(len(pcm), 0, -9_000):
        text = (await listening.transcribe(until=until)).text
        for samples, words in promised:
            assert samples > until or text.startswith(words)
    listening.close()


async def test_speech_beyond_the_window_is_carried_on(asr: Asr) -> None:
    listening = asr.listen()
    sentence = say("what is the time in the kitchen", tail_s=0.6)
    for _ in range(round(2.2 * asr.window_s * RATE / len(sentence))):
        listening.push(sentence)
    heard = await listening.transcribe()
    assert heard.stable <= len(heard.text)
    # Asking again runs the open part alone, and gives the same.
    assert await listening.transcribe() == heard
    listening.close()


async def test_two_utterances_do_not_mix(asr: Asr) -> None:
    texts = ("turn on the lights", "what is the time")

    async def alone(text: str) -> str:
        listening = asr.listen()
        listening.push(say(text))
        heard = await listening.transcribe()
        listening.close()
        return heard.text

    expected = [await alone(text) for text in texts]
    assert list(await asyncio.gather(*map(alone, texts))) == expected


async def test_cancelling_stops_the_work(asr: Asr) -> None:
    listening = asr.listen()
    # Noise that swells and fades: what never changes is not listened to.
    swell = np.sin(2 * np.pi * 2 * np.arange(9 * RATE) / RATE) ** 2
    listening.push((np.random.default_rng(0).uniform(-0.3, 0.3, 9 * RATE) * swell).astype(np.float32))
    for delay_s in (0, 0.002, 0.005):
        task = asyncio.create_task(listening.transcribe(), name="transcribe")
        await asyncio.sleep(delay_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    # Nothing is lost by it.
    assert isinstance((await listening.transcribe()).text, str)
    listening.close()
    await settled(asr)


async def test_closing_twice_is_closing_once(asr: Asr) -> None:
    listening = asr.listen()
    listening.push(say("hello"))
    assert asr.active == 1
    listening.close()
    listening.close()
    await settled(asr)


async def test_a_closed_utterance_hears_nothing(asr: Asr) -> None:
    listening = asr.listen()
    listening.close()
    listening.push(say("hello"))
    assert (await listening.transcribe()).text == ""


async def test_after_the_end_there_is_an_error(asr: Asr) -> None:
    listening = asr.listen()
    listening.push(say("hello"))
    await asr.aclose()
    with pytest.raises(EngineError):
        await listening.transcribe()
    listening.close()
    await asr.aclose()


async def test_the_fake_hears_exactly() -> None:
    asr = FakeAsr()
    listening = asr.listen()
    listening.push(say("Turn on the lights."))
    assert (await listening.transcribe()).text == "Turn on the lights."
    listening.close()
    await asr.aclose()
