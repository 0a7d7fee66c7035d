"""The only way to the socket: bounded, and deaf to turns that are over."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import structs

from riposte.errors import ClientError
from riposte.wire.frames import AudioOut, Done, Error, ServerFrame, ToolCall

_FRAME_BYTES = 64  # what a frame weighs beside its text or sound; a rough figure is enough


class Outbox:
    """Frames on their way to one connection.

    A turn's frames pass between `begin` and `retire` or `end`; after that they are dropped, queued ones
    included, so that nothing stale follows a barge-in. Frames without a turn always pass. One
    consumer takes them and hands them over before it awaits anything: what was not taken can still be
    dropped, and what was is on its way.
    """

    def __init__(
        self, max_bytes: int, on_sent: Callable[[Sequence[ServerFrame]], None] | None = None
    ) -> None:
        self._max_bytes = max_bytes
        self._on_sent = on_sent
        self._frames: deque[ServerFrame] = deque()
        self._bytes = 0
        self._open: set[int] = set()  # turns whose frames pass
        self._owed: set[int] = set()  # turns whose `done` is still to come
        self._unkept: dict[int, asyncio.Future[ClientError | None]] = {}  # turns not on disk yet
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._consumer: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.close_code: int | None = None
        self.close_reason = ""

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent, roughly."""
        return self._bytes

    def begin(self, turn: int) -> None:
        """Let frames of this turn pass."""
        self._open.add(turn)
        self._owed.add(turn)

    def retire(self, turn: int) -> None:
        """Drop the turn's frames, those that wait and those to come; its `done` alone still passes."""
        self._open.discard(turn)
        kept = [f for f in self._frames if getattr(f, "turn", None) != turn or isinstance(f, Done)]
        if len(kept) != len(self._frames):
            self._frames = deque(kept)
            self._bytes = sum(map(_weight, kept))
            self._wake_producers()

    async def put(self, frame: ServerFrame) -> None:
        """Queue a frame, waiting for room. Frames of a retired turn, or after `close`, are dropped.

        The wait ends when the consumer takes frames or the outbox is closed, which a consumer that cannot
        write does within the configured time.
        """
        while self._bytes >= self._max_bytes and self._passes(frame):
            room = asyncio.get_running_loop().create_future()
            self._waiters.append(room)
            try:
                await room
            finally:
                if not room.done():
                    self._waiters.remove(room)
        if self._passes(frame):
            self._append(frame)

    def put_now(self, frame: ServerFrame) -> None:
        """Queue a frame without waiting, whatever the room: for what ends things."""
        if self.close_code is None:
            self._append(frame)

    def end(self, done: Done, kept: asyncio.Future[ClientError | None] | None = None) -> None:
        """Queue a turn's last frame, even after `close`; no frame of it passes from here on.

        It leaves when `kept` is done: an error there goes out before it, and is the turn's reason.
        """
        self._open.discard(done.turn)
        if done.turn in self._owed:
            self._owed.discard(done.turn)
            if kept is not None:
                self._unkept[done.turn] = kept
            self._append(done)

    def forget(self, turn: int) -> None:
        """Drop a turn that nobody has seen a frame of: it needs no `done`."""
        self.retire(turn)
        self._owed.discard(turn)
        self._wake_consumer()

    def close(self, code: int, reason: str = "") -> None:
        """Let what is queued leave, and the `done` of each turn, then end the connection with this code.

        Only the first call counts.
        """
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self._wake_consumer()
            self._wake_producers()

    async def take(self, max_bytes: int) -> list[ServerFrame]:
        """Return what waits, in order: up to about `max_bytes`, one frame at least.

        Waits for a frame, and for a `done` until its turn is kept; returns none when the outbox is closed,
        empty, and owes no turn its end. Tell `sent` when they were handed over.
        """
        while not self._frames or self._unsettled(self._frames[0]):
            if self._frames:
                await self._settle(self._frames[0])
            elif self.close_code is not None and not self._owed:
                return []
            else:
                if self._loop is None:  # asking asyncio for it is a system call
                    self._loop = asyncio.get_running_loop()
                self._consumer = self._loop.create_future()
                await self._consumer
        if self._bytes <= max_bytes and not self._unkept:
            taken, size = list(self._frames), self._bytes
            self._frames.clear()
        else:
            taken, size = [], 0
            while self._frames and (not taken or size < max_bytes) and not self._unsettled(self._frames[0]):
                taken.append(self._frames.popleft())
                size += _weight(taken[-1])
        self._bytes -= size
        self._wake_producers()
        return taken

    def sent(self, frames: Sequence[ServerFrame]) -> None:
        """Note that frames were handed over to the connection."""
        if self._on_sent is not None:
            self._on_sent(frames)

    async def __aiter__(self) -> AsyncIterator[ServerFrame]:
        """Yield frames one at a time until there are no more; each is sent when the next is asked for."""
        while taken := await self.take(1):
            yield taken[0]
            self.sent(taken)

    def _unsettled(self, frame: ServerFrame) -> bool:
        return bool(self._unkept) and isinstance(frame, Done) and frame.turn in self._unkept

    async def _settle(self, frame: ServerFrame) -> None:
        """Wait until the turn of a `done`, the first in line, is on disk: at most the history's deadline.

        Where it is lost, an error goes before it. It stays the first meanwhile: only the consumer takes.
        """
        assert isinstance(frame, Done)
        error = await self._unkept.pop(frame.turn)
        if error is not None:
            told = Error(error.code, str(error), frame.turn)
            self._frames[0] = structs.replace(frame, reason="error")
            self._frames.appendleft(told)
            self._bytes += _weight(told)

    def _passes(self, frame: ServerFrame) -> bool:
        if self.close_code is not None:
            return False
        turn: int | None = getattr(frame, "turn", None)
        return turn is None or turn in self._open

    def _append(self, frame: ServerFrame) -> None:
        self._frames.append(frame)
        self._bytes += _weight(frame)
        self._wake_consumer()

    def _wake_consumer(self) -> None:
        if self._consumer is not None and not self._consumer.done():
            self._consumer.set_result(None)

    def _wake_producers(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)


def _weight(frame: ServerFrame) -> int:
    if isinstance(frame, AudioOut):
        return _FRAME_BYTES + len(frame.pcm)
    if isinstance(frame, ToolCall):
        return _FRAME_BYTES + len(frame.arguments)
    text = getattr(frame, "text", None) or getattr(frame, "message", None)
    return _FRAME_BYTES + (len(text) if text else 0)
