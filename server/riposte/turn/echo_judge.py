"""Whether what a prediction leaves of the microphone is more than an echo can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

# Twelve bands, narrower where a voice has most of its sound: 190 Hz to 7 kHz, in bins of 62.5 Hz.
_EDGES = np.unique(np.round(np.geomspace(3, 112, 17)).astype(int))[:-1]
_END = 112
BANDS = _EDGES.size

_HARDLY = 0.3  # belief under which what is left is taken to be echo alone
_OPEN = 1.0  # belief at which what is left passes
_SURE = 8.0  # belief goes no further
_LINGER = 35  # blocks, 280 ms: after belief was sure, what is left passes so much longer; words have gaps
_DOUBT = 0.2  # of belief, lost at each block
_CLOSED = 0.003  # -50 dB
_LEAST = np.float32(0.01)  # of the loudest echo is always taken to be left: 20 dB
_SILENCE = np.float32(1e-7)
_RISE = np.float32(1.002)  # a block: 1 dB a second


class Judge:
    """Believes in a voice when what is left is more than expected, in many bands, for some blocks.

    What is expected is what the prediction may miss, and a share of the loudest echo that the path allows.
    That share is learned while nobody speaks: small where prediction works, all of it where a client's own
    canceller leaves odd scraps.
    """

    def __init__(self) -> None:
        self._noise: F32 = np.ones(BANDS, np.float32)  # not known: anything
        self._heard: F32 = np.zeros(BANDS, np.float32)
        self._expected: F32 = np.zeros(BANDS, np.float32)
        self._most: F32 = np.zeros(BANDS, np.float32)
        self._share: F32 = np.ones(BANDS, np.float32)
        self._steady = True  # the gain at which the client plays is known
        self.belief = 0.0
        self._lingers = 0

    def begin(self, past: F32) -> None:
        """Take the noise from what was heard before, power spectra f32[n, bins]; n may be 0."""
        self.belief = 0.0
        self._lingers = 0
        self._heard[:] = 0
        self._most[:] = 0
        if len(past) >= 4:
            power = in_bands(past)
            smooth = (power[3:] + power[2:-1] + power[1:-2] + power[:-3]) / 4
            self._noise = np.maximum(np.percentile(smooth, 15, axis=0), _SILENCE).astype(np.float32)

    def doubt(self) -> None:
        """Trust the prediction less for the next second: the client plays anew."""
        self._share = np.maximum(self._share, np.float32(0.5))

    def expect(self, residual: F32, strongest: F32, gain: float, *, steady: bool) -> float:
        """Say what of the next block should pass: 0 to 1.

        `residual` and `strongest` are power spectra of what the prediction may miss and of the loudest echo
        possible, for a client that plays at gain 1; `gain` is the higher one that it may be playing at.
        """
        self._most = np.maximum(np.float32(0.85) * self._most, in_bands(strongest))
        self._steady = steady
        share = self._share if steady else np.float32(1.0)
        self._expected = np.float32(gain * gain) * (in_bands(residual) + share * self._most)
        if self.belief > _OPEN or self._lingers:
            return 1.0
        # 10 dB under the noise, so that it ends where the room's own silence begins.
        loud = float(np.maximum(self._heard, self._expected).sum())
        return min(1.0, max(_CLOSED, 0.3 * float(self._noise.sum() / loud) ** 0.5)) if loud > 0 else 1.0

    def hear(self, left: F32, likeness: float) -> None:
        """Judge a block by the power of what was left of it, and by how alike that is to the prediction."""
        self.listen(left)
        below = self._expected + 2 * self._noise
        excess = np.log((self._heard + _SILENCE) / below)
        score = float(np.clip(excess, -1.0, 2.5).mean()) - 3.0 * max(0.0, likeness - 0.25)
        self.belief = min(_SURE, max(0.0, self.belief + score - _DOUBT))
        self._lingers = _LINGER if self.belief >= _SURE else max(0, self._lingers - 1)
        if self._steady:
            # Somebody's voice must not become what is expected; an echo that passes for one must, in time.
            rise = np.float32(0.1 if self.belief < _HARDLY and not self._lingers else 0.01)
            seen = self._share + (self._heard - below) / (self._most + _SILENCE)
            pace = np.where(seen > self._share, rise, np.float32(0.008)) * (self._most > 4 * self._noise)
            self._share += pace * (np.clip(seen, _LEAST, np.float32(1.0)) - self._share)

    def listen(self, power: F32) -> None:
        """Follow a block's loudness and the noise, and judge nothing."""
        self._heard += np.float32(0.5) * (in_bands(power) - self._heard)
        falls = self._heard < self._noise
        noise = np.where(
            falls, np.float32(0.8) * self._noise + np.float32(0.2) * self._heard, _RISE * self._noise
        )
        # What was not known before is known after two blocks.
        self._noise = np.maximum(np.minimum(noise, 8 * self._heard), _SILENCE)

    @property
    def loud(self) -> bool:
        """Is there sound above the noise?"""
        excess = np.log((self._heard + _SILENCE) / (4 * self._noise))
        return bool(np.clip(excess, -1.0, 2.0).mean() > 0)


def in_bands(power: F32) -> F32:
    """Return power spectra f32[…, 129] as f32[…, BANDS]."""
    bands: F32 = np.add.reduceat(power[..., :_END], _EDGES, axis=-1)
    return bands
