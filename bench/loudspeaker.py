"""A loudspeaker beside the microphone: what it plays comes back, later and softer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.material import MICROPHONE_HZ
from riposte.client.playout import Playout
from riposte.wire.frames import ServerFrame


class Loudspeaker:
    """Play what the server sends, at the microphone's rate and in step with it.

    `gain_db` is how loud the microphone hears it (None: not at all, as with headphones), `delay_ms` how long
    after it left the player: the device's buffers and the way through the air.
    """

    def __init__(self, gain_db: float | None = None, delay_ms: int = 0) -> None:
        self._playout = Playout(MICROPHONE_HZ)
        self.place(gain_db, delay_ms)

    def place(self, gain_db: float | None, delay_ms: int) -> None:
        """Put it elsewhere; what is on its way is lost."""
        self._gain = 0.0 if gain_db is None else 10 ** (gain_db / 20)
        self._way = np.zeros(delay_ms * MICROPHONE_HZ // 1000)

    def take(self, frame: ServerFrame) -> None:
        """Take what concerns a loudspeaker."""
        self._playout.take(frame)

    def news(self) -> list[tuple[int, int]]:
        """Return (turn, ms heard) for every turn that has got further since the last call."""
        return self._playout.news()

    def heard(self, samples: int) -> NDArray[np.float64]:
        """Play so many samples, and return what the microphone hears meanwhile."""
        played = np.frombuffer(self._playout.pull(samples), np.int16)
        way = np.concatenate((self._way, self._gain * played))
        self._way = way[samples:]
        return way[:samples]
