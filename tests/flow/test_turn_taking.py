"""Pauses, ends, barge-ins, backchannels: a session without a socket, fed as fast as it takes the sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from talking import of, pcm, tokens

from riposte.backends.fake import FakeAsr, FakeLlm, FakeTts, FakeVad
from riposte.config import load_config
from riposte.interfaces import Models
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.session import Session
from riposte.turn.held import HeldAudio
from riposte.turn.machine import DUCKED
from riposte.wire import frames as wire

WAIT_S = 10.0
LONG = "count to 300"


class Talk:
    """One session, what it was asked and what it says."""

    def __init__(self, **options: Any) -> None:
        # Fakes speak and are spoken to in tones, which a gate must take for each other's echo.
        settings = {name.replace("__", "."): v for name, v in ({"turn__echo_gate": False} | options).items()}
        config = load_config(None, {}, settings).config
        self.llm = FakeLlm(token_s=0.002)
        models = Models(asr=FakeAsr(), llm=self.llm, tts=FakeTts(), vad=FakeVad())
        memory = Memory("talk", self.llm)
        self.models = models
        self.session = Session("talk", models, config, Metrics(), HeldAudio(100.0), memory)
        self.frames: list[wire.ServerFrame] = []
        self._came = asyncio.Event()

    async def take(self) -> None:
        """Collect what leaves, as a client does that always reads."""
        async for frame in self.session.attach():
            self.frames.append(frame)
            self._came.set()

    async def hear(self, *sounds: bytes) -> None:
        """Feed sound in frames of 20 ms."""
        for sound in sounds:
            for at in range(0, len(sound), 640):
                await self.session.receive(wire.AudioIn(sound[at : at + 640]))

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
        await self.session.receive(wire.Text(text))
        await self.until(wire.AudioOut)
        self.frames.clear()

    @property
    def gains(self) -> list[float]:
        return [frame.gain for frame in of(self.frames, wire.Playback)]

    @property
    def finals(self) -> list[str]:
        return [frame.text for frame in of(self.frames, wire.Transcript) if frame.final]


@asynccontextmanager
async def talk(**options: Any) -> AsyncIterator[Talk]:
    """Open a session; when it is closed the models must have nothing open."""
    talk = Talk(**options)
    taking = asyncio.create_task(talk.take(), name="client")
    await asyncio.sleep(0)
    yield talk
    await talk.session.aclose()
    taking.cancel()
    await asyncio.wait({taking})
    assert [model.active for model in (talk.models.asr, talk.llm, talk.models.tts, talk.models.vad)] == [
        0
    ] * 4


@pytest.mark.parametrize("words", ["yes", "mm-hmm", "okay", "uh huh", "oui"])
async def test_a_backchannel_lets_the_reply_go_on(words: str) -> None:
    async with talk() as one:
        await one.reply()
        await one.hear(pcm(words, lead_s=0.1, tail_s=0.6))
        await asyncio.sleep(0)
        assert [f.state for f in of(one.frames, wire.Speech)] == ["started", "stopped"]
        assert one.gains == [DUCKED, 1.0]
        assert of(one.frames, wire.Done) == of(one.frames, wire.Transcript) == []


async def test_a_noise_ducks_the_reply_for_a_moment() -> None:
    async with talk() as one:
        await one.reply()
        await one.hear(pcm("", lead_s=0.2, tail_s=0.5))  # 60 ms of a tone, and no word
        await asyncio.sleep(0)
        assert one.gains == [DUCKED, 1.0]
        assert of(one.frames, wire.Transcript) == of(one.frames, wire.Done) == []


async def test_other_words_stop_the_reply_while_they_are_said() -> None:
    async with talk() as one:
        await one.reply()
        await one.hear(pcm("stop that noise at once", lead_s=0.1))
        await one.until(wire.Done, 1)
        assert one.gains == [DUCKED, 0.0]
        assert of(one.frames, wire.Done)[0].reason == "interrupted"
        assert [f.state for f in of(one.frames, wire.Speech)] == ["started"]


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


async def test_who_speaks_later_has_said_something_new() -> None:
    async with talk() as one:
        await one.hear(pcm(LONG, lead_s=0.3, tail_s=0.3))
        await one.until(wire.AudioOut, 1)
        await one.hear(pcm("now something else", lead_s=1.1, tail_s=0.4))
        await one.until(wire.AudioOut, 2)
        assert one.finals == [LONG, "now something else"]


async def test_an_unfinished_sentence_is_waited_for() -> None:
    async with talk() as one:
        await one.hear(pcm("turn on the", lead_s=0.3, tail_s=0.6), pcm("lights", tail_s=0.4))
        await one.until(wire.AudioOut)
        assert one.finals == ["turn on the lights"]
        assert [f.state for f in of(one.frames, wire.Speech)] == ["started", "stopped"]


async def test_a_patient_listener_waits_longer() -> None:
    async with talk() as one:
        await one.session.receive(wire.Hello(patience=1.0))
        await one.hear(pcm("turn it on", lead_s=0.3, tail_s=0.3), pcm("again", tail_s=1.2))
        await one.until(wire.AudioOut)
        assert one.finals == ["turn it on again"]


async def test_a_draft_for_nothing_leaves_no_trace() -> None:
    async with talk() as one:
        # 96 ms are a pause, and no end yet.
        await one.hear(pcm("hello", lead_s=0.3, tail_s=0.096))
        await one.settle()
        await one.hear(pcm("you there", tail_s=0.4))
        await one.until(wire.Done)
        assert len(one.llm.prompts) == 2
        assert one.finals == ["hello you there"]
        assert {turn for f in one.frames if (turn := getattr(f, "turn", None)) is not None} == {1}
        assert tokens(one.frames) == "You said: hello you there"
        assert [f.seq for f in of(one.frames, wire.AudioOut)] == list(
            range(len(of(one.frames, wire.AudioOut)))
        )


async def test_nothing_of_a_draft_is_seen_before_the_turn_is_over() -> None:
    async with talk() as one:
        await one.hear(pcm("hello you", lead_s=0.3, tail_s=0.1))
        await one.settle()
        assert one.llm.prompts, "the draft did not think ahead"
        assert {type(frame) for frame in one.frames} <= {wire.Speech, wire.Transcript}
        assert one.finals == []
        await one.hear(bytes(640 * 10))
        await one.until(wire.AudioOut)
        timing_of = of(one.frames, wire.Transcript)[-1]
        assert (timing_of.text, timing_of.final) == ("hello you", True)
        assert len(one.llm.prompts) == 1


async def test_words_are_the_same_without_drafts() -> None:
    said = [pcm("what time is it", lead_s=0.3, tail_s=0.5), pcm("and the weather", lead_s=1.2, tail_s=1.2)]
    heard = []
    for speculate in (True, False):
        async with talk(turn__speculate=speculate) as one:
            await one.hear(said[0])
            await one.until(wire.Done, 1)
            await one.hear(said[1])
            await one.until(wire.Done, 2)
            heard.append((one.finals, tokens(one.frames)))
    assert heard[0] == heard[1]


async def test_drafts_are_not_made_without_end() -> None:
    async with talk(turn__drafts_per_second=1) as one:
        for sound in (pcm("one", lead_s=0.3, tail_s=0.1), *[pcm("a", tail_s=0.1) for _ in range(3)]):
            await one.hear(sound)
            await one.settle()
        await one.hear(bytes(640 * 40))
        await one.until(wire.Done)
        assert one.finals == ["one a a a"]
        assert len(one.llm.prompts) == 2  # the first draft, and the turn itself


async def test_a_draft_that_fails_is_told_of_when_it_is_a_turn() -> None:
    async with talk() as one:
        await one.hear(pcm("well #fail-tts and more", lead_s=0.3, tail_s=0.5))
        await one.until(wire.Done)
        assert [f.code for f in of(one.frames, wire.Error)] == ["engine"]
        assert of(one.frames, wire.Done)[0].reason == "error"


async def test_typing_in_a_pause_gives_the_draft_up_and_keeps_the_words() -> None:
    async with talk() as one:
        await one.hear(pcm("hello you", lead_s=0.3, tail_s=0.1))
        await one.session.receive(wire.Text("typed"))
        await one.hear(bytes(640 * 40))
        await one.until(wire.Done, 2)
        assert one.finals == ["hello you"]
        users = [message.content for message in one.llm.prompts[-1] if message.role == "user"]
        assert users[-1] == "hello you"


async def test_decisions_do_not_depend_on_how_the_sound_is_cut() -> None:
    sound = pcm("turn on the", lead_s=0.3, tail_s=0.5) + pcm("lights", tail_s=0.4)
    seen = []
    for step in (2, 200, 640, 2_000, 16_000):
        async with talk() as one:
            for at in range(0, len(sound), step):
                await one.session.receive(wire.AudioIn(sound[at : at + step]))
            await one.until(wire.Done)
            seen.append(([(f.state, f.at_ms) for f in of(one.frames, wire.Speech)], one.finals))
    assert seen.count(seen[0]) == len(seen)
