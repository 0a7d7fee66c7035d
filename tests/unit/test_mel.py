"""The spectrogram against numbers that transformers' WhisperFeatureExtractor gave (data/mel.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riposte.mel import (
    HOP,
    GrowingMel,
    frames_of,
    known_frames,
    log_mel,
    mel_filters,
    normalise,
    raw_log_mel,
)

STORED: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "mel.json").read_text())


def sound() -> np.ndarray:
    """200 ms: a tone that stops, a rising one, and a faint high one."""
    time_s = np.arange(3_200) / 16_000
    stops = 0.4 * np.sin(2 * np.pi * 220 * time_s) * (time_s < 0.12)
    rises = 0.1 * np.sin(2 * np.pi * (900 + 9_000 * time_s) * time_s)
    return (stops + rises + 0.003 * np.sin(2 * np.pi * 7_300 * time_s)).astype(np.float32)


@pytest.mark.parametrize("mels", [80, 128])
def test_it_is_what_transformers_makes(mels: int) -> None:
    padded = np.concatenate([sound(), np.zeros(1_600, np.float32)])
    mine = log_mel(padded, mels)
    assert mine.shape == (1, mels, 30)
    assert mine.dtype == np.float32
    assert mine.flags.c_contiguous
    wanted = np.array(STORED[str(mels)], np.float32)
    assert np.abs(mine[0].T[STORED["frames"]] - wanted).max() < 5e-5


def test_known_frames_never_change() -> None:
    pcm = np.concatenate([sound(), sound()])
    whole = raw_log_mel(pcm, 80)
    part = raw_log_mel(pcm[:4_000], 80)
    # All but the last two, which look at the mirrored edge.
    known = frames_of(4_000) - 2
    # The window's edge is weightless, so a frame is known a sample earlier than it looks.
    np.testing.assert_allclose(part[:known], whole[:known], atol=1e-6)


def test_steps_give_what_the_whole_gives() -> None:
    pcm = np.concatenate([sound(), sound(), sound()])
    kept: list[np.ndarray] = []
    for end in (3_200, 6_400, 9_600):
        # From a frame boundary far enough back that the frame sees its 200 samples before.
        first = max(0, len(kept) - 2)
        raw = raw_log_mel(pcm[max(0, first - 2) * HOP : end], 80)[min(first, 2) :]
        kept = [*kept[:first], *raw]
    np.testing.assert_allclose(normalise(np.array(kept)), log_mel(pcm, 80), atol=1e-6)


def test_a_growing_sound_gives_the_same_frames_however_it_grows() -> None:
    pcm = np.concatenate([sound()] * 8)
    for lengths in ([201, 360, 1_000, 5_000, 5_001, 25_600], [25_600, 4_000, 999], [7_777, 25_599]):
        growing = GrowingMel(80)
        for length in lengths:
            frames = growing.frames(pcm[:length])
            assert frames.shape == (known_frames(length), 80)
            assert np.array_equal(frames, GrowingMel(80).frames(pcm[:length]))
            # What is known is what the whole has there.
            assert np.array_equal(frames[:-2], raw_log_mel(pcm[:length], 80)[: len(frames) - 2])
    assert GrowingMel(80).frames(pcm[:200]).shape == (0, 80)


def test_silence_has_no_shape() -> None:
    silent = log_mel(np.zeros(16_000, np.float32), 80)
    assert np.all(silent == silent[0, 0, 0])


def test_filters_have_an_area_of_one() -> None:
    for mels in (80, 128):
        filters = mel_filters(mels)
        assert filters.shape == (201, mels)
        assert not filters.flags.writeable
        # Bins are 40 Hz apart, and the lowest filters are narrower than two of them.
        assert filters[:, mels // 2 :].sum(axis=0) * 40 == pytest.approx(np.ones(mels - mels // 2), abs=0.1)


@pytest.mark.parametrize("pcm", [np.zeros(200, np.float32), np.zeros((2, 800), np.float32)])
def test_too_little_or_too_many_channels_are_refused(pcm: np.ndarray) -> None:
    with pytest.raises(ValueError, match="more than 200 samples"):
        raw_log_mel(pcm, 80)
