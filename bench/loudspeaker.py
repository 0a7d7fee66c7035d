"""A loudspeaker beside the microphone: what it plays comes back, later and softer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.echo_room import room
from bench.material import MICROPHONE_HZ
from bench.speech import Samples
from riposte.client.playout import Playout
from riposte.wire.frames import ServerFrame


class Loudspeaker:
    """Play what the server sends, at the microphone's rate and in step with it.

    Nothing of it comes back, as with headphones, until it is placed in a room.
    """

    def __init__(self) -> None:
        self._playout = Playout(MICROPHONE_HZ)
        self.take_away()

    def take_away(self) -> None:
        """Let nothing of it come back."""
        self._way, self._response = np.zeros(0), np.zeros(0)

    def place(self, gain_db: float, delay_ms: int, room_seed: int, reference: Samples) -> None:
        """Put it somewhere in a room; what is on its way is lost.

        `gain_db` is the level of what comes back, relative to what is sent, for speech like `reference`.
        """
        response = room(room_seed).astype(np.float64)
        size = reference.size + response.size  # by its spectrum: in time it would stop the loop for 60 ms
        through = np.fft.irfft(np.fft.rfft(reference, size) * np.fft.rfft(response, size), size)
        loss = rms(through[: reference.size]) / rms(reference)
        self._response = response * 10 ** (gain_db / 20) / loss
        self._way = np.zeros(delay_ms * MICROPHONE_HZ // 1000 + self._response.size)

    def take(self, frame: ServerFrame) -> None:
        """Take what concerns a loudspeaker."""
        self._playout.take(frame)

    def news(self) -> list[tuple[int, int]]:
        """Return (turn, ms heard) for every turn that has got further since the last call."""
        return self._playout.news()

    def heard(self, samples: int) -> NDArray[np.float64]:
        """Play so many samples, and return what the microphone hears meanwhile."""
        played = np.frombuffer(self._playout.pull(samples), np.int16)
        if not self._response.size:
            return np.zeros(samples)
        self._way = np.concatenate((self._way, np.zeros(samples)))
        if played.any():
            comes_back = np.convolve(played, self._response)
            begins = self._way.size - self._response.size - samples
            self._way[begins : begins + comes_back.size] += comes_back
        heard, self._way = self._way[:samples], self._way[samples:]
        return heard


def rms(pcm: NDArray[Any]) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(pcm.astype(np.float64)))))
