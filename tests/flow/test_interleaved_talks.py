"""Whole sessions under everything that may happen to them, in any order, on a clock of their own.

Models take time of that clock, so that speech, cancels, disconnects and take-overs fall into any moment of a
turn's work. A hundred talks here, nine hundred more with `make test-long`.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

import pytest
from talking import pcm

from riposte.backends.fake import FAIL_ASR, FAIL_LLM, FAIL_TTS, FakeAsr, FakeLlm, FakeTts, FakeVad
from riposte.config import load_config
from riposte.errors import ClientError, EngineError
from riposte.interfaces import Message, Models
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.recording import Decided, Entry, Header, In, Out
from riposte.replay.clock import VirtualClock
from riposte.replay.settling import Settling, run_settling
from riposte.session import Session
from riposte.turn.held import HeldAudio
from riposte.turn.outbox import Outbox
from riposte.wire import frames as wire

CHAR_MS = 20
FRAME_MS = 80
TOOLS = [{"type": "function", "function": {"name": "light"}}]
TYPED = (
    "hello there",
    "count to 30",
    "one moment #tool light {} #tool light {}",
    FAIL_LLM,
    f"well {FAIL_TTS}",
)
SAID = ("yes", "okay", "stop that", "turn on the", "kitchen lights", "count to 25", "and now this", FAIL_ASR)
PAUSES_S = (0.06, 0.15, 0.3, 0.5, 1.1)


@cache
def said(words: str) -> bytes:
    return pcm(words)


class _InTime:
    """A fake whose steps take time of the clock."""

    clock: VirtualClock
    _closing: asyncio.Event

    async def _pause(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        if self._closing.is_set():
            raise EngineError("the model was shut down")


class Llm(_InTime, FakeLlm):
    pass


class Asr(_InTime, FakeAsr):
    pass


class Tts(_InTime, FakeTts):
    pass


class Vad(_InTime, FakeVad):
    pass


@dataclass
class Connection:
    """One client's time with the session, and all that it was sent."""

    frames: list[wire.ServerFrame] = field(default_factory=list)
    stayed: bool = False  # to the end


def answer(messages: Sequence[Message]) -> str:
    """Say what was asked, so that it shows which words a reply answers; at length, if it was to count."""
    asked = messages[-1].content
    if messages[-1].role == "tool":
        return "that is done now"
    return f"You said {asked}." + " There is more, and then more." * (8 if "count" in asked else 0)


class Talk:
    """A session, its clock, and whoever is connected."""

    def __init__(self, settling: Settling, rng: random.Random) -> None:
        self.rng = rng
        self.clock = VirtualClock()
        self._settled = settling.settled
        self.llm = Llm(token_s=rng.choice([0.0, 0.004, 0.02]), reply=answer)
        asr, tts = (
            Asr(step_s=rng.choice([0.0, 0.01, 0.05])),
            Tts(piece_s=rng.choice([0.0, 0.008]), char_ms=CHAR_MS),
        )
        self.models = Models(asr=asr, llm=self.llm, tts=tts, vad=Vad())
        for model in (asr, tts, self.llm, self.models.vad):
            model.clock = self.clock
        self.held = HeldAudio(100.0)
        self.memory = Memory("talk", self.llm, clock=self.clock)
        # Fakes speak in tones, which an echo gate takes for echoes: what is left of some words is no word.
        self.echo_gate = rng.random() < 0.2
        settings = {"turn.speculate": rng.random() < 0.9, "turn.echo_gate": self.echo_gate}
        config = load_config(None, {}, settings).config
        self.entries: list[Entry] = []
        self.session = Session(
            "talk", self.models, config, Metrics(), self.held, self.memory, clock=self.clock, recorder=self
        )
        self.connections: list[Connection] = []
        self._reads = asyncio.Event()  # else frames wait in the outbox
        self._reads.set()
        self._reading: asyncio.Task[None] | None = None
        self._acting: asyncio.Task[None] | None = None
        self.connect()

    def open(self, header: Header) -> Callable[[Entry], None]:
        """Take what the session records of itself."""
        return self.entries.append

    # -- what may happen

    def connect(self) -> None:
        """Connect; whoever was connected is hung up on."""
        self.outbox = self.session.attach()
        self.session.configure(wire.Hello(tools=TOOLS))
        self.connections.append(Connection())
        self._reading = asyncio.create_task(self._read(self.outbox, self.connections[-1]))

    async def _read(self, outbox: Outbox, connection: Connection) -> None:
        await self._reads.wait()
        async for frame in outbox:
            connection.frames.append(frame)
            await self._reads.wait()

    async def disconnect(self) -> None:
        """Go without a goodbye, in the middle of whatever is acted on."""
        for task in (self._acting, self._reading):
            if task is not None and not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._acting = None
        self.session.detach(self.outbox)
        self.outbox.close(1000)

    async def pass_time(self, seconds: float) -> None:
        await self._settled()
        await self.clock.advance(self.clock.now() + seconds, self._settled)

    async def send(self, frame: wire.ClientFrame) -> bool:
        """Have a frame acted on; False: somebody left or took over meanwhile."""
        self._acting = asyncio.create_task(self._act(frame, self.connections[-1]))
        await self._settled()
        while not self._acting.done():
            if self.rng.random() < 0.02:
                await self.part()
                return False
            due = self.clock.due
            assert due is not None, f"{frame} waits for what never happens"
            await self.clock.advance(due, self._settled)
        self._acting.result()
        return True

    async def _act(self, frame: wire.ClientFrame, connection: Connection) -> None:
        try:
            await self.session.receive(frame)
        except ClientError as exc:
            if connection is self.connections[-1]:
                await self.outbox.put(wire.Error(exc.code, str(exc)))

    async def part(self) -> None:
        """End the connection in one of the ways that there are, and begin another."""
        if self.rng.random() < 0.5:
            await self.disconnect()
            await self.pass_time(self.rng.choice([0.0, 0.03, 0.5]))
            self.connect()
            return
        self.connect()  # a take-over, while the old connection's frame may still be acted on
        await self._settled()
        if self._acting is not None:
            while not self._acting.done():
                due = self.clock.due
                assert due is not None
                await self.clock.advance(due, self._settled)
            self._acting.result()

    async def hear(self, sound: bytes) -> None:
        """Speak at the speed of speech, or leave in the middle of it."""
        size = FRAME_MS * 32
        for at in range(0, len(sound), size):
            await self.pass_time(FRAME_MS / 1000)
            if not await self.send(wire.AudioIn(sound[at : at + size])):
                return

    async def step(self) -> None:
        """Let something happen."""
        rng, choice = self.rng, self.rng.random()
        if choice < 0.45:
            pause = bytes(2 * round(rng.choice(PAUSES_S) * 16_000))
            await self.hear(said(rng.choice(SAID)) + pause)
        elif choice < 0.5:
            await self.hear(said("") + bytes(9_600))
        elif choice < 0.6:
            await self.pass_time(rng.choice([0.0, 0.02, 0.2, 0.9]))
        elif choice < 0.65:
            (self._reads.clear if self._reads.is_set() else self._reads.set)()
        elif choice < 0.78:
            await self.send(wire.Text(rng.choice(TYPED)))
        elif choice < 0.83:
            await self.part()
        else:
            turn = max((getattr(f, "turn", None) or 0 for f in self.connections[-1].frames), default=1)
            await self.send(
                rng.choice(
                    [
                        wire.Cancel(),
                        wire.Cancel(),
                        wire.End(),
                        wire.Clear(),
                        wire.Say("say this aloud"),
                        wire.ToolResult(f"call-{2 * rng.randrange(1, 5)}-{rng.randrange(2)}", "done"),
                        wire.Played(turn, rng.randrange(900)),
                        wire.Hello(turn_detection=rng.choice(["none", "server"])),
                        wire.Hello(patience=rng.random()),
                    ]
                )
            )

    async def finish(self) -> None:
        """Stay until all is over."""
        self.connections[-1].stayed = True
        self.rng = random.Random(1)
        self._reads.set()
        while not await self.send(wire.Clear()):
            self.connections[-1].stayed = True
        await self.pass_time(60.0)
        await self.send(wire.Cancel())  # who waits for a tool waits by the world's clock
        await self.pass_time(0.1)
        assert not self.session.in_turn
        assert not self.session.busy
        assert self.llm.active == 0
        assert self.models.tts.active == 0
        await self.disconnect()
        await self.session.aclose()
        await self._settled()
        assert [model.active for model in (self.models.asr, self.models.vad)] == [0, 0]
        assert self.held.seconds == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}


def check_order(frames: Sequence[wire.ServerFrame], *, stayed: bool, echo_gate: bool) -> None:
    """Hold one connection's frames against the protocol's promises about turns."""
    over: set[int] = set()
    silenced: set[int] = set()
    ducked: set[int] = set()
    shown: set[int] = set()
    seq: dict[int, int] = {}
    stable: dict[int, str] = {}
    replied: set[int] = set()
    for frame in frames:
        turn = getattr(frame, "turn", None)
        if turn is None:
            continue
        assert turn not in over, f"{frame} came after the turn's done"
        shown.add(turn)
        match frame:
            case wire.Done():
                over.add(turn)
                ducked.discard(turn)
                if frame.reason in ("interrupted", "cancelled") and turn in seq:
                    assert turn in silenced, "what its client holds of it is played on"
                continue
            case wire.Playback(_, gain):
                assert turn not in silenced
                assert (gain == 1.0) == (turn in ducked) or gain == 0.0
                silenced |= {turn} if gain == 0.0 else set()
                ducked = {turn} if 0.0 < gain < 1.0 else set()
                continue
            case wire.Transcript(_, text, size, _):
                assert text.startswith(stable.get(turn, "")) or echo_gate, "words that were promised changed"
                stable[turn] = text[:size]
            case wire.AudioOut(_, number, _):
                assert number == seq.get(turn, -1) + 1
                seq[turn] = number
        assert turn not in silenced, f"{frame} came after the turn was silenced"
        if isinstance(frame, wire.AudioOut | wire.Token | wire.Clause | wire.ToolCall):
            replied.add(turn)
            assert replied - over == {turn}, "two replies at once"
    if stayed:
        assert shown == over, "a turn did not end"
        assert not ducked, "a reply was left quiet"


def check_words(one: Talk) -> None:
    """What a turn says answers what was asked, all of it: nothing of a draft that was dropped is there."""
    asked, said_, dones, played = {}, defaultdict(str), {}, defaultdict(int)
    started: set[int] = set()
    stopped: dict[int, int] = {}  # turns, and what was handed over of them afterwards
    left: set[int] = set()  # turns whose words went on into the next one
    for entry in one.entries:
        match entry:
            case Decided(action="StartTurn", fields=fields):
                started.add(fields["turn"])
                if fields["clock"] == "text":
                    asked[fields["turn"]] = fields["text"]
            case Decided(action="CancelReply", fields={"continued": continued, "turn": turn}):
                stopped[turn] = 0
                if continued:
                    left.add(turn)
            case In(frame=wire.Played(turn, ms)):
                played[turn] = max(played[turn], ms)
            case Out(frame=wire.Transcript(turn, text, _, final)):
                assert turn in started or not final, "words that nobody had taken for a turn"
                if final:
                    asked[turn] = text
            case Out(frame=wire.Token(turn, text)):
                said_[turn] += text
            case Out(frame=wire.Done() as done):
                dones[done.turn] = done
        if isinstance(entry, Out) and isinstance(entry.frame, wire.AudioOut | wire.Token | wire.Clause):
            turn = entry.frame.turn
            assert turn in started, f"{entry.frame} of a turn that nobody had begun"
            if turn in stopped:  # one may have been on its way
                stopped[turn] += 1
                assert stopped[turn] <= 1, f"{entry.frame} left after the turn was stopped"
    for turn, text in said_.items():
        if "#tool" not in asked[turn]:
            assert answer([Message("user", asked[turn])]).startswith(text)
    for exchange in one.memory._conversation.exchanges:
        turn = exchange.turn
        assert turn in started - left
        assert asked.get(turn, exchange.user) == exchange.user
        if turn in dones:
            assert dones[turn].reason != "dropped"
            heard_ms = max(dones[turn].heard_ms or 0, played[turn])
            clauses = exchange.reply.count(".") + exchange.reply.count(",") + 1
            assert len(exchange.reply) <= heard_ms / CHAR_MS + clauses, "more was kept than was heard"


async def talk(settling: Settling, seed: int) -> None:
    """Let twelve things happen, and hold what came of them against what was promised."""
    one = Talk(settling, random.Random(seed))
    for _ in range(12):
        await one.step()
    await one.finish()
    for connection in one.connections:
        check_order(connection.frames, stayed=connection.stayed, echo_gate=one.echo_gate)
    check_words(one)


def talks(seeds: Sequence[int]) -> None:
    for seed in seeds:
        try:
            run_settling(lambda settling: talk(settling, seed))  # noqa: B023  (it runs here and now)
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_nothing_stale_in_a_hundred_talks(first: int) -> None:
    talks(range(first, first + 20))


@pytest.mark.long
@pytest.mark.parametrize("first", range(100, 1000, 100))
def test_nothing_stale_in_nine_hundred_more(first: int) -> None:
    talks(range(first, first + 100))
