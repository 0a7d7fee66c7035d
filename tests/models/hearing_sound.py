"""Sounds that are the same everywhere, for the stored reference of pico's hearing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
