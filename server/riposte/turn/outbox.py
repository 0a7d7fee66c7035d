"""The only way to the socket: bounded, and deaf to turns that are over."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from msgspec import structs

from riposte.errors import ClientError
from riposte.wire.frames import AudioOut, Done, Error, ServerFrame, ToolCall

_FRAME_BYTES = 64  # what a frame weighs beside its text or sound; a rough figure is enough


class Outbox:
    """Frames on their way to one connection.

    A turn's frames pass between `begin` and `retire` or `end`; after that they are dropped, queued ones
    included, so that nothing stale follows a barge-in. Frames without a turn always pass. One
    consumer takes them, one at a time: what was not taken can still be dropped.
    """

    def __init__(self, max_bytes: int, on_sent: Callable[[ServerFrame], None] | None = None) -> None:
        self._max_bytes = max_bytes
        self._on_sent = on_sent
        self._frames: deque[ServerFrame] = deque()
        self._bytes = 0
        self._open: set[int] = set()  # turns whose frames pass
        self._owed: set[int] = set()  # turns whose `done` is still to come
        self._unkept: dict[int, asyncio.Future[ClientError | None]] = {}  # turns not on disk yet
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._consumer: asyncio.Future[None] | None = None
        self.close_code: int | None = None
        self.close_reason = ""

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

    async def __aiter__(self) -> AsyncIterator[ServerFrame]:
        """Yield frames until the outbox is closed, empty, and owes no turn its end."""
        while True:
            if self._frames:
                frame = self._frames.popleft()
                self._bytes -= _weight(frame)
                self._wake_producers()
                if isinstance(frame, Done) and (error := await self._lost(frame.turn)) is not None:
                    yield Error(error.code, str(error), frame.turn)
                    frame = structs.replace(frame, reason="error")
                yield frame
                if self._on_sent is not None:
                    self._on_sent(frame)
            elif self.close_code is not None and not self._owed:
                return
            else:
                self._consumer = asyncio.get_running_loop().create_future()
                await self._consumer

    async def _lost(self, turn: int) -> ClientError | None:
        """Wait until a turn is on disk, at most the history's deadline; return why it is not."""
        kept = self._unkept.pop(turn, None)
        return None if kept is None else await kept

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
