"""A reply that comes back through the microphone: the session does not take it for its user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import cycle

import numpy as np
import pytest
import soxr
from talking import pcm
from talks import LONG, Talk, talk
from virtual import in_virtual_time

from riposte.audio import to_f32, to_s16
from riposte.backends.fake import FakeTts
from riposte.backends.tts_espeak import EspeakTts
from riposte.errors import ModelError
from riposte.interfaces import SPEECH_RATE_HZ, Pcm16, PcmF32, Priority
from riposte.turn.machine import DUCKED
from riposte.wire import frames as wire

SENTENCES = (
    "The lights in the kitchen are on now, and the door is closed.",
    "It will rain in the afternoon, so take an umbrella with you.",
    "Your next meeting begins at half past ten, in the small room.",
)
FRAME = SPEECH_RATE_HZ * 20 // 1000
LATE = SPEECH_RATE_HZ * 120 // 1000
ECHO = 10 ** (-12 / 20)


class Speaker(FakeTts):
    """Says one sentence after the other, whatever it is asked to say."""

    def __init__(self, sentences: list[Pcm16]) -> None:
        super().__init__()
        self._sentences = cycle(sentences)

    async def speak(
        self, text: str, *, voice: str, priority: Priority = Priority.FIRST
    ) -> AsyncGenerator[Pcm16, None]:
        yield next(self._sentences)


class Room:
    """A loudspeaker that plays what comes, and the microphone that hears it, in frames of 20 ms."""

    def __init__(self, one: Talk) -> None:
        self._one = one
        self._played = np.zeros(0, np.float32)  # from the first frame on, and what is still to be played
        self._seen = 0
        self._at = 0

    async def hear(self, seconds: float, over: bytes = b"") -> None:
        """Let this time pass, at the pace of the world; somebody says this over it."""
        said = np.zeros(round(seconds * SPEECH_RATE_HZ), np.float32)
        voice = to_f32(np.frombuffer(over, "<i2"))
        said[: voice.size] = voice
        for start in range(0, said.size // FRAME * FRAME, FRAME):
            await asyncio.sleep(FRAME / SPEECH_RATE_HZ)
            self._play()
            heard = self._between(self._at - LATE, self._at - LATE + FRAME) * ECHO
            self._at += FRAME
            await self._one.session.receive(
                wire.AudioIn(to_s16(heard + said[start : start + FRAME]).tobytes())
            )

    def _play(self) -> None:
        for frame in self._one.frames[self._seen :]:
            if isinstance(frame, wire.AudioOut):
                late = np.zeros(max(0, self._at + FRAME - self._played.size), np.float32)
                self._played = np.concatenate((self._played, late, to_f32(np.frombuffer(frame.pcm, "<i2"))))
            elif isinstance(frame, wire.Playback):
                self._played[self._at + FRAME :] *= frame.gain
        self._seen = len(self._one.frames)

    def _between(self, begin: int, end: int) -> PcmF32:
        part = self._played[max(0, begin) : max(0, end)]
        return np.pad(part, (FRAME - part.size, 0) if begin < 0 else (0, FRAME - part.size))


@pytest.fixture(scope="module")
def sentences() -> list[Pcm16]:
    async def speak() -> list[Pcm16]:
        tts = EspeakTts()
        try:
            spoken = [
                np.concatenate([piece async for piece in tts.speak(text, voice="en-us")])
                for text in SENTENCES
            ]
        finally:
            await tts.aclose()
        return [soxr.resample(said, tts.rate_hz, SPEECH_RATE_HZ) for said in spoken]

    try:
        return asyncio.run(speak())
    except ModelError:
        pytest.skip("espeakng-loader, which says the sentences, is not installed")


@in_virtual_time
async def test_a_reply_that_comes_back_is_not_taken_for_a_voice(sentences: list[Pcm16]) -> None:
    async with talk(tts=Speaker(sentences), turn__echo_gate=True) as one:
        room = Room(one)
        await room.hear(1.0)
        await one.type(LONG)
        await room.hear(8.0)
        assert one.session.in_turn
        assert one.states == []
        assert one.gains in ([], [DUCKED, 1.0])  # until the echo's delay is found it may be anything


@in_virtual_time
async def test_a_voice_over_a_reply_that_comes_back_is_heard(sentences: list[Pcm16]) -> None:
    async with talk(tts=Speaker(sentences), turn__echo_gate=True) as one:
        room = Room(one)
        await room.hear(1.0)
        await one.type(LONG)
        await room.hear(3.0)
        await room.hear(1.5, over=pcm("stop that noise at once"))
        assert one.states[:1] == ["started"]
        assert one.gains[:1] == [DUCKED]


@in_virtual_time
async def test_without_the_gate_a_reply_that_comes_back_is_a_voice(sentences: list[Pcm16]) -> None:
    async with talk(tts=Speaker(sentences)) as one:
        room = Room(one)
        await one.type(LONG)
        await room.hear(3.0)
        assert "started" in one.states
