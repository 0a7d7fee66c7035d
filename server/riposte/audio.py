"""Sound as numbers: sample formats, loudness, the silence before a reply, and WAV.

Everything is mono. `pcm` is f32 in -1 … 1 or s16; which of the two, the type says.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
S16 = NDArray[np.int16]

AUDIBLE = 128
"""A sample of this size is sound: 1/256 of full scale, -48 dBFS.

Above the dither and the synthesiser's own noise (espeak-ng's pauses are exact zeros, a neural voice's
stay under 40), below the first period of the softest consonant that a listener would call a beginning.
"""

WAV_HEADER_BYTES = 44
_UNKNOWN = 0xFFFF_FFFF


def to_f32(pcm: S16) -> F32:
    """Return s16 samples as f32 in -1 … 1. A copy; `to_s16` brings back the very same samples."""
    return pcm.astype(np.float32) * np.float32(1 / 32768)


def to_s16(pcm: F32) -> S16:
    """Return f32 samples as s16, rounded; what is beyond full scale is clipped."""
    scaled: F32 = np.clip(np.rint(pcm * np.float32(32768)), -32768, 32767)
    return scaled.astype(np.int16)


def from_bytes(pcm16le: bytes | bytearray | memoryview) -> F32:
    """Return little-endian s16 bytes, as they are on the wire, as f32. Raises ValueError on half a sample."""
    return to_f32(np.frombuffer(pcm16le, dtype="<i2"))


def leading_silence(pcm: S16, *, audible: int = AUDIBLE) -> int:
    """Return how many samples come before the first one whose size is `audible`; all, when none is."""
    # int32, because the size of -32768 does not fit in 16 bits.
    loud = np.abs(pcm.astype(np.int32)) >= audible
    first = int(loud.argmax()) if loud.size else 0
    return first if loud.size and loud[first] else int(pcm.size)


def loudest_dbfs(pcm: F32, rate_hz: int, *, span_ms: int = 30) -> float:
    """Return the level of the loudest stretch of `span_ms`, as RMS in dB under full scale.

    Exact digital silence, and no samples at all, give -inf. A stretch is long enough that a single
    click in silence does not count as loud: one sample of full scale gives -27 dB at 16 kHz.
    """
    span = max(1, rate_hz * span_ms // 1000)
    if pcm.size == 0:
        return float("-inf")
    whole = pcm[: pcm.size // span * span].reshape(-1, span) if pcm.size >= span else pcm[np.newaxis]
    energy = float(np.einsum("ij,ij->i", whole, whole).max()) / whole.shape[1]
    return 10.0 * float(np.log10(energy)) if energy > 0 else float("-inf")


def loudness_range_db(pcm: F32, rate_hz: int, *, span_ms: int = 30) -> float:
    """Return how much the level of stretches of `span_ms` varies: the 90th percentile less the 10th, in dB.

    A syllable is 15 dB and more above what lies between syllables; a fan, a hiss or a tone stays within 2.
    Fewer than two stretches vary by 0. Digital silence counts as -120 dB.
    """
    span = max(1, rate_hz * span_ms // 1000)
    whole = pcm[: pcm.size // span * span].reshape(-1, span)
    if len(whole) < 2:
        return 0.0
    levels = 10.0 * np.log10(np.maximum(np.einsum("ij,ij->i", whole, whole) / span, 1e-12))
    low, high = np.percentile(levels, (10, 90))
    return float(high - low)


def wav_header(rate_hz: int, samples: int | None = None) -> bytes:
    """Return the 44 bytes before mono s16 samples; None is a stream of unknown length.

    An unknown length is written as 0xFFFFFFFF, which browsers, ffmpeg, sox and libsndfile read to the
    end of the stream. Raises ValueError when the sound does not fit into a WAV file (4 GiB).
    """
    size = _UNKNOWN if samples is None else 2 * samples
    whole = _UNKNOWN if samples is None else size + WAV_HEADER_BYTES - 8
    if samples is not None and whole >= _UNKNOWN:
        raise ValueError(f"{samples} samples do not fit into a WAV file")
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", whole, b"WAVE"),
        *(b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16),
        *(b"data", size),
    )


def wav_bytes(pcm: S16, rate_hz: int) -> bytes:
    """Return a whole WAV file of mono samples."""
    return wav_header(rate_hz, pcm.size) + pcm.astype("<i2", copy=False).tobytes()
