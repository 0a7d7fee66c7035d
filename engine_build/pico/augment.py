"""Change how speech sounds without changing its words, on mel power, where that costs a millisecond.

Every function takes and returns float32 [frames, 80]: mel power, or its log10 where the argument is called
so. A voice never heard differs from the known ones in its vocal tract, its spectral slope and how clearly its
formants stand out; these are what `other_voice` draws at random. Functions on samples, which run once when
the features are made, come last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine_build.pico.log_mel import BANDS, FLOOR, band_edges_hz

F32 = NDArray[np.float32]
WARP = 0.22  # vocal tracts a fifth longer or shorter; the second take adds its own share


@cache
def band_centres_hz() -> NDArray[np.float64]:
    """Return the centre frequency of each mel band."""
    return band_edges_hz()[1:-1]


@cache
def band_widths() -> F32:
    """Return each band's weight in the power of the whole sound (its filter has unit area)."""
    edges = band_edges_hz()
    return ((edges[2:] - edges[:-2]) / 2).astype(np.float32)


def loudness(power: F32) -> float:
    """Return the mean power over the louder half of the frames, so that pauses do not count."""
    frames = np.sort(power @ band_widths())
    return float(frames[len(frames) // 2 :].mean())


def warp_bands(log_mel: F32, factor: float) -> F32:
    """Move formants up (> 1) or down, as a shorter or longer vocal tract does; 8 kHz stays where it is."""
    centres = band_centres_hz()
    knee = 6500 / max(factor, 1.0)
    source = np.interp(centres, [0, knee * factor, 8000], [0, knee, 8000])
    position = np.interp(source, centres, np.arange(BANDS))
    low = np.minimum(position.astype(np.int64), BANDS - 2)
    part = (position - low).astype(np.float32)
    warped: F32 = log_mel[:, low] * (1 - part) + log_mel[:, low + 1] * part
    return warped


def stretch(log_mel: F32, factor: float) -> F32:
    """Make speech longer (> 1) or shorter without moving its bands."""
    frames = max(2, round(len(log_mel) * factor))
    position = np.linspace(0, len(log_mel) - 1, frames)
    low = np.minimum(position.astype(np.int64), len(log_mel) - 2)
    part = (position - low).astype(np.float32)[:, None]
    stretched: F32 = log_mel[low] * (1 - part) + log_mel[low + 1] * part
    return stretched


def sharpen(log_mel: F32, amount: float) -> F32:
    """Make formants and overtones stand out more (> 0) or less, as throats and vocoders differ."""
    padded = np.pad(log_mel, ((0, 0), (3, 3)), mode="edge")
    summed = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1, dtype=np.float32)
    smooth = (summed[:, 7:] - summed[:, :-7]) / 7
    return (log_mel + amount * (log_mel - smooth)).astype(np.float32)


def equalise(log_mel: F32, rng: np.random.Generator) -> F32:
    """Tilt the spectrum by up to 8 dB and bend it in five places."""
    bends = np.interp(np.arange(BANDS), np.linspace(0, BANDS - 1, 6), rng.normal(0, 0.2, 6))
    slope = rng.uniform(-0.4, 0.4) * np.linspace(-1, 1, BANDS)
    return log_mel + (bends + slope).astype(np.float32)


def limit_band(log_mel: F32, rng: np.random.Generator) -> F32:
    """Cut the bass, the treble or both, as a telephone or a small loudspeaker does."""
    hz = band_centres_hz()
    loss = np.zeros(BANDS)
    if rng.random() < 0.6:
        loss += np.clip((hz / rng.uniform(2500, 7000) - 1) * rng.uniform(3, 20), 0, 5)
    if rng.random() < 0.6:
        loss += np.clip((rng.uniform(100, 400) / hz - 1) * rng.uniform(0.3, 2), 0, 5)
    return log_mel - loss.astype(np.float32)


def other_voice(log_mel: F32, rng: np.random.Generator) -> F32:
    """Let another throat say it at another speed."""
    log_mel = warp_bands(log_mel, float(np.exp(rng.uniform(-WARP, WARP))))
    if rng.random() < 0.6:
        log_mel = stretch(log_mel, float(rng.uniform(0.85, 1.18)))
    if rng.random() < 0.6:
        log_mel = sharpen(log_mel, float(rng.uniform(-0.5, 0.4)))
    if rng.random() < 0.8:
        log_mel = equalise(log_mel, rng)
    return limit_band(log_mel, rng) if rng.random() < 0.15 else log_mel


def clip_start(log_mel: F32, rng: np.random.Generator) -> F32:
    """Lose up to 60 ms of the beginning, as a voice detector that opens late does."""
    lost = int(rng.integers(1, 7))
    return log_mel[lost:] if len(log_mel) > 40 else log_mel


def reverb(power: F32, rng: np.random.Generator) -> F32:
    """Let every band die away exponentially, as in a room of 0.1 to 0.7 s; treble dies sooner."""
    seconds = rng.uniform(0.1, 0.7) * np.linspace(1.1, 0.7, BANDS)
    decay = (10 ** (-6 / (seconds * 100))).astype(np.float32)  # 60 dB in that time
    tail = power * np.float32(rng.uniform(0.05, 0.5)) * (1 - decay)
    step = 1
    while step < min(len(power), 64):  # doubling: seven shifts make the same sum as 64 steps of the recursion
        shifted = np.zeros_like(tail)
        shifted[step:] = tail[:-step] * decay**step
        tail, step = tail + shifted, step * 2
    return power + tail


def add_noise(power: F32, noise: F32, snr_db: float) -> F32:
    """Add a slice of noise power of the same length, `snr_db` under the speech."""
    scale = loudness(power) / max(float((noise @ band_widths()).mean()), 1e-12) * 10 ** (-snr_db / 10)
    return power + noise * np.float32(scale)


def quietest(power: F32, share: float = 0.1) -> F32:
    """Return the mean power, [80], of the quietest frames, as the server continues what it has heard."""
    count = max(1, round(share * len(power)))
    loudest_last = np.argsort(np.log10(np.maximum(power, FLOOR)).mean(axis=1), kind="stable")
    mean: F32 = power[loudest_last[:count]].mean(axis=0)
    return mean


def mask(features: F32, rng: np.random.Generator) -> F32:
    """Blank up to two bands of frequency and two of time with the mean (SpecAugment)."""
    features = features.copy()
    mean = features.mean()
    for _ in range(2):
        width = int(rng.integers(0, 13))
        start = int(rng.integers(0, BANDS - width))
        features[:, start : start + width] = mean
        length = int(rng.integers(0, min(16, len(features) // 6)))
        start = int(rng.integers(0, len(features) - length))
        features[start : start + length] = mean
    return features


@dataclass(frozen=True, slots=True)
class Placed:
    """Frames before and behind the speech, up to a total the batch shares."""

    before: int
    total: int


def place(log_mel: F32, placed: Placed) -> F32:
    """Put speech into a longer stretch of digital silence."""
    whole = np.full((placed.total, BANDS), np.log10(FLOOR), np.float32)
    whole[placed.before : placed.before + len(log_mel)] = log_mel
    return whole


def resample(samples: F32, factor: float) -> F32:
    """Play faster and higher (> 1) or slower and lower."""
    position = np.arange(0, len(samples) - 1, factor)
    return np.asarray(np.interp(position, np.arange(len(samples)), samples), np.float32)


def companded(samples: F32, bits: int) -> F32:
    """Quantise on a mu-law scale, as old telephony does."""
    law, steps = np.log1p(255.0), 2 ** (bits - 1)
    coded = np.sign(samples) * np.log1p(255 * np.abs(samples)) / law
    coded = np.round(coded * steps) / steps
    return np.asarray(np.sign(coded) * np.expm1(np.abs(coded) * law) / 255, np.float32)


def overdriven(samples: F32, drive: float) -> F32:
    """Bend the loud peaks as a cheap amplifier does."""
    return np.asarray(np.tanh(samples * drive) / np.tanh(drive), np.float32)


def second_take(samples: F32, rng: np.random.Generator) -> F32:
    """Return another version of an utterance: another pitch, and often a poorer recording."""
    samples = resample(samples, float(np.exp(rng.uniform(np.log(0.82), np.log(1.22)))))
    if rng.random() < 0.3:
        samples = companded(samples, int(rng.integers(6, 9)))
    return overdriven(samples, float(rng.uniform(1, 6))) if rng.random() < 0.25 else samples
