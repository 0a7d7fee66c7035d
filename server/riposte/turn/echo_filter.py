"""What an echo's path is learned with: how late it is, and what it does to the sound.

`DelayFinder` is a generalised cross-correlation over 600 ms, `EchoFilter` a partitioned-block Kalman filter
in the frequency domain (Enzner and Vary 2006; Kuech and others 2014). Both know samples at 16 kHz and
nothing of sessions or clocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from riposte.interfaces import SPEECH_RATE_HZ, PcmF32

C64 = NDArray[np.complex64]
F32 = NDArray[np.float32]

BLOCK = 128  # 8 ms
BINS = BLOCK + 1
PARTS = 16  # 128 ms of room; what comes later counts as what the prediction misses
HOP = 512  # 32 ms
REACH = 19  # hops: 600 ms

_KEPT = np.float32(0.998)  # of the path's power from one block to the next: it forgets within some 4 s
# Neighbouring frames of a voice are alike, so each teaches less than the theory of white sound has it.
_NEWS = np.float32(0.15)
_FIRST: F32 = np.exp(-np.arange(PARTS) / 2.0).astype(np.float32)  # how an unknown path's power lies in time
_FIRST /= _FIRST.sum()
_LITTLE = np.float32(1e-7)
_FORGET = np.float32(0.93)  # a hop: half a second
_SOONEST = 160  # samples: nothing is played and recorded faster


class EchoFilter:
    """Learns the path from loudspeaker to microphone, and how far it can be trusted.

    `far` is the reply, delayed so that the path begins within the first block.
    """

    def __init__(self) -> None:
        self._path: C64 = np.zeros((PARTS, BINS), np.complex64)
        self._doubt: F32 = np.zeros((PARTS, BINS), np.float32)  # variance of the path
        self._far: C64 = np.zeros((PARTS, BINS), np.complex64)
        self._power: F32 = np.zeros((PARTS, BINS), np.float32)
        self._near: F32 = np.zeros(BINS, np.float32)  # power of whatever is no echo
        self._work: C64 = np.zeros((PARTS, BINS), np.complex64)
        self._frame: F32 = np.zeros(2 * BLOCK, np.float32)
        self._turn = 0
        self.residual: F32 = np.zeros(BINS, np.float32)  # power of the echo that the prediction will miss
        self.strongest: F32 = np.zeros(BINS, np.float32)  # power of the loudest echo that the path allows
        self._gain: F32 = np.zeros(BINS, np.float32)  # the path's, at each frequency

    def begin(self, power: F32) -> None:
        """Know nothing of the path but its power at each frequency, f32[BINS]."""
        self._path[:] = 0
        self._gain = power.copy()
        self._doubt = np.outer(_FIRST, power).astype(np.float32)

    def doubt(self, share: float) -> None:
        """Trust what is known of the path less: it may be off by this share of its power."""
        self._doubt = np.maximum(self._doubt, np.float32(share) * np.outer(_FIRST, self._gain))

    def taps(self) -> F32:
        """Return the path's impulse response, f32[PARTS * BLOCK]."""
        taps: F32 = np.fft.irfft(self._path)[:, :BLOCK].astype(np.float32)
        return taps.reshape(-1)

    def shift(self, samples: int) -> None:
        """Move the path later by so many samples; earlier, when they are negative."""
        taps = np.roll(self.taps(), samples)
        frames = np.zeros((PARTS, 2 * BLOCK), np.float32)
        frames[:, :BLOCK] = taps.reshape(PARTS, BLOCK)
        self._path = np.fft.rfft(frames).astype(np.complex64)

    def refill(self, far: PcmF32) -> None:
        """Take the reply's last (PARTS + 1) * BLOCK samples, which end where the next block begins."""
        frames = np.lib.stride_tricks.sliding_window_view(far, 2 * BLOCK)[::-BLOCK]
        self._far = np.fft.rfft(frames).astype(np.complex64)
        self._power = self._far.real**2 + self._far.imag**2

    def predict(self, far: PcmF32) -> PcmF32:
        """Return the echo of the next block, f32[BLOCK]; `far` ends with that block, f32[2 * BLOCK]."""
        self._far[1:] = self._far[:-1]
        self._power[1:] = self._power[:-1]
        newest = np.fft.rfft(far)
        self._far[0] = newest
        self._power[0] = newest.real**2 + newest.imag**2
        spectrum = np.multiply(self._far, self._path, out=self._work).sum(axis=0)
        self.residual = np.float32(0.5) * np.einsum("pk,pk->k", self._power, self._doubt)
        self.strongest = np.float32(0.5) * (_FIRST @ self._power) * self._gain
        echo: PcmF32 = np.fft.irfft(spectrum)[BLOCK:].astype(np.float32, copy=False)
        return echo

    def learn(self, left: PcmF32) -> F32:
        """Learn from what the prediction left of the block; return its power, f32[BINS]."""
        error, power = self.spectrum(left)
        if not self.strongest.any():
            return power
        self._near += np.float32(0.2) * (np.maximum(power - self.residual, 0.05 * power) - self._near)
        below = self.residual + self._near + _LITTLE
        # path += doubt * conj(far) * error / below
        step = np.multiply(self._far, np.conj(error) / below, out=self._work)
        np.conj(step, out=step)
        step *= self._doubt
        self._path += step
        self._doubt *= _KEPT * np.maximum(1 - _NEWS * (self._doubt * self._power / below), np.float32(0.01))
        # Each partition's taps fill half a frame; a few are brought back to it in turn.
        some = slice(self._turn, PARTS, 4)
        self._turn = (self._turn + 1) % 4
        taps = np.fft.irfft(self._path[some])
        taps[:, BLOCK:] = 0
        path = np.fft.rfft(taps)
        self._path[some] = path
        self._doubt[some] += (4 * (1 - _KEPT)) * (path.real**2 + path.imag**2)
        if self._turn == 0:
            now = np.sum(self._path.real**2 + self._path.imag**2, axis=0)
            self._gain = np.maximum(np.float32(0.997) * self._gain, now)
        return power

    def spectrum(self, left: PcmF32) -> tuple[C64, F32]:
        """Return a block's spectrum and its power, c64[BINS] and f32[BINS]."""
        self._frame[BLOCK:] = left
        spectrum = np.fft.rfft(self._frame).astype(np.complex64, copy=False)
        return spectrum, spectrum.real**2 + spectrum.imag**2


class DelayFinder:
    """Finds how long after the reply its echo arrives, within 600 ms."""

    def __init__(self) -> None:
        hz = np.fft.rfftfreq(2 * HOP, 1 / SPEECH_RATE_HZ)
        self._band = ((hz > 200) & (hz < 7000)).astype(np.float32)
        self._frame = np.zeros(2 * HOP, np.float32)
        # Else the edges of frames are what is alike, at multiples of a hop.
        self._near_window, self._far_window = _faded(HOP, 64), _faded(2 * HOP, 32)
        self._far: C64 = np.zeros((REACH, HOP + 1), np.complex64)
        self.restart()

    def restart(self) -> None:
        """Look for another delay; the reply's samples are kept."""
        self._cross: C64 = np.zeros((REACH, HOP + 1), np.complex64)
        self._far_power: F32 = np.zeros(HOP + 1, np.float32)
        self._near_power: F32 = np.zeros(HOP + 1, np.float32)

    def push(self, near: PcmF32, far: PcmF32) -> None:
        """Take a hop of the microphone, f32[HOP], and the reply up to its end, f32[2 * HOP]."""
        self._far[1:] = self._far[:-1]
        newest = np.fft.rfft(far * self._far_window)
        self._far[0] = np.conj(newest)
        self._frame[HOP:] = near * self._near_window
        spectrum = np.fft.rfft(self._frame).astype(np.complex64, copy=False)
        self._cross *= _FORGET
        self._cross += spectrum * self._far
        self._far_power += (1 - _FORGET) * (newest.real**2 + newest.imag**2 - self._far_power)
        self._near_power += (1 - _FORGET) * (spectrum.real**2 + spectrum.imag**2 - self._near_power)

    def find(self) -> tuple[int, float]:
        """Return the likeliest delay in samples, and how far it stands out, in deviations of chance."""
        weight = self._band / np.sqrt(self._far_power * self._near_power + np.float32(1e-12))
        lags = np.abs(np.fft.irfft(self._cross * weight)[:, :HOP]).reshape(-1)
        lags[:_SOONEST] = 0
        best = int(np.argmax(lags))
        filled = lags[lags > 0]
        chance = float(np.sqrt(np.mean(filled**2))) if filled.size else 0.0
        return best, float(lags[best]) / (chance + 1e-9)


def _faded(samples: int, edge: int) -> F32:
    window = np.ones(samples, np.float32)
    window[:edge] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge, dtype=np.float32) + 0.5) / edge)
    window[-edge:] = window[:edge][::-1]
    return window
