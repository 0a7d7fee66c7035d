"""Sounds to hear: one that is the same everywhere, for the stored reference of pico's hearing, and speech."""

from __future__ import annotations

import asyncio
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from riposte.backends.tts_espeak import EspeakTts

RATE = 16_000


def voiced(seconds: float) -> NDArray[np.float32]:
    """Return harmonics of a gliding voice in syllables, then 0.4 s of silence: f32 at 16 kHz."""
    time_s = np.arange(int(seconds * 16_000)) / 16_000
    pitch = 2 * np.pi * (130 * time_s + 6 * np.sin(2.1 * time_s))
    formant_hz = 900 + 600 * np.sin(5.3 * time_s)
    sound = np.zeros_like(time_s)
    for harmonic in range(1, 30):
        away = (harmonic * 130 - formant_hz) / 500
        sound += np.sin(harmonic * pitch) / (1 + away**2) / harmonic
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time_s) + 0.4, 0, 1)
    return np.concatenate([0.3 * syllables * sound, np.zeros(6_400)]).astype(np.float32)


@cache
def spoken(text: str) -> NDArray[np.float32]:
    """Return what espeak-ng makes of a text: f32 at 16 kHz. Outside of any loop: it runs its own."""

    async def speak() -> tuple[list[np.ndarray], int]:
        tts = EspeakTts()
        try:
            return [pcm async for pcm in tts.speak(text, voice="en-us")], tts.rate_hz
        finally:
            await tts.aclose()

    pieces, rate_hz = asyncio.run(speak())
    pcm = np.concatenate(pieces).astype(np.float32) / 32_768
    return soxr.resample(pcm, rate_hz, RATE)
