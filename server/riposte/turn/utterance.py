"""Speech on its way to becoming a turn."""

from __future__ import annotations

import asyncio
from collections import deque

import numpy as np

from riposte.interfaces import SPEECH_RATE_HZ, Heard, Listening, PcmF32, Priority
from riposte.turn.held import HeldAudio


class Utterance:
    """What somebody says, and the recognition that runs ahead of its end.

    `keep_s`: how much of its end is kept as sound, for a model that listens for the end of a turn.
    """

    def __init__(self, listening: Listening, held_audio: HeldAudio, *, keep_s: float = 0.0) -> None:
        self.listening = listening
        self._held_audio = held_audio
        held_audio.add(self)
        self.samples = 0
        self.held = 0  # of them, how many are kept: all, until it is closed
        self.zero = 0.0  # when its last voiced sample, or its `end`, had arrived
        self.continued = False  # it was taken for finished once, and its speaker went on
        self.answered = ""  # the words of then
        self._keep = round(keep_s * SPEECH_RATE_HZ)
        self._kept: deque[PcmF32] = deque()
        self._kept_samples = 0
        self._ahead: asyncio.Task[Heard] | None = None

    def push(self, pcm: PcmF32) -> None:
        """Add samples at 16 kHz."""
        self.listening.push(pcm)
        self.samples += pcm.size
        self.held = self.samples
        self._held_audio.grew(pcm.size)
        if self._keep:
            self._kept.append(pcm.copy())
            self._kept_samples += pcm.size
            while self._kept_samples - self._kept[0].size >= self._keep:
                self._kept_samples -= self._kept.popleft().size

    def tail(self) -> PcmF32:
        """Return its end, `keep_s` of it at most."""
        return np.concatenate([np.empty(0, np.float32), *self._kept])[-self._keep :]

    @property
    def idle(self) -> bool:
        """Is nothing being written down ahead?"""
        return self._ahead is None or self._ahead.done()

    def ahead(self, until: int) -> asyncio.Task[Heard]:
        """Begin to write down its first `until` samples. The task is this utterance's, and ends with it."""
        self._ahead = asyncio.create_task(
            self.listening.transcribe(Priority.AHEAD, until=until), name="asr-ahead"
        )
        return self._ahead

    async def transcribe(self, until: int | None = None) -> Heard:
        """Return all its words, or those of the first `until` samples. Recognition ahead gives way."""
        if not self.idle:
            assert self._ahead is not None
            self._ahead.cancel()
            await asyncio.wait({self._ahead})
        return await self.listening.transcribe(Priority.FIRST, until=until)

    def since_answered(self, text: str) -> str:
        """Return those of its words that no turn has answered yet.

        Told by their number: heard again as a part of more, the old ones may come out a little different.
        """
        return " ".join(text.split()[len(self.answered.split()) if self.continued else 0 :])

    def close(self) -> None:
        """Drop the audio and whatever is being made of it. May be called twice."""
        if self._ahead is not None:
            self._ahead.cancel()
        self.listening.close()
        self._kept.clear()
        self.held = 0
