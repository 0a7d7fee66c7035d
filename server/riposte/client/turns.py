"""A turn as its client sees it: frames as they come, or the whole reply at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from types import TracebackType

from riposte.client.failures import error_of
from riposte.wire.frames import AudioOut, Done, Error, Mark, Ready, ServerFrame, Token, Transcript


@dataclass(slots=True)
class Answer:
    """Tells which frames answer a turn that was asked for. Pure.

    Turns are serial: when a new number comes, all before it are over. What can be mistaken for the answer
    is what comes of turns that were left before a frame showed their number; hence `fence`.
    """

    before: int  # the last turn seen when this one was asked for
    unseen: int = 0  # turns left unseen, whose refusal or end may still come
    fence: Mark | None = None  # was sent before asking: what comes before its echo is none of ours
    number: int | None = None
    over: bool = False

    def take(self, frame: ServerFrame) -> bool:
        """Return whether the frame is the caller's. Raises what the server refused the turn with."""
        turn = turn_of(frame)
        if self.fence is not None:
            self._take_earlier(frame, turn)
            return False
        if turn is None:
            if not isinstance(frame, Error):
                return False
            if self.number is None:  # a turn that is refused has no `done`
                self.over = True
                raise error_of(frame)
            return True  # news of the connection
        if self.number is None and turn > self.before:
            if self.unseen and isinstance(frame, Done):
                self.before, self.unseen = turn, self.unseen - 1  # all that is left of one left unseen
                return False
            self.number, self.unseen = turn, 0
        if turn != self.number:
            return False
        self.over = isinstance(frame, Done)
        return True

    def _take_earlier(self, frame: ServerFrame, turn: int | None) -> None:
        if frame == self.fence:
            self.fence = None
        elif isinstance(frame, Done) and frame.turn > self.before:
            self.before, self.unseen = frame.turn, max(0, self.unseen - 1)
        elif isinstance(frame, Error) and turn is None:
            self.unseen = max(0, self.unseen - 1)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole turn. `pcm` is s16 mono at `rate_hz`."""

    transcript: str  # what was heard; empty for a typed turn
    text: str
    pcm: bytes
    rate_hz: int
    done: Done


class Turn(AsyncIterator[ServerFrame]):
    """The frames of one turn, `done` last. `Client.turn`, `say` and `speak` make it; the first wait asks.

    Leaving it early (break, an exception, `aclose`) cancels the turn on the server, unless a newer one
    has already taken its place. `async with` says when; without it Python closes it when it is dropped.
    """

    def __init__(self, frames: AsyncGenerator[ServerFrame, None], rate_hz: int) -> None:
        self._frames = frames
        self._rate_hz = rate_hz

    def __aiter__(self) -> Turn:
        return self

    async def __anext__(self) -> ServerFrame:
        return await anext(self._frames)

    async def __aenter__(self) -> Turn:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leave the turn; one that is not over is cancelled. May be called twice."""
        await self._frames.aclose()

    async def reply(self) -> Reply:
        """Wait for the turn's end and return all of it. Raises the turn's error, if it had one."""
        transcript, tokens, sound = "", list[str](), bytearray()
        error: Error | None = None
        async with self:
            async for frame in self:
                match frame:
                    case Transcript(final=True):
                        transcript = frame.text
                    case Token():
                        tokens.append(frame.text)
                    case AudioOut():
                        sound += frame.pcm
                    case Error() if frame.turn is not None:
                        error = frame
                    case Done():
                        if error is not None:
                            raise error_of(error)
                        return Reply(transcript, "".join(tokens), bytes(sound), self._rate_hz, frame)
        raise AssertionError("a turn ends with `done` or raises")


def turn_of(frame: ServerFrame) -> int | None:
    """Return the turn that a frame belongs to; None for those that belong to none."""
    if isinstance(frame, Ready | Mark):
        return None
    return getattr(frame, "turn", None)
