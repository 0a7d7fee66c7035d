"""What was handed out to be played, on the microphone's time line."""

from __future__ import annotations

import numpy as np

from riposte.interfaces import SPEECH_RATE_HZ, PcmF32

# A client holds up to 300 ms, which hide a gap, and session time is as far behind as the microphone's sound
# is on its way: with four sessions on two busy cores one frame in thirty was 80 to 180 ms off.
GAP = 240 * SPEECH_RATE_HZ // 1000
_PAST = 2 * SPEECH_RATE_HZ  # what an echo may still be of
_MOST = 30 * SPEECH_RATE_HZ  # kept when the microphone gives nothing
_ROOM = 4 * SPEECH_RATE_HZ


class Reference:
    """A reply's samples by session time, f32 at 16 kHz; zeros where nothing is played.

    Samples that follow those before within 240 ms are taken to follow them without a gap: when a frame is
    played is known no better than that, and a client plays without gaps what it holds.
    """

    def __init__(self) -> None:
        self._samples = np.zeros(_ROOM, np.float32)
        self._first = 0
        self._read = 0  # up to here
        self._broken = True  # what comes next follows nothing
        self.begins = 0  # of the stretch that was sent last
        self.ends = 0

    def push(self, pcm: PcmF32, at: int) -> bool:
        """Add samples to be played from `at` on; return whether a new stretch begins with them."""
        new = self._broken or not -2 * GAP <= at - self.ends <= GAP
        if new:
            if self.ends == 0:
                self._first = self._read = at
            self.cut(at)
            self.begins = self.ends = at
            self._broken = False
        pcm = pcm[-_MOST:]
        end = self.ends + pcm.size
        if end - self._first > self._samples.size:
            self._make_room(end)
        self._samples[self.ends - self._first : end - self._first] = pcm
        self.ends = end
        return new

    def read(self, start: int, end: int) -> PcmF32:
        """Return f32[end - start], zeros where nothing is known."""
        self._read = end
        out = np.zeros(end - start, np.float32)
        low, high = max(start, self._first), min(end, self._first + self._samples.size)
        if low < high:
            out[low - start : high - start] = self._samples[low - self._first : high - self._first]
        return out

    def cut(self, at: int) -> None:
        """Forget what was to be played from `at` on; what comes next begins a new stretch."""
        self._broken = True
        if at < self.ends:
            self._samples[max(0, at - self._first) :] = 0
            self.ends = at

    def _make_room(self, end: int) -> None:
        first = max(self._first, min(self._read, self.ends) - _PAST, end - _MOST)
        kept = self._samples[first - self._first : self.ends - self._first]
        self._samples = np.zeros(end - first + _ROOM, np.float32)
        self._samples[: kept.size] = kept
        self._first = first
