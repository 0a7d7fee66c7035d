from __future__ import annotations

import io
import wave

import numpy as np
import pytest
import soundfile

from riposte.audio import (
    AUDIBLE,
    WAV_HEADER_BYTES,
    from_bytes,
    leading_silence,
    loudest_dbfs,
    loudness_range_db,
    to_f32,
    to_s16,
    wav_bytes,
    wav_header,
)


def test_s16_comes_back_the_same() -> None:
    every = np.arange(-32_768, 32_768).astype(np.int16)
    assert np.array_equal(to_s16(to_f32(every)), every)


def test_what_is_beyond_full_scale_is_clipped() -> None:
    assert to_s16(np.array([-3, -1, 1, 3], np.float32)).tolist() == [-32_768, -32_768, 32_767, 32_767]


def test_wire_bytes_are_little_endian() -> None:
    assert from_bytes(b"\x00\x40\x00\xc0").tolist() == [0.5, -0.5]
    assert from_bytes(b"").size == 0
    with pytest.raises(ValueError, match="multiple"):
        from_bytes(b"\x00")


@pytest.mark.parametrize(
    ("pcm", "silent"),
    [
        ([], 0),
        ([0, 0, 0], 3),
        ([AUDIBLE], 0),
        ([0, AUDIBLE - 1, AUDIBLE, 0], 2),
        ([0, -AUDIBLE], 1),
        ([1, -32_768], 1),
    ],
)
def test_leading_silence(pcm: list[int], silent: int) -> None:
    assert leading_silence(np.array(pcm, np.int16)) == silent


@pytest.mark.parametrize("samples", [1, 480, 16_000])
def test_a_level_is_that_of_the_loudest_stretch(samples: int) -> None:
    half = np.full(samples, 0.5, np.float32)
    assert loudest_dbfs(half, 16_000) == pytest.approx(-6.02, abs=0.01)
    quiet_first = np.concatenate([np.zeros(480 * 7, np.float32), np.full(480, 0.01, np.float32)])
    assert loudest_dbfs(quiet_first, 16_000) == pytest.approx(-40, abs=0.01)


def test_silence_has_no_level() -> None:
    assert loudest_dbfs(np.zeros(16_000, np.float32), 16_000) == -np.inf
    assert loudest_dbfs(np.zeros(0, np.float32), 16_000) == -np.inf


def test_a_click_is_quieter_than_it_peaks() -> None:
    click = np.zeros(16_000, np.float32)
    click[5_000] = 1.0
    assert loudest_dbfs(click, 16_000) == pytest.approx(-26.8, abs=0.1)


def test_a_wav_reads_back() -> None:
    pcm = (np.sin(np.arange(2_205) / 9) * 20_000).astype(np.int16)
    with wave.open(io.BytesIO(wav_bytes(pcm, 22_050))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
        assert file.readframes(9_999) == pcm.tobytes()


def test_a_stream_of_unknown_length_reads_back() -> None:
    pcm = np.arange(1_000, dtype=np.int16)
    header = wav_header(24_000)
    assert len(header) == WAV_HEADER_BYTES
    assert header[4:8] == header[40:44] == b"\xff\xff\xff\xff"
    read, rate = soundfile.read(io.BytesIO(header + pcm.tobytes()), dtype="int16")
    assert rate == 24_000
    assert np.array_equal(read, pcm)


def test_four_gigabytes_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        wav_header(16_000, 1 << 31)


def test_steady_sounds_hardly_vary_and_syllables_do() -> None:
    time_s = np.arange(32_000) / 16_000
    rng = np.random.default_rng(2)
    for steady in (
        np.sin(2 * np.pi * 440 * time_s),
        rng.standard_normal(32_000),
        np.sin(2 * np.pi * 50 * time_s),
    ):
        assert loudness_range_db(steady.astype(np.float32) * 0.1, 16_000) < 2.5
    syllables = rng.standard_normal(32_000) * (0.02 + np.sin(2 * np.pi * 2 * time_s) ** 2)
    assert loudness_range_db(syllables.astype(np.float32) * 0.1, 16_000) > 10
    assert loudness_range_db(np.zeros(100, np.float32), 16_000) == 0
