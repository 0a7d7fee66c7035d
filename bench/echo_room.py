"""Rooms in which a reply comes back into the microphone: made up, seeded, as hard as real ones.

A loudspeaker without bass, a room with walls, a delay, hiss. No sound is read from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from riposte.interfaces import SPEECH_RATE_HZ, PcmF32

RATE = SPEECH_RATE_HZ
FADE = RATE * 5 // 1000  # a client changes its gain over so long


@dataclass(frozen=True, slots=True)
class Echo:
    """How a reply comes back. `db` is its level in the microphone, relative to the reply as sent."""

    db: float = -12.0
    delay_ms: float = 150.0
    room_seed: int = 0
    rate_hz: int = 24_000  # at which the client was sent the reply
    clip: float | None = None  # the loudspeaker or the microphone saturates at this share of the peak
    drift_ppm: float = 0.0  # the loudspeaker's clock against the microphone's
    own_aec: bool = False  # the client cancels echo itself, badly
    gains: Sequence[tuple[int, float]] = ()  # (sample of the microphone, gain): when the client changes it


def room(seed: int) -> PcmF32:
    """Return the impulse response of a small loudspeaker in a room: 100 to 200 ms, energy 1."""
    rng = np.random.default_rng(seed)
    length = int(rng.uniform(0.10, 0.20) * RATE)
    rt60_s = rng.uniform(0.15, 0.4)
    at = np.arange(length)
    tail = rng.normal(size=length) * 10 ** (-3 * at / (rt60_s * RATE))
    tail[: int(rng.uniform(0.001, 0.004) * RATE)] = 0
    response = tail * rng.uniform(0.1, 0.5) / np.sqrt(np.sum(tail**2))
    response[0] += 1.0
    for _ in range(rng.integers(3, 8)):  # desk, screen, walls
        response[rng.integers(5, 600)] += rng.uniform(-0.4, 0.4)
    # The loudspeaker: no bass, a bump or two.
    spectrum, hz = np.fft.rfft(response, 8192), np.fft.rfftfreq(8192, 1 / RATE)
    low = rng.uniform(150, 400)
    spectrum *= (hz / low) ** 2 / np.sqrt(1 + (hz / low) ** 4)
    for _ in range(3):
        centre, db = rng.uniform(300, 6000), rng.uniform(-8, 8)
        spectrum *= 10 ** (db / 20 * np.exp(-(((hz - centre) / (0.3 * centre)) ** 2)))
    response = np.fft.irfft(spectrum)[: length + 512]
    return np.asarray(response / np.sqrt(np.sum(response**2)), np.float32)


def heard_again(reply: PcmF32, echo: Echo, samples: int, at: int) -> PcmF32:
    """Return f32[samples] of microphone in which `reply`, sent to be played from `at` on, comes back.

    `reply` is f32 at 16 kHz. It goes to the client's rate and back, as it does in reality.
    """
    played = soxr.resample(reply.astype(np.float64), RATE, echo.rate_hz)
    played = soxr.resample(np.rint(played * 32768) / 32768, echo.rate_hz * (1 + echo.drift_ppm * 1e-6), RATE)
    begins = at + echo.delay_ms * RATE / 1000
    whole = int(begins)
    line = np.zeros(samples)
    end = min(samples, whole + played.size)
    line[whole:end] = played[: max(0, end - whole)]
    level, last, gain = np.ones(samples), 0, 1.0
    for sample, wanted in echo.gains:
        level[last:sample] = gain
        level[sample : sample + FADE] = np.linspace(gain, wanted, FADE)[: max(0, samples - sample)]
        last, gain = sample + FADE, wanted
    level[last:] = gain
    line *= level
    if echo.clip is not None:
        most = echo.clip * np.abs(line).max()
        line = most * np.tanh(line / most)
    size = 1 << int(samples + RATE).bit_length()
    part = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * (begins - whole))  # between two samples
    response = room(echo.room_seed)
    back = np.fft.irfft(np.fft.rfft(line, size) * np.fft.rfft(response, size) * part, size)[:samples]
    full = np.convolve(reply, response)
    back *= 10 ** (echo.db / 20) * _rms(reply) / max(1e-9, _rms(full))
    heard = back.astype(np.float32)
    return _badly_cancelled(heard, echo.room_seed) if echo.own_aec else heard


def mix(
    reply_pcm: PcmF32,
    user_pcm: PcmF32,
    db: float,
    delay_ms: float,
    room_seed: int,
    *,
    reply_at: int = 0,
    user_at: int = 0,
    samples: int | None = None,
    noise_db: float = -60.0,
    echo: Echo | None = None,
) -> PcmF32:
    """Return what a microphone hears: the user, the reply's echo at `db` and `delay_ms`, and hiss (dBFS).

    All f32 at 16 kHz. Give `echo` for what is rarer (clipping, drift, a client's own canceller).
    """
    echo = echo or Echo(db, delay_ms, room_seed)
    if samples is None:
        samples = max(user_at + user_pcm.size, reply_at + reply_pcm.size + int(0.6 * RATE))
    rng = np.random.default_rng(room_seed + 77_000)
    mic = rng.normal(0, 10 ** (noise_db / 20), samples)
    if reply_pcm.size:
        mic += heard_again(reply_pcm, echo, samples, reply_at)
    end = min(samples, user_at + user_pcm.size)
    mic[user_at:end] += user_pcm[: end - user_at]
    return np.asarray(np.rint(np.clip(mic, -1, 32767 / 32768) * 32768) / 32768, np.float32)


def _badly_cancelled(pcm: PcmF32, seed: int) -> PcmF32:
    """Leave of an echo what a browser's canceller leaves: all at first, then bands that come and go."""
    rng = np.random.default_rng(seed + 5)
    hop, size = 256, 512
    window: NDArray[np.float64] = np.hanning(size + 1)[:-1]
    padded: NDArray[np.float64] = np.concatenate((np.zeros(size), pcm.astype(np.float64), np.zeros(size)))
    out = np.zeros(padded.size)
    begun = int(np.argmax(np.abs(padded) > 1e-4))
    bands = np.repeat(np.arange(16), 17)[: size // 2 + 1]
    gains = np.zeros(16)
    for at in range(0, padded.size - size, hop):
        gains = 0.8 * gains + 0.2 * (rng.random(16) < 0.15)
        learning = max(0.0, 1 - (at - begun) / (0.4 * RATE)) if at > begun else 1.0
        allowed = np.maximum(learning, 0.02 + 0.5 * gains)[bands]
        out[at : at + size] += np.fft.irfft(np.fft.rfft(padded[at : at + size] * window) * allowed)
    return out[size : size + pcm.size].astype(np.float32)


def _rms(pcm: PcmF32) -> float:
    loud = pcm[np.abs(pcm) > 1e-3]
    return float(np.sqrt(np.mean(loud.astype(np.float64) ** 2))) if loud.size else 1e-9
