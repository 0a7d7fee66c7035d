"""The only way out: order, bounds, and silence about turns that are over."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from riposte.errors import EngineError
from riposte.turn.outbox import Outbox
from riposte.wire.frames import AudioOut, Done, Error, Mark, Playback, Timing, Token, Usage


def done(turn: int) -> Done:
    return Done(turn, "stop", None, Usage(), Timing("text"))


async def drained(outbox: Outbox) -> list[object]:
    outbox.close(1000)
    return [frame async for frame in outbox]


async def test_frames_leave_in_order():
    outbox = Outbox(1_000)
    outbox.begin(1)
    frames = [Token(1, "a"), Mark(4), Token(1, "b"), done(1)]
    for frame in frames[:3]:
        await outbox.put(frame)
    outbox.end(frames[3])
    assert await drained(outbox) == frames


async def test_a_retired_turn_is_not_heard_of_again_but_for_its_end():
    outbox = Outbox(1_000)
    outbox.begin(1)
    outbox.begin(2)
    await outbox.put(Token(1, "stale"))
    await outbox.put(Token(2, "fresh"))
    outbox.retire(1)
    await outbox.put(Token(1, "staler"))
    outbox.put_now(Playback(1, 0.0))
    outbox.end(done(1))
    outbox.end(done(2))
    assert await drained(outbox) == [Token(2, "fresh"), Playback(1, 0.0), done(1), done(2)]


async def test_nothing_of_a_turn_follows_its_done():
    outbox = Outbox(1_000)
    outbox.begin(1)
    outbox.end(done(1))
    await outbox.put(Token(1, "late"))
    outbox.retire(1)
    assert await drained(outbox) == [done(1)]


async def test_a_full_outbox_makes_producers_wait():
    outbox = Outbox(2_000)
    outbox.begin(1)
    await outbox.put(AudioOut(1, 0, b"x" * 2_000))
    waiting = asyncio.create_task(outbox.put(Token(1, "next")))
    await asyncio.sleep(0)
    assert not waiting.done()
    frames = aiter(outbox)
    assert isinstance(await anext(frames), AudioOut)
    await waiting
    assert await anext(frames) == Token(1, "next")


async def test_retiring_a_turn_frees_whoever_waits_with_its_frames():
    outbox = Outbox(1_000)
    outbox.begin(1)
    await outbox.put(AudioOut(1, 0, b"x" * 2_000))
    waiting = [asyncio.create_task(outbox.put(Token(1, "a"))), asyncio.create_task(outbox.put(Mark(1)))]
    await asyncio.sleep(0)
    outbox.retire(1)
    await asyncio.gather(*waiting)
    outbox.end(done(1))
    assert await drained(outbox) == [Mark(1), done(1)]


async def test_a_cancelled_producer_leaves_no_trace():
    outbox = Outbox(1_000)
    outbox.begin(1)
    await outbox.put(AudioOut(1, 0, b"x" * 2_000))
    waiting = asyncio.create_task(outbox.put(Token(1, "a")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    frames = aiter(outbox)
    await anext(frames)
    await outbox.put(Mark(1))
    assert await anext(frames) == Mark(1)


async def test_closing_lets_what_waits_leave_and_drops_the_rest():
    outbox = Outbox(1_000)
    await outbox.put(Mark(1))
    outbox.close(1001, "bye")
    outbox.close(1000)
    await outbox.put(Mark(2))
    assert [frame async for frame in outbox] == [Mark(1)]
    assert (outbox.close_code, outbox.close_reason) == (1001, "bye")


async def test_a_closed_outbox_waits_for_the_end_of_each_turn() -> None:
    outbox = Outbox(1_000)
    for turn in (1, 2, 3):
        outbox.begin(turn)
    outbox.close(1001)
    frames = asyncio.create_task(drained(outbox))
    await asyncio.sleep(0)
    outbox.end(done(1))
    outbox.end(done(1))  # once is enough
    outbox.forget(2)
    await asyncio.sleep(0)
    assert not frames.done()
    outbox.end(done(3))
    assert await frames == [done(1), done(3)]


async def test_what_waits_is_taken_at_once_up_to_a_size():
    outbox = Outbox(100_000)
    outbox.begin(1)
    sound = [AudioOut(1, seq, b"x" * 1_000) for seq in range(5)]
    for frame in sound:
        await outbox.put(frame)
    assert await outbox.take(2_100) == sound[:2]
    assert await outbox.take(100) == sound[2:3]
    assert await outbox.take(100_000) == sound[3:]
    outbox.close(1000)
    outbox.end(done(1))
    assert await outbox.take(100) == [done(1)]
    assert await outbox.take(100) == []


async def test_sent_is_told_after_the_consumer_came_back():
    sent: list[object] = []
    outbox = Outbox(1_000, sent.extend)
    await outbox.put(Mark(1))
    await outbox.put(Mark(2))
    frames = aiter(outbox)
    await anext(frames)
    assert sent == []
    await anext(frames)
    assert sent == [Mark(1)]


TURNS = st.integers(1, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["token", "sound", "retire", "end", "begin"]), TURNS),
        st.tuples(st.just("turn of the loop"), st.integers(1, 3)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, batch_bytes=st.sampled_from([1, 500, 10_000]), max_bytes=st.sampled_from([600, 10_000]))
def test_no_stale_frame_is_handed_over_however_they_are_batched(
    steps: list[tuple[str, int]], batch_bytes: int, max_bytes: int
) -> None:
    async def play() -> None:
        outbox = Outbox(max_bytes)
        seen: list[object] = []  # what was handed over, and between it which turns were retired or ended
        producers: set[asyncio.Task[None]] = set()

        async def consume() -> None:
            while frames := await outbox.take(batch_bytes):
                seen.extend(frames)

        consumer = asyncio.create_task(consume())

        async def settle(kept: asyncio.Future[object], error: EngineError | None, turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            kept.set_result(error)

        begun, ended, lost = set[int](), set[int](), set[int]()
        for number, (step, turn) in enumerate(steps):
            match step:
                case "begin" if turn not in begun:
                    begun.add(turn)
                    outbox.begin(turn)
                case "token":
                    producers.add(asyncio.create_task(outbox.put(Token(turn, str(number)))))
                case "sound":
                    producers.add(asyncio.create_task(outbox.put(AudioOut(turn, number, b"x" * 400))))
                case "retire" if turn in begun:
                    outbox.retire(turn)
                    seen.append(("over", turn))
                case "end" if turn in begun:
                    outbox.retire(turn)
                    kept = asyncio.get_running_loop().create_future()
                    outbox.end(done(turn), kept)
                    error = EngineError("lost") if number % 2 else None
                    producers.add(asyncio.create_task(settle(kept, error, number % 5)))
                    if turn not in ended and error is not None:
                        lost.add(turn)
                    seen.append(("over", turn))
                    ended.add(turn)
                case "turn of the loop":
                    for _ in range(turn):
                        await asyncio.sleep(0)
        for turn in begun - ended:
            outbox.end(done(turn))
        outbox.close(1000)
        async with asyncio.timeout(10):
            await asyncio.gather(consumer, *producers)
        for at, what in enumerate(seen):
            if isinstance(what, tuple | Done):
                over = what.turn if isinstance(what, Done) else what[1]
                later = [frame for frame in seen[at:] if isinstance(frame, Token | AudioOut)]
                assert all(frame.turn != over for frame in later)
        assert sorted(frame.turn for frame in seen if isinstance(frame, Done)) == sorted(begun)
        frames = [what for what in seen if not isinstance(what, tuple)]
        for at, frame in enumerate(frames):  # a turn that was lost says so, and then ends
            if isinstance(frame, Done):
                assert (frame.reason == "error") == (frame.turn in lost)
                assert frame.turn not in lost or frames[at - 1] == Error("engine", "lost", frame.turn)
        for turn in begun:  # in the order they were put
            mine = [frame for frame in seen if isinstance(frame, Token | AudioOut) and frame.turn == turn]
            numbers = [int(frame.text) if isinstance(frame, Token) else frame.seq for frame in mine]
            assert numbers == sorted(numbers)

    asyncio.run(play())
