"""Text as tones and back: what stands for speech where the models are fake.

A clip is a marker tone of 60 ms, then two tones of 20 ms for each byte of the text's UTF-8. Tones are
multiples of 100 Hz and only the middle 10 ms of each is looked at, so that quantisation, gain,
resampling and an onset that is a few milliseconds off change nothing. About 25 characters a second:
a little faster than people talk.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from riposte.interfaces import SPEECH_RATE_HZ, PcmF32

_TONE = 320  # samples: 20 ms
_LOOK = slice(80, 240)  # 10 ms, so that a bin of the spectrum is 100 Hz wide
_BIN_HZ = 100
_MARKER_TONES = 3
_MARKER_BIN = 40  # 4 kHz
_BINS = tuple(range(5, 37, 2))  # 500 Hz … 3.5 kHz, one for each half byte
_AMPLITUDE = 0.5
_AUDIBLE = 0.02  # quieter is silence
_PURE = 0.6  # of a tone's energy, how much lies in its bin


def fake_speech(text: str, *, lead_s: float = 0.0, tail_s: float = 0.0) -> PcmF32:
    """Return `text` as tones, f32[n] at 16 kHz, with silence before and after."""
    halves = [half for byte in text.encode() for half in (byte >> 4, byte & 15)]
    bins = [_MARKER_BIN] * _MARKER_TONES + [_BINS[half] for half in halves]
    phase = 2 * np.pi * _BIN_HZ * np.arange(_TONE) / SPEECH_RATE_HZ
    # A cosine: the first sample is the loudest, which makes the onset exact.
    tones = _AMPLITUDE * np.cos(np.outer(bins, phase))
    lead, tail = (np.zeros(round(s * SPEECH_RATE_HZ)) for s in (lead_s, tail_s))
    return np.concatenate([lead, tones.ravel(), tail]).astype(np.float32)


def fake_words(pcm: PcmF32) -> str:
    """Return the text of every clip in f32[n] at 16 kHz, with a space between two clips.

    A clip that is not whole gives the characters that are; anything that is no clip gives none.
    """
    return " ".join(filter(None, _clips(pcm)))


def _clips(pcm: PcmF32) -> Iterator[str]:
    peak = float(np.abs(pcm).max(initial=0.0))
    if peak < _AUDIBLE:
        return
    loud = np.flatnonzero(np.abs(pcm) > 0.3 * peak)
    at = 0
    while (index := int(np.searchsorted(loud, at))) < len(loud):
        onset = int(loud[index])
        bins = _tones(pcm[onset:], 0.1 * peak)
        if bins[:_MARKER_TONES] != [_MARKER_BIN] * _MARKER_TONES:
            at = onset + _TONE  # a noise: look on behind it
            continue
        halves = []
        for value in bins[_MARKER_TONES:]:
            if value not in _BINS:
                break
            halves.append(_BINS.index(value))
        at = onset + (_MARKER_TONES + len(halves)) * _TONE
        pairs = zip(halves[::2], halves[1::2], strict=False)  # half a byte at the end is dropped
        yield bytes(high << 4 | low for high, low in pairs).decode(errors="ignore")


def _tones(pcm: PcmF32, floor: float) -> list[int]:
    """Name the tone of every 20 ms up to the first that is none."""
    rows = pcm[: len(pcm) // _TONE * _TONE].reshape(-1, _TONE)[:, _LOOK]
    power = np.abs(np.fft.rfft(rows, axis=1)) ** 2
    best = power.argmax(axis=1)
    pure = power.max(axis=1) > _PURE * power.sum(axis=1)
    good = pure & (np.sqrt(np.mean(rows**2, axis=1)) > floor)
    ends = np.flatnonzero(~good)
    return [int(value) for value in best[: ends[0] if len(ends) else None]]
