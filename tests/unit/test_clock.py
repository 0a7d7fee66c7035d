"""The virtual clock: who wakes when, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from riposte.replay.clock import VirtualClock
from riposte.turn.clock import WALL, Clock


async def a_few_turns() -> None:
    """Let the loop turn until nothing is ready: the sleepers here wake, note it, and sleep again."""
    for _ in range(5):
        await asyncio.sleep(0)


class Sleepers:
    """Tasks that sleep by a clock and note when they wake."""

    def __init__(self) -> None:
        self.clock = VirtualClock(10.0)
        self.woken: list[tuple[str, float]] = []

    async def sleep(self, name: str, *naps_s: float) -> None:
        for nap_s in naps_s:
            await self.clock.sleep(nap_s)
            self.woken.append((name, self.clock.now()))


async def test_sleepers_wake_in_order_at_their_own_time() -> None:
    sleepers = Sleepers()
    async with asyncio.TaskGroup() as group:
        group.create_task(sleepers.sleep("long", 3.0))
        group.create_task(sleepers.sleep("twice", 1.0, 1.5))
        group.create_task(sleepers.sleep("also", 3.0))
        await a_few_turns()
        assert sleepers.clock.due == 11.0
        await sleepers.clock.advance(12.0, a_few_turns)
        assert (sleepers.woken, sleepers.clock.now()) == ([("twice", 11.0)], 12.0)
        await sleepers.clock.advance(13.0, a_few_turns)
    assert sleepers.woken == [("twice", 11.0), ("twice", 12.5), ("long", 13.0), ("also", 13.0)]
    assert sleepers.clock.due is None


async def test_one_sleeper_is_done_before_the_next_wakes() -> None:
    sleepers, settled = Sleepers(), 0

    async def settle() -> None:
        nonlocal settled
        await a_few_turns()
        settled += 1
        assert len(sleepers.woken) == settled

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(sleepers.sleep(name, 1.0))
        await a_few_turns()
        await sleepers.clock.advance(20.0, settle)
    assert [name for name, _ in sleepers.woken] == ["a", "b", "c"]


async def test_a_cancelled_sleep_wakes_nobody_and_is_not_stopped_at() -> None:
    sleepers = Sleepers()
    task = asyncio.create_task(sleepers.sleep("cancelled", 1.0))
    await a_few_turns()
    task.cancel()
    await asyncio.wait({task})
    assert sleepers.clock.due is None
    await sleepers.clock.advance(15.0, a_few_turns)
    assert (sleepers.woken, sleepers.clock.now()) == ([], 15.0)


async def test_time_never_goes_back() -> None:
    clock = VirtualClock(5.0)
    await clock.advance(4.0, a_few_turns)
    assert clock.now() == 5.0


@pytest.mark.parametrize("clock", [WALL, VirtualClock()])
async def test_no_sleep_is_a_turn_of_the_loop(clock: Clock) -> None:
    before = clock.now()
    await clock.sleep(0)
    await clock.sleep(-1.0)
    assert clock.now() >= before
