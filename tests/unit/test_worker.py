"""The worker: order, parking, closing, errors, and an end that leaves nothing behind."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import aclosing

import pytest

from riposte.backends.worker import Worker
from riposte.errors import Busy, EngineError, ModelError, TooLarge
from riposte.interfaces import Priority


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    before = set(threading.enumerate())
    worker = Worker("test-worker", buffer=4)
    yield worker
    async with asyncio.timeout(5):
        await worker.aclose()
    assert worker.active == 0
    assert set(threading.enumerate()) <= before


class Gate:
    """A step that stays in the model until the test lets it go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.release.wait(5)

    async def reached(self) -> None:
        await until(self.entered.is_set)


def counting(n: int, log: list[str], name: str = "job") -> Generator[int, None, None]:
    try:
        for i in range(n):
            log.append(f"{name}{i}")
            yield i
    finally:
        log.append(f"{name} closed in {threading.current_thread().name}")


async def collect(worker: Worker, steps: Generator[int, None, None], priority: Priority) -> list[int]:
    async with aclosing(worker.stream(steps, priority)) as stream:
        return [item async for item in stream]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.001)


async def test_items_arrive_in_order_and_the_stream_ends_once(worker: Worker) -> None:
    log: list[str] = []
    stream = worker.stream(counting(100, log))
    assert [item async for item in stream] == list(range(100))
    assert [item async for item in stream] == []
    assert log[-1] == "job closed in test-worker"
    assert worker.active == 0


async def test_a_call_runs_in_the_workers_thread(worker: Worker) -> None:
    assert await worker.run(lambda: threading.current_thread().name) == "test-worker"
    assert await worker.run(lambda: None) is None


async def test_an_urgent_job_overtakes_between_two_steps(worker: Worker) -> None:
    order: list[str] = []
    gate = Gate()

    def reply() -> Generator[int, None, None]:
        gate()
        for i in range(3):
            order.append(f"later{i}")
            yield i

    def clause(name: str) -> Generator[int, None, None]:
        for i in range(2):
            order.append(f"{name}{i}")
            yield i

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collect(worker, reply(), Priority.LATER))
        await gate.reached()
        tasks.create_task(collect(worker, clause("ahead"), Priority.AHEAD))
        tasks.create_task(collect(worker, clause("a"), Priority.FIRST))
        tasks.create_task(collect(worker, clause("b"), Priority.FIRST))
        await until(lambda: worker.active == 4)
        gate.release.set()
    assert order == ["later0", "a0", "a1", "b0", "b1", "later1", "later2", "ahead0", "ahead1"]


async def test_a_slow_consumer_parks_its_own_job_only(worker: Worker) -> None:
    log: list[str] = []
    slow = worker.stream(counting(20, log))
    assert await anext(slow) == 0
    assert await worker.run(lambda: "free", Priority.AHEAD) == "free"
    made = sum(entry.startswith("job") for entry in log)
    assert made <= 6  # the buffer of 4, the one taken, and one step of slack
    assert [item async for item in slow] == list(range(1, 20))


async def test_closing_stops_behind_the_step_in_flight_and_closes_in_the_thread(worker: Worker) -> None:
    log: list[str] = []
    gate = Gate()

    def steps() -> Generator[int, None, None]:
        try:
            yield 0
            gate()
            log.append("step in flight ended")
            yield 1
            log.append("a step too many")
        finally:
            log.append(threading.current_thread().name)

    stream = worker.stream(steps())
    assert await anext(stream) == 0
    await gate.reached()
    async with asyncio.timeout(0.5):
        await stream.aclose()
    assert worker.active == 0
    gate.release.set()
    await worker.run(lambda: None)
    assert log == ["step in flight ended", "test-worker"]


async def test_cancelling_the_consumer_closes_the_job(worker: Worker) -> None:
    gate = Gate()
    log: list[str] = []

    def steps() -> Generator[int, None, None]:
        try:
            gate()
            yield 0
            log.append("a step too many")
            yield 1
        finally:
            log.append("closed")

    task = asyncio.create_task(collect(worker, steps(), Priority.FIRST))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert worker.active == 0
    gate.release.set()
    await worker.run(lambda: None)
    assert log == ["closed"]


async def test_a_parked_job_is_closed_too(worker: Worker) -> None:
    log: list[str] = []
    stream = worker.stream(counting(50, log))
    await anext(stream)
    await worker.run(lambda: None, Priority.AHEAD)
    await stream.aclose()
    await worker.run(lambda: None)
    assert log[-1] == "job closed in test-worker"


async def test_a_cancelled_call_that_has_not_begun_never_begins(worker: Worker) -> None:
    gate = Gate()
    calls: list[str] = []
    first = asyncio.create_task(worker.run(gate))
    await gate.reached()
    second = asyncio.create_task(worker.run(lambda: calls.append("second")))
    await until(lambda: worker.active == 2)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.release.set()
    await first
    await worker.run(lambda: None)
    assert calls == []


async def test_a_failing_step_becomes_an_engine_error_logged_once(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    def steps() -> Generator[int, None, None]:
        yield 1
        raise ZeroDivisionError("inside /secret/path")

    stream = worker.stream(steps())
    assert await anext(stream) == 1
    with caplog.at_level(logging.DEBUG), pytest.raises(EngineError) as caught:
        await anext(stream)
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert len(caplog.records) == 1
    assert await worker.run(lambda: "alive") == "alive"


@pytest.mark.parametrize("error", [TooLarge("no room"), ModelError("run `make engines`")])
async def test_what_is_raised_on_purpose_passes_unchanged(worker: Worker, error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await worker.run(fail)
    assert caught.value is error


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
async def test_no_exception_ends_the_thread(worker: Worker, error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(EngineError):
        await worker.run(fail)
    assert await worker.run(lambda: "alive") == "alive"


async def test_a_generator_that_refuses_to_close_is_only_logged(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    def stubborn() -> Generator[int, None, None]:
        while True:
            try:
                yield 0
            except GeneratorExit:
                yield 1
                return

    stream = worker.stream(stubborn())
    await anext(stream)
    await stream.aclose()
    assert await worker.run(lambda: "alive") == "alive"
    assert "closing a stream failed" in caplog.text


async def test_too_many_open_jobs_are_refused() -> None:
    worker = Worker("small", max_open=1)
    gate = Gate()
    first = asyncio.create_task(worker.run(gate))
    await gate.reached()
    with pytest.raises(Busy):
        await worker.run(lambda: None)
    gate.release.set()
    await first
    await worker.run(lambda: None)
    await worker.aclose()


async def test_closing_the_worker_ends_open_and_waiting_jobs(worker: Worker) -> None:
    log: list[str] = []
    gate = Gate()
    parked = worker.stream(counting(50, log, "parked"), Priority.FIRST)
    await anext(parked)
    running = asyncio.create_task(worker.run(gate))
    await gate.reached()
    waiting = asyncio.create_task(worker.run(lambda: None))
    await until(lambda: worker.active == 3)
    closing = asyncio.create_task(worker.aclose())
    await asyncio.sleep(0)
    gate.release.set()
    await closing
    for task in (running, waiting):
        # What was in flight may still be delivered; nobody waits for ever.
        try:
            await task
        except EngineError:
            assert True
    with pytest.raises(EngineError):
        async for _ in parked:
            pass
    assert log[-1] == "parked closed in test-worker"
    with pytest.raises(EngineError):
        await worker.run(lambda: None)
    await worker.aclose()


async def test_a_worker_never_used_has_no_thread() -> None:
    before = set(threading.enumerate())
    worker = Worker("idle")
    assert set(threading.enumerate()) == before
    await worker.aclose()
    with pytest.raises(EngineError):
        await worker.run(lambda: None)


def test_a_worker_serves_one_event_loop_after_another() -> None:
    worker = Worker("loops")
    for _ in range(2):
        assert asyncio.run(worker.run(lambda: 1)) == 1
    asyncio.run(worker.aclose())


def test_a_loop_that_closes_with_a_stream_open_leaves_the_worker_in_order() -> None:
    worker = Worker("orphans", buffer=2)
    log: list[str] = []
    gate = Gate()

    def steps() -> Generator[int, None, None]:
        try:
            yield 0
            gate()
            yield 1
        finally:
            log.append("closed")

    loop = asyncio.new_event_loop()
    running, parked = worker.stream(steps()), worker.stream(counting(9, log))

    async def begin() -> None:
        assert await anext(parked) == 0
        assert await anext(running) == 0
        await gate.reached()

    loop.run_until_complete(begin())
    loop.close()  # without shutdown_asyncgens: the streams stay open
    gate.release.set()
    assert asyncio.run(worker.run(lambda: "alive", Priority.AHEAD)) == "alive"
    assert "closed" in log
    assert worker.active == 0
    asyncio.run(worker.aclose())
    assert "job closed in orphans" in log


async def test_many_jobs_at_once_all_finish(worker: Worker) -> None:
    def steps(n: int) -> Generator[int, None, None]:
        yield from range(n)

    async with asyncio.timeout(20):
        results = await asyncio.gather(*(collect(worker, steps(n % 17), Priority(n % 3)) for n in range(300)))
    assert [len(result) for result in results] == [n % 17 for n in range(300)]
