"""The language model's thread on a graph that gives away every mistake.

Its "keys and values" are the tokens themselves, and the next token is a checksum of all of them: a row
that was moved, rewound or mixed up wrongly answers something else.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from riposte.backends import llm_scheduler
from riposte.backends.llm_job import Job, Reply, Vocabulary
from riposte.backends.llm_scheduler import Scheduler
from riposte.errors import EngineError
from riposte.interfaces import Piece, Priority, Sampling

CONTEXT, SIZE = 300, 97
VOCABULARY = Vocabulary([b"%d " % token for token in range(SIZE)], frozenset({0}))


class Toy:
    """Looks like llm_graph.Graph. `gate`, when closed, holds the next step up."""

    context_tokens = CONTEXT

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.memory = np.zeros((rows, CONTEXT), np.int64)
        self.steps: list[tuple[int, int]] = []  # rows, tokens
        self.prompts: list[int] = []  # the first token of each chunk
        self.entered = threading.Semaphore(0)
        self.gate: threading.Event | None = None
        self.pause_at: int | None = None  # closes the gate at that step
        self.fails: tuple[int, int] | None = None  # steps of this shape

    def forward(self, low: int, high: int, ids: np.ndarray, past: np.ndarray, run: Any = None) -> np.ndarray:
        assert ids.shape == (high - low, ids.shape[1])
        assert past.shape == (high - low,)
        self.steps.append(ids.shape)
        if run is not None:
            self.prompts.append(int(ids[0, 0]))
        if len(self.steps) == self.pause_at:
            self.gate = threading.Event()
        self.entered.release()
        while self.gate is not None and not self.gate.wait(0.001):
            if run is not None and run.terminate:
                break
        if ids.shape == self.fails or (run is not None and run.terminate):
            raise RuntimeError("stopped or broken")
        logits = np.zeros((high - low, SIZE), np.float32)
        for index, row in enumerate(range(low, high)):
            end = past[index] + ids.shape[1]
            self.memory[row, past[index] : end] = ids[index]
            logits[index, checksum(self.memory[row, :end])] = 9.0
        return logits

    def swap(self, first: int, second: int, count: int) -> None:
        for row in (first, second):
            self.memory[row, count:] = -1  # whoever needs more than it says, finds this
        self.memory[[first, second]] = self.memory[[second, first]]

    def warm_up(self, past: np.ndarray, sizes: Any) -> None:
        assert past.max() < CONTEXT


def checksum(tokens: np.ndarray) -> int:
    return 1 + int(np.sum(tokens * (np.arange(len(tokens)) + 3)) % (SIZE - 1))


def expected(prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(checksum(np.array(tokens)))
    return tokens[len(prompt) :]


class Bench:
    def __init__(self, rows: int) -> None:
        self.toy = Toy(rows)
        self.scheduler = Scheduler(self.toy, "toy")  # type: ignore[arg-type]

    def ask(self, key: str, prompt: list[int], count: int = 5, priority: Priority = Priority.FIRST) -> Job:
        ids = np.array(prompt, np.int64)
        job = Job(key, ids, priority, Reply(VOCABULARY, Sampling(), ids, count))
        self.scheduler.submit(job)
        return job

    def hint(self, key: str, prompt: list[int], priority: Priority = Priority.AHEAD, **watched: int) -> Job:
        job = Job(key, np.array(prompt, np.int64), priority, **watched)
        self.scheduler.submit(job)
        return job

    async def hold(self) -> None:
        """Stop the graph in the middle of its next step, or at once if it is in one."""
        self.toy.gate = threading.Event()

    async def in_step(self) -> None:
        await asyncio.to_thread(self.toy.entered.acquire)

    def go(self) -> None:
        gate, self.toy.gate = self.toy.gate, None
        assert gate is not None
        gate.set()


@pytest.fixture
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    made = Bench(getattr(request, "param", 2))
    yield made
    thread = made.scheduler.close()
    if thread is not None:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()


async def all_of(job: Job) -> list[Piece]:
    pieces: list[Piece] = []
    while True:
        piece = await asyncio.wait_for(job.next(), 5)
        assert piece is not None
        pieces.append(piece)
        if piece.finish is not None:
            return pieces


async def tokens_of(job: Job) -> list[int]:
    return [token for piece in await all_of(job) for token in piece.token_ids]


@pytest.mark.parametrize("seed", range(12))
async def test_any_mixture_answers_as_each_alone(seed: int) -> None:
    bench = Bench(rows=3)
    chance = random.Random(seed)
    talks = {f"talk {n}": [chance.randrange(1, SIZE)] for n in range(6)}

    async def talk(key: str) -> None:
        for _ in range(6):
            tokens = talks[key] = talks[key][: chance.randrange(1, len(talks[key]) + 1)]  # rewinds
            tokens += [chance.randrange(1, SIZE) for _ in range(chance.randrange(0, 25))]
            count = chance.randrange(1, 12)
            if chance.random() < 0.3:
                hint = bench.hint(key, tokens, chance.choice(list(Priority)), watched=1)
                await asyncio.wait_for(hint.next(), 5)
            if chance.random() < 0.1:
                bench.scheduler.forget(key)
            if chance.random() < 0.1:
                bench.scheduler.warm_up()
            job = bench.ask(key, tokens, count, chance.choice(list(Priority)))
            if chance.random() < 0.3:
                await job.next()
                bench.scheduler.cancel(job)
                continue
            made = await tokens_of(job)
            assert made == expected(tokens, count)
            tokens += made
            if chance.random() < 0.3:
                await asyncio.sleep(0)

    await asyncio.wait_for(asyncio.gather(*(talk(key) for key in talks)), 20)
    thread = bench.scheduler.close()
    assert thread is not None
    await asyncio.to_thread(thread.join, 5)
    assert bench.scheduler._table.running == 0


async def test_long_prompt_goes_in_chunks_between_the_others_tokens(bench: Bench) -> None:
    await bench.hold()
    reply = bench.ask("a", [1, 2, 3], 40)
    await bench.in_step()
    long = bench.ask("b", list(range(1, 90)) * 2, 1)
    bench.go()
    assert await tokens_of(long) == expected(list(range(1, 90)) * 2, 1)
    await all_of(reply)
    sizes = [size for _, size in bench.toy.steps]
    first = sizes.index(64)
    assert sizes[first : first + 5] == [64, 1, 64, 1, 50]


async def test_replies_in_progress_are_one_batch(bench: Bench) -> None:
    await bench.hold()
    jobs = [bench.ask(key, [1, 2], 10) for key in "ab"]
    await bench.in_step()
    bench.go()
    for job in jobs:
        await all_of(job)
    assert (2, 1) in bench.toy.steps


async def test_reply_that_is_well_begun_stands_aside_for_one_that_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm_scheduler, "_ASIDE_S", 60.0)
    bench.toy.pause_at = before = 20
    begun = bench.ask("a", [1, 2, 3], 100)
    for _ in range(before):
        await bench.in_step()
    new = bench.ask("b", list(range(1, 91)), 40)
    bench.go()
    assert await tokens_of(new) == expected(list(range(1, 91)), 40)
    await all_of(begun)
    steps = bench.toy.steps[before:]
    prompt = steps.index((1, 64))
    assert steps[prompt : prompt + 2] == [(1, 64), (1, 26)]  # nothing comes between
    assert steps[prompt + 2 : prompt + 13] == [(1, 1)] * 11  # 12 tokens, the first of them the prompt's
    assert (2, 1) in steps[prompt + 13 :]


async def test_nobody_stands_aside_for_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_scheduler, "_ASIDE_S", 0.0)
    bench.toy.pause_at = before = 20
    begun = bench.ask("a", [1, 2, 3], 100)
    for _ in range(before):
        await bench.in_step()
    new = bench.ask("b", [4, 5], 12)
    bench.go()
    await all_of(new)
    await all_of(begun)
    assert bench.toy.steps[before:].count((2, 1)) >= 11


async def test_urgent_request_overtakes_who_waits_for_a_row() -> None:
    bench = Bench(rows=1)
    await bench.hold()
    first = bench.ask("a", [1], 3)
    await bench.in_step()
    later = bench.ask("b", [2], 3, Priority.LATER)
    urgent = bench.ask("c", [3], 3, Priority.FIRST)
    bench.go()
    for job in (first, later, urgent):
        await all_of(job)
    assert bench.toy.prompts == [1, 3, 2]
    bench.scheduler.close()


async def test_urgent_prompt_goes_before_a_hint_that_has_begun(bench: Bench) -> None:
    await bench.hold()
    hint = bench.hint("a", [5] * 200)
    await bench.in_step()
    urgent = bench.ask("b", [7, 8], 2)  # stops the hint's chunk in flight
    await bench.in_step()
    bench.go()
    assert await tokens_of(urgent) == expected([7, 8], 2)
    assert await asyncio.wait_for(hint.next(), 5) is None
    assert bench.toy.prompts[:2] == [5, 7]
    after = await all_of(bench.ask("a", [5] * 200 + [6], 1))
    assert after[-1].usage is not None
    assert after[-1].usage.cached_tokens == 200


async def test_hint_without_a_row_is_dropped_and_gives_its_row_up(bench: Bench) -> None:
    await bench.hold()
    jobs = [bench.ask(key, [1, 2], 3) for key in "ab"]
    await bench.in_step()
    dropped = bench.hint("c", [1, 2, 3])
    bench.go()
    assert await asyncio.wait_for(dropped.next(), 5) is None
    for job in jobs:
        await all_of(job)
    await bench.hold()
    hints = [bench.hint(key, [9] * 200) for key in "cd"]
    await bench.in_step()
    urgent = bench.ask("e", [4], 3)
    bench.go()
    assert await tokens_of(urgent) == expected([4], 3)
    for hint in hints:
        assert await asyncio.wait_for(hint.next(), 5) is None


async def test_prompt_that_was_prefilled_whole_needs_no_step(bench: Bench) -> None:
    prompt = [1, 2, 3]
    assert await bench.hint("a", prompt).next() is None
    before = len(bench.toy.steps)
    pieces = await all_of(bench.ask("a", prompt, 1))
    assert len(bench.toy.steps) == before
    assert [piece.token_ids for piece in pieces] == [tuple(expected(prompt, 1))]
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.cached_tokens == 3


async def test_chance_of_a_watched_token_is_told_and_known_afterwards(bench: Bench) -> None:
    prompt = [4, 5, 6]
    (likely,) = expected(prompt, 1)
    others = SIZE - 1
    first = bench.hint("a", prompt, watched=likely)
    assert await first.next() is None
    assert first.chance == pytest.approx(math.exp(9) / (math.exp(9) + others))
    before = len(bench.toy.steps)
    again = bench.hint("a", prompt, Priority.FIRST, watched=likely - 1)
    assert await again.next() is None
    assert again.chance == pytest.approx(1 / (math.exp(9) + others))
    assert len(bench.toy.steps) == before
    assert await tokens_of(bench.ask("a", [*prompt, 7], 3)) == expected([*prompt, 7], 3)
    assert bench.toy.steps[before] == (1, 1)  # what lies behind, and nothing else


async def test_urgent_hint_goes_before_other_hints_and_stops_one_in_flight(bench: Bench) -> None:
    await bench.hold()
    prefill = bench.hint("a", [5] * 200)
    await bench.in_step()
    urgent = bench.hint("b", [7, 8], Priority.FIRST, watched=1)  # stops the chunk in flight
    await bench.in_step()
    reply = bench.ask("c", [9], 2)  # as urgent and later: it does not stop the urgent one, nor take its row
    bench.go()
    assert await asyncio.wait_for(urgent.next(), 5) is None
    assert urgent.chance is not None
    assert await tokens_of(reply) == expected([9], 2)
    assert await asyncio.wait_for(prefill.next(), 5) is None
    assert bench.toy.prompts[:3] == [5, 7, 9]


async def test_hint_of_a_conversation_that_is_being_answered_is_given_up_at_once(bench: Bench) -> None:
    await bench.hold()
    reply = bench.ask("a", [1, 2, 3], 20)
    await bench.in_step()
    hint = bench.hint("a", [1, 2, 3, 4], Priority.FIRST, watched=1)
    bench.go()
    assert await asyncio.wait_for(hint.next(), 5) is None
    assert hint.chance is None
    assert await tokens_of(reply) == expected([1, 2, 3], 20)


async def test_logits_that_are_no_numbers_have_no_chance(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.toy, "forward", lambda *_: np.full((1, SIZE), np.nan, np.float32))
    hint = bench.hint("a", [1, 2], watched=1)
    assert await asyncio.wait_for(hint.next(), 5) is None
    assert hint.chance is None


async def test_newer_hint_replaces_the_older_one(bench: Bench) -> None:
    await bench.hold()
    older = bench.hint("a", [1] * 250)
    await bench.in_step()
    newer = bench.hint("a", [1] * 140)
    bench.go()
    assert await asyncio.wait_for(older.next(), 5) is None
    assert await asyncio.wait_for(newer.next(), 5) is None
    assert sum(size for _, size in bench.toy.steps) == 140


async def test_cancelling_stops_a_prompt_in_flight(bench: Bench) -> None:
    await bench.hold()
    job = bench.ask("a", [1] * 200)
    await bench.in_step()
    bench.scheduler.cancel(job)  # the gate stays closed: only the cancellation can end the step
    other = bench.ask("b", [2], 2)
    await bench.in_step()
    assert bench.toy.prompts == [1, 2]
    bench.go()
    assert await tokens_of(other) == expected([2], 2)


async def test_failure_reaches_the_whole_batch_and_nobody_later(bench: Bench) -> None:
    await bench.hold()
    jobs = [bench.ask(key, [1, 2], 50) for key in "ab"]
    await bench.in_step()
    bench.toy.fails = (2, 1)
    bench.go()
    for job in jobs:
        with pytest.raises(EngineError):
            await all_of(job)
    bench.toy.fails = None
    pieces = await all_of(bench.ask("a", [1, 2], 3))
    assert [token for piece in pieces for token in piece.token_ids] == expected([1, 2], 3)
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.cached_tokens == 0  # nobody knows what a broken step left


async def test_mistake_in_the_scheduler_leaves_nobody_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(bench.scheduler, "_place", lambda job: 1 / 0)
        with pytest.raises(EngineError):
            await all_of(bench.ask("a", [1]))
    assert await tokens_of(bench.ask("a", [1], 2)) == expected([1], 2)


async def test_closing_reaches_everybody() -> None:
    bench = Bench(rows=1)
    await bench.hold()
    jobs = [bench.ask(key, [1] * 200, 5) for key in "abc"]
    await bench.in_step()
    jobs.append(bench.ask("d", [1]))
    thread = bench.scheduler.close()
    assert thread is not None
    await asyncio.to_thread(thread.join, 5)
    for job in jobs:
        with pytest.raises(EngineError, match="shut down"):
            await all_of(job)
    with pytest.raises(EngineError):
        bench.ask("e", [1])
    bench.scheduler.cancel(jobs[0])
    bench.scheduler.forget("a")


async def test_idle_thread_sleeps(bench: Bench) -> None:
    await all_of(bench.ask("a", [1], 2))
    steps = len(bench.toy.steps)
    await asyncio.sleep(0.02)
    assert len(bench.toy.steps) == steps
    assert bench.scheduler._table.running == 0
