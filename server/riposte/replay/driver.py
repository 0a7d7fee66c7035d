"""The client's side of a replay: its frames, each at its time, into a session of its own without a socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from riposte.audio import to_s16
from riposte.audiofile import read_16k
from riposte.config import Config
from riposte.errors import ClientError, RiposteError
from riposte.interfaces import SPEECH_RATE_HZ, Models
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.recording import End, Entry, Header, In, Out
from riposte.replay.clock import VirtualClock
from riposte.replay.settling import Settling
from riposte.session import Session
from riposte.turn.clock import WALL, Clock
from riposte.turn.held import HeldAudio
from riposte.turn.outbox import Outbox
from riposte.wire import frames as wire

log = logging.getLogger(__name__)

FRAME_MS = 20  # of a sound file
# Behind its last sample: above the longest wait for the end of a turn.
SILENCE_MS = 2_000
# How long a reply may last after that.
REPLY_MS = 120_000


class Pace(Protocol):
    """How fast time passes."""

    @property
    def clock(self) -> Clock:
        """What the session goes by."""

    async def until(self, seconds: float) -> None:
        """Let time pass until then; everything that is due by then is done."""

    async def over(self, task: asyncio.Task[None]) -> None:
        """Let a task finish, and the time pass that it waits for."""


class AsFastAsModelsGo:
    """Time stands still while anything is left to do, and jumps when nothing is."""

    def __init__(self, settling: Settling) -> None:
        self.clock = VirtualClock()
        self._settling = settling

    async def until(self, seconds: float) -> None:
        """Move the clock. Raises RiposteError when a model hangs."""
        await self._settling.settled()
        await self.clock.advance(seconds, self._settling.settled)

    async def over(self, task: asyncio.Task[None]) -> None:
        """Let a task finish. Raises RiposteError when it waits for what never happens."""
        await self._settling.settled()
        while not task.done():
            if (due := self.clock.due) is None:
                raise RiposteError("a frame of the recording waits for something that never happens")
            await self.clock.advance(due, self._settling.settled)


class RealTime:
    """As in the world: models take their time, and what they take is seen."""

    clock = WALL

    def __init__(self) -> None:
        self._begun = time.monotonic()

    async def until(self, seconds: float) -> None:
        """Sleep until then."""
        await asyncio.sleep(max(0.0, self._begun + seconds - time.monotonic()))

    async def over(self, task: asyncio.Task[None]) -> None:
        """Wait for the task."""
        await asyncio.wait({task})


class Client:
    """Somebody connected to a session: what it sends, and all that comes of it but the sound's samples."""

    def __init__(self, models: Models, config: Config, pace: Pace, header: Header | None = None) -> None:
        self.entries: list[Entry] = []
        self._pace = pace
        stored = None if header is None else header.stored
        memory = Memory("replay", models.llm, stored=stored, clock=pace.clock)
        held = HeldAudio(config.limits.audio_total_s)
        self.session = Session(
            "replay",
            models,
            config,
            Metrics(),
            held,
            memory,
            clock=pace.clock,
            recorder=self,
            at=0 if header is None else header.at,
        )
        self._outbox = self.session.attach()
        self._reading = asyncio.create_task(_read(self._outbox), name="replay-reads")

    def open(self, header: Header) -> Callable[[Entry], None]:
        """Take the entries of the session's own recording."""
        self.header = header
        return self.keep

    def keep(self, entry: Entry) -> None:
        """Keep what is compared."""
        if not isinstance(entry, In):
            self.entries.append(without_sound(entry))

    @property
    def frames(self) -> list[wire.ServerFrame]:
        """What it was sent until now."""
        return [entry.frame for entry in self.entries if isinstance(entry, Out)]

    async def until(self, seconds: float) -> None:
        """Let time pass."""
        await self._pace.until(seconds)

    async def send(self, frame: wire.ClientFrame) -> None:
        """Have the session act on a frame; a refusal is answered as the socket does it."""
        await self._pace.over(asyncio.create_task(self._act(frame), name="replay-frame"))

    async def _act(self, frame: wire.ClientFrame) -> None:
        try:
            await self.session.receive(frame)
        except ClientError as exc:
            await self._outbox.put(wire.Error(exc.code, str(exc)))
        except Exception:
            log.exception("a frame could not be acted on")
            await self._outbox.put(wire.Error("internal", "internal error"))

    def leave(self) -> None:
        """Hang up."""
        self.session.detach(self._outbox)
        self._outbox.close(1000)

    async def aclose(self) -> None:
        """Hang up, and end everything that goes on."""
        self.leave()
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        await self.session.aclose()


async def replayed(
    header: Header, entries: Iterable[Entry], models: Models, config: Config, pace: Pace
) -> list[Entry]:
    """Feed a recording's client frames at their times; return what came of them, until it ends."""
    client = Client(models, config, pace, header)
    asked: list[str] = []  # calls of tools in the recording, whose ids are made anew each time
    try:
        for entry in entries:
            await client.until(entry.ms / 1000)
            match entry:
                case In(frame=wire.ToolResult(call, content)):
                    calls = [frame.call for frame in client.frames if isinstance(frame, wire.ToolCall)]
                    known = dict(zip(asked, calls, strict=False))
                    await client.send(wire.ToolResult(known.get(call, call), content))
                case In(frame=wire.Hello() as hello):
                    await client.send(msgspec.structs.replace(hello, session=None))
                case In(frame=frame):
                    await client.send(frame)
                case Out(frame=wire.ToolCall(call=call)):
                    asked.append(call)
                case End():
                    client.leave()
        return list(client.entries)  # of one that was cut off, before its client leaves
    finally:
        await client.aclose()


async def heard(path: Path, models: Models, config: Config, pace: Pace) -> list[Entry]:
    """Say a sound file, and listen to what is answered; return what came of it. Raises UnreadableSound."""
    client = Client(models, config, pace)
    ms = 0
    try:
        for pcm in _frames(path):
            ms += FRAME_MS
            await client.until(ms / 1000)
            await client.send(wire.AudioIn(pcm))
        end_ms = ms + REPLY_MS
        while client.session.in_turn and ms < end_ms:
            ms += FRAME_MS
            await client.until(ms / 1000)
        return list(client.entries)
    finally:
        await client.aclose()


def without_sound(entry: Entry) -> Entry:
    """Return an entry as it is compared: that there was sound, without its samples."""
    if isinstance(entry, Out) and isinstance(entry.frame, wire.AudioOut):
        return msgspec.structs.replace(entry, frame=msgspec.structs.replace(entry.frame, pcm=b""))
    return entry


def _frames(path: Path) -> Iterator[bytes]:
    """Yield a file's sound in frames, and silence behind it."""
    size = FRAME_MS * SPEECH_RATE_HZ // 1000 * 2
    rest = b""
    for block in read_16k(path):
        rest += to_s16(block).tobytes()
        whole = len(rest) // size * size
        yield from (rest[at : at + size] for at in range(0, whole, size))
        rest = rest[whole:]
    silence = bytes(SILENCE_MS * SPEECH_RATE_HZ // 1000 * 2)
    rest += silence
    yield from (rest[at : at + size] for at in range(0, len(rest), size))


async def _read(outbox: Outbox) -> None:
    async for _ in outbox:
        pass
