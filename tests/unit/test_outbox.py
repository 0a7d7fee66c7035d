"""The only way out: order, bounds, and silence about turns that are over."""

import asyncio

from riposte.turn.outbox import Outbox
from riposte.wire.frames import AudioOut, Done, Mark, Playback, Timing, Token, Usage


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


async def test_sent_is_told_after_the_consumer_came_back():
    sent: list[object] = []
    outbox = Outbox(1_000, sent.append)
    await outbox.put(Mark(1))
    await outbox.put(Mark(2))
    frames = aiter(outbox)
    await anext(frames)
    assert sent == []
    await anext(frames)
    assert sent == [Mark(1)]
