"""Whisper's log-mel spectrogram, to the last digit that matters.

Specification (openai/whisper `audio.py`): 16 kHz mono; frames of 400 samples every 160, centred, so
that frame i sees samples 160 i - 200 … 160 i + 199; the edges mirrored; periodic Hann window; power;
80 or 128 mel filters (slaney's scale, slaney's area normalisation); log10, not below 1e-10; then
nothing more than 8 under the loudest value of the whole; then (x + 4) / 4.

It comes in two parts, because the second looks at the whole utterance and the first does not: a
frame of `raw_log_mel` whose 400 samples are known never changes, a normalised one may with every new
frame. Whoever listens in steps keeps raw frames: `GrowingMel`.

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


def known_frames(samples: int) -> int:
    """Return how many frames of a longer sound its first `samples` samples decide already."""
    return 0 if samples <= _EDGE else (samples - _EDGE) // HOP + 1


def raw_log_mel(pcm: F32, mels: int) -> F32:
    """Return log10 of the mel power of each frame, before any look at the whole.

    `pcm` is f32 [samples] at 16 kHz, more than 200 samples; the result f32 [samples // 160, mels].
    The two last frames depend on the mirrored edge: they change when more samples follow.
    """
    if pcm.ndim != 1 or len(pcm) <= _EDGE:
        raise ValueError(f"a spectrogram needs more than {_EDGE} samples in one row, not {pcm.shape}")
    # One frame for each whole hop: Whisper drops the frame that is centred on the end.
    return _raw(np.pad(pcm, _EDGE, mode="reflect"), frames_of(len(pcm)), mels)


class GrowingMel:
    """The raw frames of a sound that grows, each computed once.

    For one thread at a time. Memory: 4 bytes a value, 32 kB a second of sound with 80 mels.
    """

    def __init__(self, mels: int) -> None:
        self._kept = np.empty((0, mels), np.float32)

    def frames(self, pcm: F32) -> F32:
        """Return the frames that `pcm` decides: f32 [known_frames(samples), mels].

        `pcm` is the sound from its beginning, as far as it is known now, or less. The same samples give
        the same frames to the last bit, whatever was asked for before.
        """
        known = known_frames(len(pcm))
        # In whole groups, so that a frame is computed beside the same others each time.
        grouped, kept = known // _PRODUCT * _PRODUCT, len(self._kept)
        if grouped > kept:
            self._kept = np.concatenate([self._kept, self._computed(pcm, kept, grouped)])
        if known <= len(self._kept):
            return self._kept[:known]
        return np.concatenate([self._kept, self._computed(pcm, grouped, known)])

    def _computed(self, pcm: F32, first: int, last: int) -> F32:
        begin, end = first * HOP - _EDGE, (last - 1) * HOP + _EDGE
        stretch = pcm[max(begin, 0) : end]
        if begin < 0:
            stretch = np.concatenate([pcm[1 : 1 - begin][::-1], stretch])
        return _raw(stretch, last - first, self._kept.shape[1])


def _raw(padded: F32, frames: int, mels: int) -> F32:
    """Return the raw frames whose first begins with the first sample."""
    framed = sliding_window_view(padded, FRAME)[::HOP][:frames]
    mel = np.empty((-(-frames // _PRODUCT) * _PRODUCT, mels), np.float32)
    for first in range(0, frames, _BLOCK):
        spectrum = np.fft.rfft(framed[first : first + _BLOCK] * _window())
        # A product has always as many rows: with fewer, other instructions would round otherwise.
        power = np.zeros((-(-len(spectrum) // _PRODUCT) * _PRODUCT, _BINS), np.float32)
        # numpy 1.26 transforms in double precision.
        power[: len(spectrum)] = spectrum.real**2 + spectrum.imag**2
        for row in range(0, len(power), _PRODUCT):
            at = slice(first + row, first + row + _PRODUCT)
            np.matmul(power[row : row + _PRODUCT], mel_filters(mels), out=mel[at])
    raw: F32 = np.log10(np.maximum(mel[:frames], np.float32(1e-10)))
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
