"""One session without a socket: what happens between a frame's arrival and its end."""

from __future__ import annotations

import asyncio

from riposte.audio import to_s16
from riposte.backends.fake import FakeAsr, FakeLlm, FakeTts, FakeVad, fake_speech
from riposte.config import Config
from riposte.interfaces import Models
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.session import Session
from riposte.turn.held import HeldAudio
from riposte.wire import frames as wire

SPEECH = to_s16(fake_speech("hello there", lead_s=0.1)).tobytes()


def opened() -> Session:
    models = Models(asr=FakeAsr(), llm=FakeLlm(), tts=FakeTts(), vad=FakeVad())
    return Session("session", models, Config(), Metrics(), HeldAudio(10.0), Memory("session", models.llm))


async def test_speech_of_a_connection_that_was_taken_over_is_no_turn_of_the_next():
    session = opened()
    session.attach()
    hearing = asyncio.create_task(session.receive(wire.AudioIn(SPEECH)))
    ending = asyncio.create_task(session.receive(wire.End()))  # after what is still being heard
    await asyncio.sleep(0)
    session.attach()
    await asyncio.gather(hearing, ending)
    assert not session.in_turn
    await session.aclose()


async def test_a_voice_on_a_connection_that_was_taken_over_interrupts_nobody_on_the_next():
    session = opened()
    session.attach()
    hearing = asyncio.create_task(session.receive(wire.AudioIn(SPEECH)))
    await asyncio.sleep(0)
    second = session.attach()
    await session.receive(wire.Text("hello"))
    await hearing
    async for frame in second:
        if isinstance(frame, wire.Done):
            assert frame.reason == "stop"
            break
    await session.aclose()
