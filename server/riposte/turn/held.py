"""How much microphone audio a server holds, over all its sessions."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet

from riposte.errors import TooLarge
from riposte.interfaces import SPEECH_RATE_HZ


class Holder(Protocol):
    """Who holds audio, until it is closed or gone."""

    @property
    def held(self) -> int:
        """Samples at 16 kHz that it holds now."""


class HeldAudio:
    """What all utterances hold together, bounded. Used on the event loop.

    Nothing is booked and paid back: the sum is taken from the utterances that live, so that one which is
    lost on the way cannot weigh for ever.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._limit = round(limit_s * SPEECH_RATE_HZ)
        self._holders: WeakSet[Holder] = WeakSet()
        # Never below what is held: summing up for every frame would cost more than the frame.
        self._at_most = 0

    @property
    def seconds(self) -> float:
        """How much is held now."""
        return self._held() / SPEECH_RATE_HZ

    def add(self, holder: Holder) -> None:
        """Count an utterance for as long as it lives."""
        self._holders.add(holder)

    def grew(self, samples: int) -> None:
        """Note that an utterance holds so many more, at 16 kHz."""
        self._at_most += samples

    def admit(self, samples: int) -> None:
        """Raise TooLarge when there is no room for so many more, at 16 kHz."""
        if self._at_most + samples > self._limit:
            self._at_most = self._held()
        if self._at_most + samples > self._limit:
            raise TooLarge(
                f"the server holds {self._limit_s:g} s of its clients' audio and takes no more; "
                "try again in a few seconds"
            )

    def _held(self) -> int:
        return sum(holder.held for holder in self._holders)
