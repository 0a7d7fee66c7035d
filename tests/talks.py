"""A session without a socket, fed as fast as it takes the sound: what the tests of turn-taking share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from talking import of
from virtual import LoopClock, VirtualLoop

from riposte.backends.fake import FakeAsr, FakeLlm, FakeTts, FakeVad
from riposte.config import load_config
from riposte.errors import EngineError
from riposte.history import History
from riposte.interfaces import Models, TurnDetector
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.session import Session
from riposte.turn.clock import WALL
from riposte.turn.held import HeldAudio
from riposte.wire import frames as wire

WAIT_S = 10.0
LONG = "count to 300"
FRAME = 640  # bytes: 20 ms


def cut(sound: bytes, size: int = FRAME) -> list[bytes]:
    return [sound[at : at + size] for at in range(0, len(sound), size)]


class OnceFailing(FakeVad):
    """Fails when it is told to."""

    fails = False

    async def _pause(self, seconds: float) -> None:
        if self.fails:
            self.fails = False
            raise EngineError("the voice detector failed")
        await super()._pause(seconds)


class Talk:
    """One session, what it was asked and what it says. On a VirtualLoop its time is that loop's."""

    def __init__(
        self,
        *,
        tts: FakeTts | None = None,
        vad: FakeVad | None = None,
        turn: TurnDetector | None = None,
        history: History | None = None,
        **options: Any,
    ) -> None:
        # Fakes speak and are spoken to in tones, which a gate must take for each other's echo.
        settings = {name.replace("__", "."): v for name, v in ({"turn__echo_gate": False} | options).items()}
        config = load_config(None, {}, settings).config
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop) if isinstance(loop, VirtualLoop) else WALL
        self.llm = FakeLlm(token_s=0.002)
        self.asr = FakeAsr()
        self.models = Models(
            asr=self.asr, llm=self.llm, tts=tts or FakeTts(), vad=vad or FakeVad(), turn=turn
        )
        self.memory = Memory("talk", self.llm, history=history, clock=clock)
        self.session = Session(
            "talk", self.models, config, Metrics(), HeldAudio(100.0), self.memory, clock=clock
        )
        self.frames: list[wire.ServerFrame] = []
        self._came = asyncio.Event()

    async def take(self) -> None:
        """Collect what leaves, as a client does that always reads."""
        async for frame in self.session.attach():
            self.frames.append(frame)
            self._came.set()

    async def hear(self, *sounds: bytes, size: int = FRAME) -> None:
        """Feed sound in frames of so many bytes."""
        for sound in sounds:
            for frame in cut(sound, size):
                await self.session.receive(wire.AudioIn(frame))

    async def type(self, text: str) -> None:
        await self.session.receive(wire.Text(text))

    async def until(self, kind: type, turn: int | None = None) -> None:
        """Wait for a frame of this kind (and turn)."""
        async with asyncio.timeout(WAIT_S):
            while not any(turn in (None, getattr(f, "turn", None)) for f in of(self.frames, kind)):
                self._came.clear()
                await self._came.wait()

    async def settle(self) -> None:
        """Wait until no model owes the session anything."""
        async with asyncio.timeout(WAIT_S):
            while self.session.busy:  # noqa: ASYNC110  (nobody tells when that is over)
                await asyncio.sleep(0.001)

    async def reply(self, text: str = LONG) -> None:
        """Ask for something and wait until the answer sounds; what was sent so far is forgotten."""
        await self.type(text)
        await self.until(wire.AudioOut)
        self.frames.clear()

    @property
    def gains(self) -> list[float]:
        return [frame.gain for frame in of(self.frames, wire.Playback)]

    @property
    def finals(self) -> list[str]:
        return [frame.text for frame in of(self.frames, wire.Transcript) if frame.final]

    @property
    def states(self) -> list[str]:
        return [frame.state for frame in of(self.frames, wire.Speech)]

    @property
    def asked(self) -> list[str]:
        """What the user has said in the last prompt."""
        return [message.content for message in self.llm.prompts[-1] if message.role == "user"]

    @property
    def kept(self) -> list[tuple[int, str]]:
        """The turns that the session would be resumed with, in the order of their numbers."""
        return [(turn.turn, turn.user) for turn in self.session._turns.stored().exchanges()]


@asynccontextmanager
async def talk(**options: Any) -> AsyncIterator[Talk]:
    """Open a session; when it is closed the models must have nothing open."""
    talk = Talk(**options)
    taking = asyncio.create_task(talk.take(), name="client")
    await asyncio.sleep(0)
    try:
        yield talk
    finally:
        await talk.session.aclose()
        taking.cancel()
        await asyncio.wait({taking})
    models = (talk.models.asr, talk.llm, talk.models.tts, talk.models.vad)
    assert [model.active for model in models] == [0] * 4
