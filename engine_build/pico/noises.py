"""Sounds that are not speech: to mix under speech, and to teach that they hold no words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine_build.pico.log_mel import RATE_HZ

F32 = NDArray[np.float32]
COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0, "blue": -1.0}  # power falls as 1 / f to this exponent


def level(samples: NDArray[np.floating], rms: float) -> F32:
    """Scale to a root mean square; silence stays silence."""
    scaled = samples * (rms / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-9))
    return np.asarray(np.clip(scaled, -1, 1), np.float32)


def coloured(rng: np.random.Generator, samples: int, exponent: float) -> F32:
    """Make noise whose power falls as 1 / f to an exponent."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.maximum(np.fft.rfftfreq(samples, 1 / RATE_HZ), 20)
    return level(np.fft.irfft(spectrum * hz ** (-exponent / 2), samples), 0.1)


def hum(rng: np.random.Generator, samples: int) -> F32:
    """Make mains hum with its overtones and a little hiss."""
    t, base = np.arange(samples) / RATE_HZ, rng.choice([50.0, 60.0])
    waves = sum(
        rng.uniform(0, 1) / k * np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) for k in range(1, 12)
    )
    return level(waves + 0.02 * rng.standard_normal(samples), 0.1)


def tone(rng: np.random.Generator, samples: int) -> F32:
    """Make one steady or sliding tone, sometimes beeping."""
    t = np.arange(samples) / RATE_HZ
    hz = np.exp(rng.uniform(np.log(80), np.log(6000))) * (
        1 + rng.choice([0, 0, rng.uniform(-0.3, 0.5)]) * t / t[-1]
    )
    wave = np.sin(2 * np.pi * np.cumsum(hz) / RATE_HZ)
    if rng.random() < 0.4:
        wave = wave * (np.sin(2 * np.pi * rng.uniform(0.5, 5) * t) > rng.uniform(-0.5, 0.7))
    return level(wave, 0.1)


def chords(rng: np.random.Generator, samples: int) -> F32:
    """Make music of a sort: a few notes at a time, each struck and fading."""
    wave, start = np.zeros(samples), 0
    while start < samples:
        length = min(samples - start, int(rng.uniform(0.2, 1.0) * RATE_HZ))
        t = np.arange(length) / RATE_HZ
        for note in rng.integers(40, 80, rng.integers(1, 5)):
            hz = 440 * 2 ** ((note - 69) / 12)
            partials = sum(np.sin(2 * np.pi * hz * k * t) / k ** rng.uniform(0.8, 2) for k in range(1, 6))
            wave[start : start + length] += partials * np.exp(-t * rng.uniform(0, 6))
        start += length
    return level(wave, 0.1)


def clicks(rng: np.random.Generator, samples: int) -> F32:
    """Make knocks and clicks over faint noise."""
    wave = 0.001 * rng.standard_normal(samples)
    for at in rng.integers(0, samples, max(1, int(samples / RATE_HZ * rng.uniform(0.5, 8)))):
        length = min(samples - at, int(rng.uniform(0.002, 0.08) * RATE_HZ))
        t = np.arange(length)
        ring = np.sin(t * rng.uniform(0.02, 2.0)) if rng.random() < 0.5 else rng.standard_normal(length)
        wave[at : at + length] += rng.uniform(0.1, 1) * ring * np.exp(-t / max(length / 4, 1))
    return level(wave, 0.05)


def breath(rng: np.random.Generator, samples: int) -> F32:
    """Make noise that swells and fades in a band, as breathing or wind does."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz, centre = np.fft.rfftfreq(samples, 1 / RATE_HZ), rng.uniform(400, 4000)
    band = np.fft.irfft(spectrum * np.exp(-(((hz - centre) / rng.uniform(200, 2000)) ** 2)), samples)
    swell = np.sin(np.pi * np.arange(samples) / RATE_HZ * rng.uniform(0.2, 1.2) + rng.uniform(0, 3)) ** 2
    return level(band * swell, 0.1)


def wordless(rng: np.random.Generator, seconds: float) -> F32:
    """Draw a sound without words, at any loudness from digital silence to a shout."""
    samples = int(seconds * RATE_HZ)
    kind = rng.integers(0, 8)
    if kind == 0:
        return (
            np.zeros(samples, np.float32)
            if rng.random() < 0.5
            else coloured(rng, samples, 0) * 10 ** rng.uniform(-4, -2)
        )
    makers = (hum, tone, chords, clicks, breath)
    if kind <= len(makers):
        sound = makers[kind - 1](rng, samples)
    else:
        sound = coloured(rng, samples, rng.choice(list(COLOURS.values())))
    return (sound * 10 ** rng.uniform(-2.5, 0.5)).clip(-1, 1).astype(np.float32)
