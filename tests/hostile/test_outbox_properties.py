"""The outbox against whatever order of calls: in order, bounded, one `done` a turn, nothing after it."""

from __future__ import annotations

import asyncio

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from riposte.turn.outbox import Outbox, _weight
from riposte.wire.frames import AudioOut, Done, Error, Mark, ServerFrame, Timing, Token, Usage

PRODUCERS = ("tokens", "sound", "marks")
producers = st.sampled_from(PRODUCERS)


class OutboxMachine(RuleBasedStateMachine):
    """Three producers, each with one frame under way at a time, and one consumer that is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.begun: set[int] = set()  # and not over
        self.retired: set[int] = set()
        self.forgotten: set[int] = set()
        self.ended: dict[int, Done] = {}
        self.closed = False
        self.serial = 0
        self.putting: dict[str, tuple[asyncio.Task[None], ServerFrame]] = {}
        self.promised: list[ServerFrame] = []  # puts that came back while the outbox was open
        self.cancelled: list[ServerFrame] = []
        self.put: dict[str, list[ServerFrame]] = {name: [] for name in PRODUCERS}
        self.urgent: list[ServerFrame] = []
        self.taken: list[ServerFrame] = []
        self.taking: asyncio.Task[list[ServerFrame]] | None = None
        self.over = False

    @initialize(max_bytes=st.sampled_from([1, 200, 1_000]))
    def opened(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.outbox = Outbox(max_bytes)

    @precondition(lambda self: not self.over)  # whoever took everything has hung up
    @rule()
    def begin(self) -> None:
        self.serial += 1
        self.begun.add(self.serial)
        self.outbox.begin(self.serial)

    @rule(producer=producers, back=st.integers(-1, 2), size=st.integers(0, 400))
    def produce(self, producer: str, back: int, size: int) -> None:
        if producer in self.putting:
            return
        turn = self.serial - back  # of a turn to come, the latest, or one that is likely over
        number = len(self.put[producer])
        frame: ServerFrame = {
            "tokens": Token(turn, f"{number}".ljust(size)),
            "sound": AudioOut(turn, number, bytes(size)),
            "marks": Mark(number),
        }[producer]
        self.put[producer].append(frame)
        task = self.loop.create_task(self.outbox.put(frame))
        self.putting[producer] = (task, frame)
        self.settle()

    @rule(producer=producers)
    def cancel_put(self, producer: str) -> None:
        if producer in self.putting:
            task, frame = self.putting.pop(producer)
            task.cancel()
            self.cancelled.append(frame)
            self.settle()

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def hurry(self, data: st.DataObject) -> None:
        """What ends things passes at once, also of a turn that was just retired."""
        turn = data.draw(st.sampled_from(sorted(self.begun)))
        frame = Error("engine", f"number {len(self.urgent)}", turn)
        self.outbox.put_now(frame)
        if not self.closed:
            self.urgent.append(frame)

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        turn = data.draw(st.sampled_from(sorted(self.begun)))
        self.outbox.retire(turn)
        self.retired.add(turn)
        self.urgent = [frame for frame in self.urgent if frame.turn != turn or frame in self.taken]
        self.settle()

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        turn = data.draw(st.sampled_from(sorted(self.begun)))
        self.begun.discard(turn)
        self.ended[turn] = done = Done(turn, "stop", None, Usage(), Timing("text"))
        self.outbox.end(done)
        self.outbox.end(done)  # once is enough
        self.settle()

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        turn = data.draw(st.sampled_from(sorted(self.begun)))
        if any(getattr(frame, "turn", None) == turn for frame in self.taken):
            return  # only a turn that nobody has seen is forgotten
        self.begun.discard(turn)
        self.retired.add(turn)
        self.forgotten.add(turn)
        self.urgent = [frame for frame in self.urgent if frame.turn != turn]
        self.outbox.forget(turn)
        self.settle()

    @rule(max_bytes=st.sampled_from([1, 300, 100_000]))
    def take(self, max_bytes: int) -> None:
        if self.taking is None:
            self.taking = self.loop.create_task(self.outbox.take(max_bytes))
        self.settle()

    @precondition(lambda self: self.serial > 4)
    @rule()
    def close(self) -> None:
        self.outbox.close(1001)
        self.closed = True
        self.settle()

    @invariant()
    def what_waits_is_weighed_and_bounded(self) -> None:
        waiting = list(self.outbox._frames)
        assert self.outbox._bytes == sum(map(_weight, waiting))
        patient = sum(_weight(frame) for frame in waiting if not isinstance(frame, Done | Error))
        assert patient < self.max_bytes + 64 + 400

    @invariant()
    def nobody_waits_without_a_reason(self) -> None:
        for task, _ in self.putting.values():
            assert not task.done()
            assert self.outbox._bytes >= self.max_bytes
            assert not self.closed

    def settle(self) -> None:
        """Let the loop turn until nothing moves; look at what came out."""

        async def turns() -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        for name, (task, frame) in list(self.putting.items()):
            if task.done():
                task.result()
                del self.putting[name]
                turn = getattr(frame, "turn", None)
                if not self.closed and (turn is None or turn in self.begun - self.retired):
                    self.promised.append(frame)
        if self.taking is not None and self.taking.done():
            frames, self.taking = self.taking.result(), None
            self.over = not frames
            for frame in frames:
                self.check(frame)
                self.taken.append(frame)
            self.settle()

    def check(self, frame: ServerFrame) -> None:
        """A frame leaves: may it, now?"""
        assert frame not in self.cancelled
        turn = getattr(frame, "turn", None)
        if turn is None:
            return
        assert not any(isinstance(f, Done) and f.turn == turn for f in self.taken), "after its done"
        assert turn not in self.forgotten
        if not isinstance(frame, Done | Error):
            assert turn not in self.retired, "a stale frame"

    def teardown(self) -> None:
        try:
            if hasattr(self, "outbox"):
                self.drain()
        finally:
            for task in (self.taking, *(task for task, _ in self.putting.values())):
                if task is not None:
                    task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()

    def drain(self) -> None:
        """End every turn, take all that is left, and look at the whole."""
        for turn in sorted(self.begun):
            self.ended[turn] = done = Done(turn, "cancelled", None, Usage(), Timing("text"))
            self.outbox.end(done)
        self.begun.clear()
        self.close()
        for _ in range(10_000):
            if self.over:
                break
            self.take(1)
        assert self.over, "the end does not come"
        dones = [frame for frame in self.taken if isinstance(frame, Done)]
        assert sorted(dones, key=lambda d: d.turn) == [self.ended[turn] for turn in sorted(self.ended)]
        for name in PRODUCERS:
            mine = [frame for frame in self.taken if frame in self.put[name]]
            assert mine == [frame for frame in self.put[name] if frame in mine], "out of order"
        for frame in self.promised:
            assert frame in self.taken or getattr(frame, "turn", None) in self.retired, "lost"
        for frame in self.urgent:
            assert frame in self.taken


TestOutbox = OutboxMachine.TestCase
