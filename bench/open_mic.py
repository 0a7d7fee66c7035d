"""A hands-free talk as a person has it: a microphone that is never off, ears, a loudspeaker, and a watch.

Speaking takes its time: frames of 20 ms leave when a microphone would have them, and what is said has the
instants at which its first and its last voiced sample were spoken. Where nobody speaks there is the faint
noise of a room.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from bench.loudspeaker import Loudspeaker
from bench.material import MICROPHONE_HZ, VOICED
from bench.speech import Samples
from bench.stopwatch import Refused
from riposte.client.client import Client, connect
from riposte.wire.frames import (
    AudioIn,
    AudioOut,
    Cancel,
    Done,
    Error,
    Playback,
    Played,
    ServerFrame,
    Token,
    Transcript,
)

FRAME_MS = 20
FRAME = MICROPHONE_HZ * FRAME_MS // 1000
ROOM_DBFS = -70.0
PLAYED_FRAMES = 5  # the client tells every 100 ms what was heard

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said:
    """Sound on its way through the microphone. Instants are of perf_counter."""

    starts_at: float
    ends_at: float  # the last voiced sample

    def at(self, sample: int) -> float:
        """When this sample of the sound was spoken."""
        return self.starts_at + sample / MICROPHONE_HZ


class Microphone:
    """One that is always on, at the speed of speech."""

    def __init__(self, client: Client, seed: int, loudspeaker: Loudspeaker | None) -> None:
        self._client = client
        self._rng = np.random.default_rng(seed)
        self._loudspeaker = loudspeaker
        self._frames = 0  # captured
        self._began = time.perf_counter()
        self._sounds: list[tuple[int, Samples]] = []  # by the sample at which they begin

    def say(self, sound: Samples, at: int | None = None) -> Said:
        """Say this from sample `at` on, or from now; sounds that overlap are mixed.

        It begins and ends with a voiced sample. What is said at given samples, by microphones of one seed, is
        heard the same to the last bit, whenever frames leave.
        """
        first = self._frames * FRAME if at is None else at
        self._sounds.append((first, sound))
        starts_at = self._began + first / MICROPHONE_HZ
        return Said(starts_at, starts_at + sound.size / MICROPHONE_HZ)

    async def run(self) -> None:
        """Capture until cancelled."""
        for number in itertools.count(1):
            await asyncio.sleep(max(0.0, self._began + number * FRAME_MS / 1000 - time.perf_counter()))
            await self._client.send(AudioIn(self._capture()))
            if self._loudspeaker is not None and number % PLAYED_FRAMES == 0:
                for turn, ms in self._loudspeaker.news():
                    await self._client.send(Played(turn, ms))

    def _capture(self) -> bytes:
        begins = self._frames * FRAME
        self._frames += 1
        mixed = self._rng.normal(0, 32_768 * 10 ** (ROOM_DBFS / 20), FRAME)
        for starts, sound in self._sounds:
            piece = sound[max(0, begins - starts) : max(0, begins - starts + FRAME)]
            at = min(FRAME, max(0, starts - begins))
            mixed[at : at + piece.size] += piece
        self._sounds = [(at, sound) for at, sound in self._sounds if at + sound.size > begins + FRAME]
        if self._loudspeaker is not None:
            mixed += self._loudspeaker.heard(FRAME)
        return np.clip(np.rint(mixed), -32_768, 32_767).astype("<i2").tobytes()


@dataclass(slots=True)
class TurnHeard:
    """What came of one turn. Instants are of perf_counter, None for what never came."""

    number: int
    seen_at: float  # the first frame of it
    words: str = ""  # the final transcript
    reply: str = ""
    sound_at: float | None = None
    audible_at: float | None = None
    gains: list[tuple[float, float]] = field(default_factory=list)  # (when, gain), of `playback`
    stale: int = 0  # tokens and sound after that
    done: Done | None = None
    done_at: float | None = None
    sound_s: float = 0.0

    @property
    def taken(self) -> bool:
        """Was it a turn at all? One that only a partial transcript announced is not."""
        return self.done is None or self.done.reason != "dropped"

    @property
    def stopped_at(self) -> float | None:
        """When it was told to be thrown away."""
        return next((at for at, gain in self.gains if gain == 0), None)

    @property
    def interrupted_at(self) -> float | None:
        """When the client learned that it was stopped by a voice; before any sound `done` alone says so."""
        if self.done is None:
            return self.stopped_at
        return (self.stopped_at or self.done_at) if self.done.reason == "interrupted" else None


class Ears:
    """Receive, and note when what came. `turns` has every turn seen, by number."""

    def __init__(self, client: Client, loudspeaker: Loudspeaker | None) -> None:
        self._client = client
        self._loudspeaker = loudspeaker
        self._news = asyncio.Event()
        self.turns: dict[int, TurnHeard] = {}
        self.refused = 0  # turns that the server was too busy for

    @property
    def latest(self) -> int:
        """The highest number of a turn that was seen; 0 before the first."""
        return max(self.turns, default=0)

    def since(self, number: int) -> list[TurnHeard]:
        """Return the turns after that one, in order."""
        return [self.turns[each] for each in sorted(self.turns) if each > number]

    async def until(self, found: Callable[[], T | None], deadline: float) -> T | None:
        """Wait until `found` returns something, and return that; None at the deadline (perf_counter)."""
        while (result := found()) is None:
            self._news.clear()
            try:
                async with asyncio.timeout(deadline - time.perf_counter()):
                    await self._news.wait()
            except TimeoutError:
                return found()
        return result

    async def run(self) -> None:
        """Receive until cancelled. Raises Refused for an error that is no turn's."""
        while True:
            frame = await self._client.receive()
            self._note(frame, time.perf_counter())
            if self._loudspeaker is not None:
                self._loudspeaker.take(frame)
            self._news.set()

    def _note(self, frame: ServerFrame, now: float) -> None:
        match frame:
            case Error(code="busy", turn=None):  # others are in front: there is no turn, and no `done`
                self.refused += 1
            case Error(turn=None):
                raise Refused(f"{frame.code}: {frame.message}")
            case Error():
                pass  # its `done` says so too
            case Transcript(final=True):
                self._turn(frame.turn).words = frame.text
            case Transcript():
                self._turn(frame.turn)
            case Token():
                turn = self._turn(frame.turn)
                turn.reply += frame.text
                turn.stale += turn.stopped_at is not None
            case AudioOut():
                turn = self._turn(frame.turn)
                turn.stale += turn.stopped_at is not None
                self._hear(turn, frame.pcm, now)
            case Playback():
                self._turn(frame.turn).gains.append((now, frame.gain))
            case Done():
                turn = self._turn(frame.turn)
                turn.done, turn.done_at = frame, now

    def _hear(self, turn: TurnHeard, pcm: bytes, now: float) -> None:
        rate_hz = self._client.ready.audio_out_hz
        if turn.sound_at is None:
            turn.sound_at = now
        if turn.audible_at is None:
            voiced = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > VOICED)
            if voiced.size:
                # Played from the first frame's arrival on, but no frame before it is there.
                turn.audible_at = max(turn.sound_at + turn.sound_s, now) + float(voiced[0]) / rate_hz
        turn.sound_s += len(pcm) / 2 / rate_hz

    def _turn(self, number: int) -> TurnHeard:
        return self.turns.setdefault(number, TurnHeard(number, time.perf_counter()))


class Talk:
    """One session: say something, and wait for what comes of it."""

    def __init__(self, client: Client, seed: int, loudspeaker: Loudspeaker | None) -> None:
        self.client = client
        self.loudspeaker = loudspeaker
        self.ears = Ears(client, loudspeaker)
        self.microphone = Microphone(client, seed, loudspeaker)

    async def hush(self, deadline_s: float = 10.0) -> None:
        """Cancel what is being answered, and wait until every turn seen is over. Raises Refused."""
        await self.client.send(Cancel())

        def over() -> bool | None:
            return all(turn.done is not None for turn in self.ears.turns.values()) or None

        if await self.ears.until(over, time.perf_counter() + deadline_s) is None:
            raise Refused(f"a turn was cancelled and has no `done` after {deadline_s:g} s")


@asynccontextmanager
async def talking(
    url: str, seed: int, loudspeaker: Loudspeaker | None = None, *, patience: float | None = None
) -> AsyncIterator[Talk]:
    """Open a hands-free session whose microphone and ears run until it ends.

    With a loudspeaker the server's sound comes at the microphone's rate, and is played.
    """
    async with connect(
        url,
        turn_detection="server",
        audio_in_hz=MICROPHONE_HZ,
        audio_out_hz=None if loudspeaker is None else MICROPHONE_HZ,
        patience=patience,
    ) as client:
        talk = Talk(client, seed, loudspeaker)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(talk.microphone.run(), name="microphone"),
                group.create_task(talk.ears.run(), name="ears"),
            ]
            try:
                yield talk
            finally:
                for task in tasks:
                    task.cancel()
