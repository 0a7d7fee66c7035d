"""The bundled models, whole: what is typed or spoken to them is answered, in words and in sound.

Speech is made by the server's own voice (espeak-ng), so ears, mind and mouth are all at work.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import soundfile
from conftest import PICO, Served, serving

from riposte.client.client import Client, connect
from riposte.talk.files import SoundFiles, read_wav, write_wav
from riposte.talk.talk import talk
from riposte.wire import frames as wire

WAIT_S = 20.0

pytestmark = pytest.mark.skipif(
    not (PICO / "thinking" / "manifest.json").is_file(),
    reason="pico is not built; run `make engines PROFILE=pico`",
)


@pytest.fixture
async def pico() -> AsyncIterator[Served]:
    async with serving(server__profile="pico", server__drain_s=1.0) as server:
        yield server


async def reply(client: Client, text: str) -> str:
    return "".join([f.text async for f in client.turn(text) if isinstance(f, wire.Token)])


async def spoken(served: Served, text: str, voice: str = "en-us") -> tuple[bytes, int]:
    """Return a sentence as s16 samples, and their rate."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{served.url}/tts", json={"text": text, "voice": voice}) as answer,
    ):
        body = await answer.read()
    assert body[:4] == b"RIFF"
    rate_hz = int.from_bytes(body[24:28], "little")
    return body[44:], rate_hz


async def heard(client: Client, sound: bytes, rate_hz: int) -> list[wire.ServerFrame]:
    """Send the sound in frames of 20 ms and collect what follows, up to `done`."""
    step = rate_hz // 50 * 2
    for at in range(0, len(sound), step):
        await client.send(wire.AudioIn(sound[at : at + step]))
    if client.ready.audio_in_hz != rate_hz:
        raise AssertionError("the session hears at another rate")
    await client.send(wire.End())
    frames: list[wire.ServerFrame] = []
    while not (frames and isinstance(frames[-1], wire.Done)):
        frames.append(await client.receive(WAIT_S))
    return frames


async def test_it_answers_and_remembers(pico: Served) -> None:
    async with connect(pico.ws_url, modalities=["text"]) as client:
        assert "Anna" in await reply(client, "My name is Anna.")
        assert "kitchen" in await reply(client, "turn on the kitchen lights please")
        assert "Anna" in await reply(client, "what is my name")


async def test_it_says_when_it_does_not_know(pico: Served) -> None:
    async with connect(pico.ws_url, modalities=["text"]) as client:
        assert (await reply(client, "Test 1 1763800000")).endswith((".", "!", "?"))


@pytest.mark.parametrize(
    ("text", "slot"),
    [
        ("turn on the kitchen lights", "kitchen"),
        ("set a timer for five minutes", "five minutes"),
        ("what is the capital of france", "paris"),
    ],
)
async def test_it_is_spoken_to_and_answers_aloud(pico: Served, text: str, slot: str) -> None:
    sound, rate_hz = await spoken(pico, text)
    async with connect(pico.ws_url, audio_in_hz=rate_hz, turn_detection="none") as client:
        frames = await heard(client, sound, rate_hz)
    transcript = next(f for f in frames if isinstance(f, wire.Transcript) and f.final)
    assert transcript.text == text
    assert slot in "".join(f.text for f in frames if isinstance(f, wire.Token)).lower()
    samples = np.frombuffer(b"".join(f.pcm for f in frames if isinstance(f, wire.AudioOut)), "<i2")
    assert np.abs(samples).max() > 3_000
    timing = frames[-1].timing
    assert timing.clock == "end"
    assert timing.asr is not None
    assert timing.asr <= timing.llm_first_token <= timing.first_audio_sent <= timing.audible


async def test_its_answer_is_understood_by_its_own_ears(pico: Served) -> None:
    sound, rate_hz = await spoken(pico, "set a timer for five minutes", "en-gb")
    settings = {"audio_in_hz": rate_hz, "turn_detection": "none", "modalities": ["audio"]}
    async with connect(pico.ws_url, **settings) as client:
        frames = await heard(client, sound, rate_hz)
        answer = b"".join(f.pcm for f in frames if isinstance(f, wire.AudioOut))
        frames = await heard(client, answer, rate_hz)
    said = next(f.text for f in frames if isinstance(f, wire.Transcript) and f.final)
    assert "five minutes" in said


async def test_silence_ends_the_turn_of_a_real_voice(pico: Served) -> None:
    sound, rate_hz = await spoken(pico, "turn on the kitchen lights")
    quiet = bytes(rate_hz // 5 * 2)
    async with connect(pico.ws_url, audio_in_hz=rate_hz) as client:
        step = rate_hz // 50 * 2
        whole = quiet + sound + quiet * 3
        for at in range(0, len(whole), step):
            await client.send(wire.AudioIn(whole[at : at + step]))
        frames: list[wire.ServerFrame] = []
        while not (frames and isinstance(frames[-1], wire.Done)):
            frames.append(await client.receive(WAIT_S))
    assert [f.state for f in frames if isinstance(f, wire.Speech)] == ["started", "stopped"]
    heard = [f for f in frames if isinstance(f, wire.Transcript)]
    assert [f.text for f in heard if f.final] == ["turn on the kitchen lights"]
    for shown in heard:  # what was promised on the way has been kept
        assert heard[-1].text.startswith(shown.text[: shown.stable])
    assert frames[-1].timing.clock == "speech"


async def test_a_wav_of_tts_is_read_by_a_library(pico: Served) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{pico.url}/tts", json={"text": "Dinner is ready."}) as answer,
    ):
        assert answer.content_type == "audio/wav"
        sound, rate_hz = soundfile.read(io.BytesIO(await answer.read()))
    assert 0.5 < len(sound) / rate_hz < 3
    assert np.abs(sound).max() > 0.1


async def test_a_talk_through_files_is_spoken_on_both_sides(
    pico: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound, rate_hz = await spoken(pico, "what is the capital of france")
    question, answer = tmp_path / "question.wav", tmp_path / "answer.wav"
    write_wav(question, sound, rate_hz)
    assert await talk(pico.url, SoundFiles(question, answer)) == 0
    you, reply = capsys.readouterr().out.splitlines()
    assert you == "you: what is the capital of france"
    assert "paris" in reply.lower()
    samples = np.frombuffer(read_wav(answer)[0], "<i2")
    assert np.abs(samples).max() > 3_000
