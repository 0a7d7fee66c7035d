"""A streaming resampler that holds back 2 ms.

soxr (1.1) is faster and steeper, but a stream of it withholds 20 to 66 ms before anything comes out,
in blocks (48 kHz to 16 kHz in 20 ms pieces: every second piece gives nothing, 21 ms at "HQ", 15 at
"MQ"; 22.05 to 24 kHz: 33 ms). Out of 200 ms between the end of a question and the beginning of the
answer, that is much for nothing. For sound that is there as a whole, use soxr.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

F32 = NDArray[np.float32]

_CROSSINGS = 32  # of the filter's sine, each side, at the lower rate: 2 ms at 16 kHz
_KAISER = 7.0  # 70 dB in the stop band
_CUTOFF = 0.472  # of the lower rate: flat to 0.44 (7 kHz of 16), 70 dB down from 0.505
_PHASES = 640  # rates with more of them (44,099 Hz) use the nearest, 57 dB down at the worst


class Resampler:
    """Changes the rate of one mono stream, piece by piece. Not shared between threads.

    The pieces' sizes do not matter: the same samples come out. n samples give ceil(n * to / from),
    aligned with the input (the filter's delay is made up for).
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        if from_hz <= 0 or to_hz <= 0:
            raise ValueError(f"rates are positive, not {from_hz} and {to_hz}")
        common = gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        self._filters = _filters(self._up, self._down)
        self._half = self._filters.shape[1] // 2
        self.clear()

    def clear(self) -> None:
        """Forget the stream; the next piece begins another."""
        self._samples = np.zeros(self._half - 1, np.float32)  # what the next output may still need
        self._first = 1 - self._half  # the stream's number of _samples[0]
        self._made = 0

    def push(self, pcm: F32) -> F32:
        """Return what these f32 samples complete; all but the last 2 ms of what was pushed."""
        if self._up == self._down:
            return pcm
        self._samples = np.concatenate((self._samples, pcm))
        known = self._first + self._samples.size
        # Output n looks at inputs up to n * down // up + half.
        return self._make(-(-max(0, known - self._half) * self._up // self._down))

    def flush(self) -> F32:
        """Return the last 2 ms, as if silence followed, and begin anew."""
        if self._up == self._down:
            return np.empty(0, np.float32)
        known = self._first + self._samples.size
        self._samples = np.concatenate((self._samples, np.zeros(self._half, np.float32)))
        rest = self._make(-(-known * self._up // self._down))
        self.clear()
        return rest

    def _make(self, until: int) -> F32:
        """Make the outputs from the next one up to `until`, and drop the inputs that are done with."""
        if until <= self._made:
            return np.empty(0, np.float32)
        place = np.arange(self._made, until, dtype=np.int64) * self._down
        base, phase = np.divmod(place, self._up)
        windows = sliding_window_view(self._samples, 2 * self._half)[base - self._half + 1 - self._first]
        phases = len(self._filters)
        if phases != self._up:
            phase = np.minimum(np.rint(phase * (phases / self._up)).astype(np.int64), phases - 1)
        # einsum, because OpenBLAS would spread this little over all cores, and wait for them.
        pcm: F32 = np.einsum("ij,ij->i", windows, self._filters[phase])
        self._made = until
        done = until * self._down // self._up - self._half + 1 - self._first
        self._samples, self._first = self._samples[done:], self._first + done
        return pcm


@lru_cache(maxsize=16)  # a table is 0.1 to 1 MB, and clients choose the rates
def _filters(up: int, down: int) -> F32:
    """Return a low-pass filter for each place between two input samples: f32 [phases, taps]."""
    stretch = max(1.0, down / up)  # the filter is as wide as the lower rate needs
    half = int(np.ceil(_CROSSINGS * stretch))
    phases = min(up, _PHASES)
    tap = np.arange(2 * half) - (half - 1)
    distance = np.arange(phases)[:, np.newaxis] / phases - tap[np.newaxis, :]
    width = np.clip(distance / half, -1.0, 1.0)
    window = np.i0(_KAISER * np.sqrt(1.0 - width**2)) / np.i0(_KAISER)
    cutoff = 2.0 * _CUTOFF / stretch
    table = cutoff * np.sinc(cutoff * distance) * window
    table /= table.sum(axis=1, keepdims=True)  # a constant stays the same constant
    filters: F32 = table.astype(np.float32)
    filters.flags.writeable = False
    return filters
