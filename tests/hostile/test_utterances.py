"""Utterances that are hardly any: silence, noise, a click, ten milliseconds, a minute, full scale."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import numpy as np
import pytest
from conftest import PICO, Served, fakes, serving
from leaks import no_leaks, tables
from talking import heard_nothing_more, of, pcm, speak, until

from riposte.audio import to_s16
from riposte.client.client import Client, connect
from riposte.resample import Resampler
from riposte.wire import frames as wire

WAIT_S = 30.0
RATE_HZ = 16_000
_rng = np.random.default_rng(11)


def tone(seconds: float, hz: float = 440.0, gain: float = 0.3) -> np.ndarray:
    return gain * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)


# As seconds of sound at 16 kHz. None of it has a word in it.
WORDLESS = {
    "nothing": np.zeros(0),
    "one sample": np.ones(1),
    "ten milliseconds of silence": np.zeros(160),
    "ten milliseconds of a tone": tone(0.01),
    "two seconds of silence": np.zeros(2 * RATE_HZ),
    "a steady hum": tone(2.0, 50.0),
    "hiss": _rng.standard_normal(2 * RATE_HZ) * 0.05,
    "a click": np.concatenate([np.zeros(8_000), np.ones(8), np.zeros(8_000)]),
    "full scale": np.tile([1.0, -1.0], RATE_HZ),
    "a constant": np.full(RATE_HZ, 0.9),
    "the faintest": np.tile([1 / 32_768, 0.0], RATE_HZ),
}
wordless = pytest.mark.parametrize("sound", WORDLESS.values(), ids=WORDLESS.keys())


def s16(sound: np.ndarray) -> bytes:
    return to_s16(sound.astype(np.float32)).tobytes()


async def ended(client: Client, sound: bytes) -> list[wire.ServerFrame]:
    """Push to talk: send the sound at once, end, and collect the turn."""
    for at in range(0, len(sound), 16_000):
        await client.send(wire.AudioIn(sound[at : at + 16_000]))
    await client.send(wire.End())
    frames: list[wire.ServerFrame] = []
    while not (frames and isinstance(frames[-1], wire.Done)):
        frames.append(await client.receive(WAIT_S))
    return frames


@pytest.fixture(scope="module")
def no_words() -> wire.Transcript:
    return wire.Transcript(1, "", 0, True)


@wordless
async def test_a_pressed_key_without_a_word_is_an_empty_turn(
    served: Served, sound: np.ndarray, no_words: wire.Transcript
) -> None:
    async with no_leaks(), connect(served.ws_url, turn_detection="none") as client:
        frames = await ended(client, s16(sound))
        assert frames[:-1] == [no_words]
        assert (frames[-1].reason, frames[-1].usage.completion_tokens) == ("stop", 0)


@wordless
async def test_hands_free_what_has_no_word_makes_no_turn(served: Served, sound: np.ndarray) -> None:
    async with no_leaks(), connect(served.ws_url) as client:
        await speak(client, s16(np.concatenate([sound, np.zeros(RATE_HZ)])))
        frames = await heard_nothing_more(client)
        assert {type(frame) for frame in frames} <= {wire.Speech}
        states = [frame.state for frame in frames]
        assert states == ["started", "stopped"] * (len(states) // 2)
        assert (await until_done(client, wire.Text("typed")))[-1].turn == 1


async def until_done(client: Client, frame: wire.ClientFrame) -> list[wire.ServerFrame]:
    await client.send(frame)
    return await until(client, wire.Done)


async def test_a_minute_is_heard_whole_faster_than_it_is_spoken(served: Served) -> None:
    words = [f"word number {number}" for number in range(60)]
    sound = pcm(" ".join(words))
    sound = sound[: 60 * RATE_HZ * 2]
    async with no_leaks(), connect(served.ws_url, turn_detection="none", modalities=["text"]) as client:
        frames = await ended(client, sound)
        transcript = of(frames, wire.Transcript)[-1]
        assert transcript.final
        assert transcript.text.startswith("word number 0 word number 1")
        assert frames[-1].reason == "stop"


async def test_a_minute_without_a_pause_is_one_turn_hands_free() -> None:
    sound = pcm(" ".join(f"word number {number}" for number in range(60)), lead_s=0.1, tail_s=0.7)
    profile = fakes(tts={"char_ms": 1}, asr={"window_s": 10.0})
    async with (
        serving(profile, server__drain_s=0.0) as served,
        no_leaks(),
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        speaking = asyncio.create_task(speak(client, sound))
        frames = await until(client, wire.Done)
        await speaking
        assert of(frames, wire.Transcript)[-1].text.endswith("word number 59")
        assert {frame.turn for frame in of(frames, wire.Transcript)} == {1}


async def test_more_audio_than_may_wait_is_refused_and_what_is_held_is_kept(served: Served) -> None:
    async with no_leaks(), connect(served.ws_url, turn_detection="none") as client:
        await speak(client, pcm("kept to the end"))
        refusals = 0
        for _ in range(125):  # two minutes may wait
            await client.send(wire.AudioIn(bytes(2 * RATE_HZ)))
        refusals = [frame.code for frame in of(await heard_nothing_more(client), wire.Error)]
        assert refusals
        assert set(refusals) == {"too_large"}
        assert of(await ended(client, b""), wire.Transcript)[-1].text == "kept to the end"


@pytest.mark.parametrize("rate_hz", [8_000, 8_001, 11_025, 44_100, 47_999, 48_000])
async def test_any_rate_is_heard(served: Served, rate_hz: int) -> None:
    samples = np.frombuffer(pcm("at any rate"), "<i2").astype(np.float32) / 32_768
    up = Resampler(RATE_HZ, rate_hz)
    sound = s16(np.concatenate([up.push(samples), up.flush()]))
    async with no_leaks():
        settings = {"audio_in_hz": rate_hz, "turn_detection": "none", "modalities": ["text"]}
        async with connect(served.ws_url, **settings) as client:
            frames = await ended(client, sound)
            heard = of(frames, wire.Transcript)[-1].text
            assert heard == "at any rate" or rate_hz < RATE_HZ  # the fake's tones lie above 4 kHz
            assert frames[-1].reason == "stop"


# -- the models in the box


@pytest.fixture
async def pico() -> AsyncIterator[Served]:
    if not (PICO / "thinking" / "manifest.json").is_file():
        pytest.skip("pico is not built; run `make engines PROFILE=pico`")
    async with serving(server__profile="pico", server__drain_s=0.0) as server:
        async with connect(server.ws_url, modalities=["text"], max_tokens=1) as client:
            await until_done(client, wire.Text("hello"))  # a thread starts at its first use
        yield server


async def spoken(served: Served, text: str) -> np.ndarray:
    """Return a sentence in the server's own voice, at 16 kHz."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{served.url}/tts", json={"text": text}) as answer,
    ):
        body = await answer.read()
    down = Resampler(int.from_bytes(body[24:28], "little"), RATE_HZ)
    samples = np.frombuffer(body[44:], "<i2").astype(np.float32) / 32_768
    return np.concatenate([down.push(samples), down.flush()])


async def test_the_bundled_ears_put_no_words_to_what_has_none(pico: Served) -> None:
    async with no_leaks(), connect(pico.ws_url, turn_detection="none", modalities=["text"]) as client:
        for name, sound in WORDLESS.items():
            frames = await ended(client, s16(sound))
            heard = of(frames, wire.Transcript)[-1].text
            assert (name, heard, frames[-1].reason) == (name, "", "stop")


async def test_the_bundled_ears_hear_a_minute_faster_than_it_is_spoken(pico: Served) -> None:
    sentence = await spoken(pico, "turn on the kitchen lights")
    once = np.concatenate([sentence, np.zeros(RATE_HZ // 2)])
    minute = np.tile(once, 60 * RATE_HZ // len(once))
    async with no_leaks():
        async with connect(pico.ws_url, turn_detection="none", modalities=["text"], max_tokens=8) as client:
            frames = await ended(client, s16(minute))
            text = of(frames, wire.Transcript)[-1].text
            assert text.count("kitchen") >= 0.8 * (60 * RATE_HZ // len(once)), text
            assert [f.code for f in of(frames, wire.Error)] in ([], ["too_large"])
            frames = await ended(client, s16(sentence))
            assert of(frames, wire.Transcript)[-1].text == "turn on the kitchen lights"
        assert tables()[0].models.asr.active == 0


async def test_hands_free_the_bundled_detector_is_not_fooled_for_long(pico: Served) -> None:
    sentence = await spoken(pico, "turn on the kitchen lights")
    async with no_leaks(), connect(pico.ws_url, modalities=["text"]) as client:
        for name in ("hiss", "a steady hum", "full scale", "a click"):
            await speak(client, s16(WORDLESS[name]))
        await speak(client, s16(np.concatenate([np.zeros(RATE_HZ), sentence, np.zeros(RATE_HZ)])))
        frames: list[wire.ServerFrame] = []
        while not (of(frames, wire.Transcript) and "kitchen" in of(frames, wire.Transcript)[-1].text):
            frames.append(await client.receive(WAIT_S))
        assert not of(frames, wire.Error)
