"""Whisper's log-mel spectrogram, to the last digit that matters.

Specification (openai/whisper `audio.py`): 16 kHz mono; frames of 400 samples every 160, centred, so
that frame i sees samples 160 i - 200 … 160 i + 199; the edges mirrored; periodic Hann window; power;
80 or 128 mel filters (slaney's scale, slaney's area normalisation); log10, not below 1e-10; then
nothing more than 8 under the loudest value of the whole; then (x + 4) / 4.

It comes in two parts, because the second looks at the whole utterance and the first does not: a
frame of `raw_log_mel` whose 400 samples are known never changes, a normalised one may with every new
frame. Whoever listens in steps keeps raw frames.

Largest difference from transformers' WhisperFeatureExtractor, whose Fourier transform is in double
precision and this one in single: 1.9e-5 with 80 mels and 3.8e-5 with 128, over 0.5, 3 and 10 s of loud
tones that come and go over faint noise (tests/export/test_whisper_export.py measures it again).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

F32 = NDArray[np.float32]

RATE_HZ = 16_000
FRAME = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
_EDGE = FRAME // 2
_BINS = FRAME // 2 + 1

# Frames at a time: what they need stays in the cache. All of 9.6 s at once takes five times as long.
_BLOCK = 64
# Frames a matrix product. More than 10, and OpenBLAS spreads it over all cores: 0.2 ms for 9 s of sound on
# an idle machine, 12 ms where the other cores are at work.
_PRODUCT = 8

_BREAK_HZ = 1_000.0  # slaney's scale: linear below, logarithmic above
_LINEAR_HZ = 200.0 / 3.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def frames_of(samples: int) -> int:
    """Return how many frames `raw_log_mel` makes of that many samples."""
    return samples // HOP


def raw_log_mel(pcm: F32, mels: int) -> F32:
    """Return log10 of the mel power of each frame, before any look at the whole.

    `pcm` is f32 [samples] at 16 kHz, more than 200 samples; the result f32 [samples // 160, mels].
    The two last frames depend on the mirrored edge: they change when more samples follow.
    """
    if pcm.ndim != 1 or len(pcm) <= _EDGE:
        raise ValueError(f"a spectrogram needs more than {_EDGE} samples in one row, not {pcm.shape}")
    padded = np.pad(pcm, _EDGE, mode="reflect")
    # One frame for each whole hop: Whisper drops the frame that is centred on the end.
    framed = sliding_window_view(padded, FRAME)[::HOP][: frames_of(len(pcm))]
    mel = np.empty((len(framed), mels), np.float32)
    for first in range(0, len(framed), _BLOCK):
        spectrum = np.fft.rfft(framed[first : first + _BLOCK] * _window())
        # numpy 1.26 transforms in double precision.
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32, copy=False)
        for row in range(0, len(power), _PRODUCT):
            part = power[row : row + _PRODUCT]
            np.matmul(part, mel_filters(mels), out=mel[first + row : first + row + len(part)])
    raw: F32 = np.log10(np.maximum(mel, np.float32(1e-10), out=mel), out=mel)
    return raw


def normalise(raw: F32) -> F32:
    """Bring raw frames [frames, mels] to what the model reads: f32 [1, mels, frames], contiguous."""
    floor = raw.max() - np.float32(8.0)
    scaled = (np.maximum(raw, floor) + np.float32(4.0)) * np.float32(0.25)
    return np.ascontiguousarray(scaled.T)[np.newaxis]


def log_mel(pcm: F32, mels: int) -> F32:
    """Return the whole spectrogram of f32 samples at 16 kHz: f32 [1, mels, samples // 160]."""
    return normalise(raw_log_mel(pcm, mels))


@cache
def mel_filters(mels: int) -> F32:
    """Return slaney's triangular filters up to 8 kHz, each of area one: f32 [201, mels], read-only."""
    edges = _hz(np.linspace(0.0, _mel(RATE_HZ / 2), mels + 2))
    bins = np.linspace(0.0, RATE_HZ / 2, _BINS)
    distance = edges[np.newaxis, :] - bins[:, np.newaxis]
    width = np.diff(edges)
    rising = -distance[:, :-2] / width[:-1]
    falling = distance[:, 2:] / width[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters: F32 = (triangles * (2.0 / (edges[2:] - edges[:-2]))).astype(np.float32)
    filters.flags.writeable = False
    return filters


@cache
def _window() -> F32:
    """Return the periodic Hann window of one frame."""
    window: F32 = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    window.flags.writeable = False
    return window


def _mel(hz: float) -> float:
    """Return the place of a frequency above 1 kHz on slaney's scale."""
    return float(_BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequencies at these places of slaney's scale."""
    bent = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ, bent)
