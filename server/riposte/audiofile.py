"""Sound files as what the models hear: 16 kHz, one channel, f32, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from riposte.errors import RiposteError

RATE_HZ = 16_000
_BLOCK_S = 1.0

F32 = NDArray[np.float32]


class UnreadableSound(RiposteError):
    """The file is missing, or holds no sound that can be read. The text names no path: the caller does."""


def read_16k(path: Path) -> Iterator[F32]:
    """Yield a file's sound in blocks; any rate, any channels, any length, WAV, FLAC, OGG and more.

    Raises UnreadableSound, also in the middle of a file that is damaged there.
    """
    if not path.is_file():
        raise UnreadableSound("it is a folder" if path.is_dir() else "there is no such file")
    try:
        with soundfile.SoundFile(path) as file:
            yield from _resampled(file)
    except OSError as exc:
        raise UnreadableSound(f"it cannot be opened: {exc.strerror or exc}") from exc
    except soundfile.LibsndfileError as exc:
        reason = str(exc.error_string).removeprefix("Error : ").strip().rstrip(".")
        raise UnreadableSound(f"it is no sound that can be read ({reason}); WAV, FLAC and OGG fit") from exc


def _resampled(file: soundfile.SoundFile) -> Iterator[F32]:
    # A whole file has no hurry, so the steepest filter may keep back what it likes until the end.
    resampler = soxr.ResampleStream(file.samplerate, RATE_HZ, 1, dtype="float32")
    frames = max(1, int(file.samplerate * _BLOCK_S))
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        # A file of floats may hold what is no number; a model would answer nothing else ever after.
        mono = np.nan_to_num(block.mean(axis=1), posinf=1.0, neginf=-1.0).clip(-1.0, 1.0)
        if len(made := resampler.resample_chunk(mono.astype(np.float32, copy=False))):
            yield made
    if len(rest := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield rest
