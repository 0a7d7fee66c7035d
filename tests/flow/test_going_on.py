"""Who goes on after his turn was taken for over, and what the conversation remembers of it."""

from __future__ import annotations

import asyncio

import pytest
from talking import of, pcm
from talks import FRAME, LONG, talk
from virtual import in_virtual_time

from riposte.backends.fake import FakeTts
from riposte.conversation import Exchange
from riposte.errors import ClientError
from riposte.history import History
from riposte.history_db import SessionRow
from riposte.turn.machine import DUCKED
from riposte.wire import frames as wire

MORE = pcm("in the kitchen please")
BEGUN = 2 * 16_000 * 15 // 100  # bytes of it: 150 ms, speech that was not judged yet


class Kept(History):
    """What was to be written: the turn that is kept or forgotten."""

    def __init__(self) -> None:
        self.written: list[int | None] = []
        self.forgotten: list[int] = []

    @property
    def refusal(self) -> None:
        return None

    def keep(
        self, row: SessionRow, exchange: Exchange | None, forgotten: int | None = None
    ) -> asyncio.Future[ClientError | None]:
        self.written.append(None if exchange is None else exchange.turn)
        if forgotten is not None:
            self.forgotten.append(forgotten)
        told: asyncio.Future[ClientError | None] = asyncio.get_running_loop().create_future()
        told.set_result(None)
        return told


@in_virtual_time
async def test_a_user_who_goes_on_is_answered_as_a_whole() -> None:
    async with talk() as one:
        await one.hear(pcm(LONG, lead_s=0.3, tail_s=0.3))
        await one.until(wire.AudioOut, 1)
        await one.hear(pcm("in the kitchen please", tail_s=0.4))
        await one.until(wire.AudioOut, 2)
        assert of(one.frames, wire.Done)[0].reason == "interrupted"
        assert one.finals == [LONG, f"{LONG} in the kitchen please"]
        await one.session.receive(wire.Cancel())
        await one.session.receive(wire.Text("and now"))
        await one.until(wire.AudioOut, 3)
        users = [message.content for message in one.llm.prompts[-1] if message.role == "user"]
        assert users == [f"{LONG} in the kitchen please", "and now"]


@pytest.mark.parametrize("sound", [pcm("okay", lead_s=0.1, tail_s=0.45), pcm("", lead_s=0.2, tail_s=0.45)])
@in_virtual_time
async def test_a_backchannel_right_after_the_release_is_no_going_on(sound: bytes) -> None:
    async with talk() as one:
        await one.hear(pcm(LONG, lead_s=0.3, tail_s=0.3))
        await one.until(wire.AudioOut, 1)
        await one.hear(sound)
        assert one.gains == [DUCKED, 1.0]
        await one.hear(pcm("in the kitchen please", tail_s=0.4))
        await one.until(wire.AudioOut, 2)
        assert one.finals[-1].startswith(LONG)
        assert one.finals[-1].endswith("in the kitchen please")


@in_virtual_time
async def test_who_speaks_later_has_said_something_new() -> None:
    async with talk() as one:
        await one.hear(pcm(LONG, lead_s=0.3, tail_s=0.3))
        await one.until(wire.AudioOut, 1)
        await one.hear(pcm("now something else", lead_s=1.1, tail_s=0.4))
        await one.until(wire.AudioOut, 2)
        assert one.finals == [LONG, "now something else"]


@pytest.mark.parametrize("size", [FRAME, 16_000, 32_000])
@in_virtual_time
async def test_whether_somebody_goes_on_does_not_depend_on_how_the_sound_is_cut(size: int) -> None:
    async with talk() as one:
        await one.hear(pcm(LONG, lead_s=0.3, tail_s=0.3))
        await one.until(wire.AudioOut, 1)
        await one.hear(bytes(FRAME * 15))
        await one.hear(pcm("in the kitchen please", lead_s=0.63, tail_s=0.6), size=size)  # just in time
        await one.until(wire.AudioOut, 2)
        assert one.finals[-1] == f"{LONG} in the kitchen please"


@in_virtual_time
async def test_a_reply_that_ends_while_its_user_goes_on_is_forgotten() -> None:
    kept = Kept()
    async with talk(tts=FakeTts(char_ms=10), history=kept) as one:
        await one.hear(pcm("turn on lights", lead_s=0.3, tail_s=0.3))
        await one.until(wire.AudioOut, 1)
        await one.hear(MORE[:BEGUN])
        await one.until(wire.Done, 1)
        assert of(one.frames, wire.Done)[0].reason == "stop"
        assert one.kept == [(1, "turn on lights")]
        await one.hear(MORE[BEGUN:], bytes(FRAME * 20))
        await one.until(wire.Done, 2)
        assert one.kept == [(2, "turn on lights in the kitchen please")]
        assert one.asked == ["turn on lights in the kitchen please"]
        assert [turn for turn in kept.written if turn] == [1, 2]
        assert kept.forgotten == [1]


@in_virtual_time
async def test_what_was_typed_before_somebody_went_on_stays_in_the_conversation() -> None:
    async with talk() as one:
        await one.hear(pcm(LONG, lead_s=0.3, tail_s=0.3))
        await one.until(wire.AudioOut, 1)
        await one.hear(MORE[:BEGUN])
        await one.type("count to 200")
        await one.until(wire.AudioOut, 2)
        await one.hear(MORE[BEGUN:], bytes(FRAME * 20))
        await one.until(wire.AudioOut, 3)
        assert one.asked == ["count to 200", f"{LONG} in the kitchen please"]


@in_virtual_time
async def test_who_says_that_it_is_all_while_he_goes_on_is_answered_as_a_whole() -> None:
    async with talk() as one:
        await one.hear(pcm(LONG, lead_s=0.3, tail_s=0.3))
        await one.until(wire.AudioOut, 1)
        await one.hear(pcm("okay do")[: 2 * 16_000 * 18 // 100])
        await one.session.receive(wire.End())
        await one.until(wire.AudioOut, 2)
        assert len(one.asked) == 1
        assert one.asked[0].startswith(LONG)


@in_virtual_time
async def test_a_turn_that_was_overtaken_by_a_typed_one_is_not_lost_on_resuming() -> None:
    async with talk(tts=FakeTts(char_ms=10)) as one:
        await one.hear(pcm("tell me about paris now", lead_s=0.3))
        await one.settle()
        await one.until(wire.Transcript)  # it has its number
        await one.type("typed")
        await one.until(wire.Done, 2)
        await one.hear(bytes(FRAME * 40))
        await one.until(wire.Done, 1)
        assert sorted(one.kept) == [(1, "tell me about paris now"), (2, "typed")]


@in_virtual_time
async def test_a_reply_in_text_can_be_gone_on_with() -> None:
    async with talk() as one:
        await one.session.receive(wire.Hello(modalities=["text"]))
        await one.hear(pcm("turn on", lead_s=0.3, tail_s=0.3))
        await one.until(wire.Done, 1)
        await one.hear(pcm("in the kitchen please", tail_s=0.4))
        await one.until(wire.Done, 2)
        assert one.finals[-1] == "turn on in the kitchen please"


@in_virtual_time
async def test_nobody_goes_on_with_what_a_tool_has_long_been_asked_to_do() -> None:
    tools = [{"type": "function", "function": {"name": "light"}}]
    async with talk() as one:
        await one.session.receive(wire.Hello(tools=tools))
        await one.hear(pcm("#tool light {}", lead_s=0.3, tail_s=0.4))
        await one.until(wire.ToolCall, 1)
        await one.hear(bytes(FRAME * 100), pcm("now something else", tail_s=0.4))
        await one.until(wire.AudioOut, 2)
        assert one.finals[-1] == "now something else"
