"""What a turn says before it is known that it is one."""

from __future__ import annotations

import asyncio

from riposte.turn.outbox import Outbox
from riposte.wire.frames import ServerFrame


class Gate:
    """A turn's way to the outbox. Closed, it holds the frames of a draft; once opened, it holds nothing.

    What it holds is bounded by the reply's tokens: sound waits before the gate.
    """

    def __init__(self, outbox: Outbox, *, closed: bool = False) -> None:
        self.outbox = outbox
        self._held: list[ServerFrame] = []
        self._opened = asyncio.Event()
        if not closed:
            self._opened.set()

    @property
    def is_open(self) -> bool:
        """Does what is put leave?"""
        return self._opened.is_set()

    def open(self) -> None:
        """Let out what was held, in its order, and all that follows."""
        for frame in self._held:
            self.outbox.put_now(frame)
        self._held.clear()
        self._opened.set()

    async def opened(self) -> None:
        """Wait until it is open: its owner opens it, or cancels the turn."""
        await self._opened.wait()

    async def put(self, frame: ServerFrame) -> None:
        """Pass a frame on as `Outbox.put` does, or hold it."""
        if self._opened.is_set():
            await self.outbox.put(frame)
        else:
            self._held.append(frame)

    def put_now(self, frame: ServerFrame) -> None:
        """Pass a frame on without waiting, or hold it."""
        if self._opened.is_set():
            self.outbox.put_now(frame)
        else:
            self._held.append(frame)
