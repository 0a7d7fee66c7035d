"""Whisper's log-mel, split where training needs it: the power first, the scaling after augmentation.

The server has its own whole version in `riposte.audio`; this one exists because noise and reverb are added to
the power in between.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
RATE_HZ = 16_000
FFT = 400
HOP = 160  # samples: 100 frames a second
BANDS = 80
FLOOR = 1e-10


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn slaney mels into Hz: linear to 1 kHz (mel 15), logarithmic above."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@cache
def band_edges_hz() -> NDArray[np.float64]:
    """Return the 82 corner frequencies of the 80 triangles."""
    top = 15 + 27 * np.log(RATE_HZ / 2 / 1000) / np.log(6.4)
    return mel_to_hz(np.linspace(0, top, BANDS + 2))


@cache
def filters() -> F32:
    """Return the slaney-normalised filters, [201, 80]."""
    edges, bins = band_edges_hz(), np.linspace(0, RATE_HZ / 2, FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return triangles.astype(np.float32)


def mel_power(samples: F32) -> F32:
    """Return the mel power of samples in -1..1, [frames, 80]; one frame for each whole 10 ms."""
    frames = len(samples) // HOP
    padded = np.pad(samples, FFT // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][:frames]
    spectrum = np.fft.rfft(windows * np.hanning(FFT + 1)[:-1].astype(np.float32), axis=1)
    power: F32 = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ filters()
    return power


def whisper_scale(power: F32) -> F32:
    """Turn mel power into what the encoder takes, floored at 80 dB under the loudest point."""
    log = np.log10(np.maximum(power, FLOOR))
    scaled: F32 = (np.maximum(log, log.max() - 8) + 4) / 4
    return scaled
