"""Who is refused because of those in front: a queue in the test's hand, time made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from virtual import LoopClock, VirtualLoop

from riposte.backends.fake import FakeAsr, FakeLlm, FakeTts, FakeVad
from riposte.config import Config
from riposte.errors import Busy
from riposte.interfaces import Models, Pcm16, Priority
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.session import Session
from riposte.turn.admission import Admission, needs
from riposte.turn.held import HeldAudio
from riposte.turn.spec import Stages
from riposte.wire import frames as wire

TYPED = needs(hears=False, thinks=True, sounds=True)
SPOKEN = needs(hears=True, thinks=True, sounds=True)


def wave(admission: Admission, turns: int, *, llm_s: float, tts_s: float, at: float = 0.0) -> None:
    """Let turns begin together; the language model answers all at once, the voice speaks one by one."""
    stages = [Stages() for _ in range(turns)]
    for one in stages:
        admission.begin(one, TYPED, at)
    for place, one in enumerate(stages):
        one.llm_first_token = at + llm_s
        one.tts_first_audio = at + llm_s + (place + 1) * tts_s
    assert admission.waiting == 0


def learned(limit_s: float = 0.05) -> Admission:
    """A server whose voice takes 20 ms a clause, as it has measured."""
    admission = Admission(limit_s)
    for turns in [1] * 5 + [2] * 30:
        wave(admission, turns, llm_s=0.03, tts_s=0.02)
    return admission


def begun(admission: Admission, turns: int) -> list[Stages]:
    stages = [Stages() for _ in range(turns)]
    for one in stages:
        admission.begin(one, TYPED, 0.0)
    return stages


def test_a_turn_is_refused_when_those_in_front_make_it_wait_too_long():
    admission = learned()
    begun(admission, 2)
    assert admission.wait_s == pytest.approx(0.04, abs=0.006)
    admission.admit()
    begun(admission, 1)
    with pytest.raises(Busy, match=r"^3 turns .* would wait (5|6)\d ms; try again in 1 s$"):
        admission.admit()


def test_a_server_that_knows_nothing_yet_and_one_that_is_idle_refuse_nobody():
    fresh = Admission(0.05)
    begun(fresh, 64)
    fresh.admit()
    slow = Admission(0.001)
    for turns in (1, 8, 8, 8):
        wave(slow, turns, llm_s=9.0, tts_s=2.0)
    slow.admit()


def test_a_model_that_answers_all_at_once_makes_nobody_wait():
    admission = Admission(0.05)
    for turns in (1, 1, 16, 16, 16):
        wave(admission, turns, llm_s=0.2, tts_s=0.0)
    begun(admission, 60)
    admission.admit()
    assert admission.wait_s < 0.001


def test_who_has_its_first_clause_or_is_over_is_in_nobodys_way():
    admission = learned()
    stages = begun(admission, 10)
    with pytest.raises(Busy):
        admission.admit()
    for one in stages[:4]:
        one.llm_first_token, one.tts_first_audio = 0.03, 0.05
    for one in stages[4:]:
        admission.end(one)
    admission.admit()
    assert (admission.waiting, admission.wait_s) == (0, 0.0)


def test_who_is_half_way_is_in_the_way_by_what_is_left():
    admission = Admission(0.05)
    for turns in [1] * 3 + [2] * 30:
        stages = [Stages() for _ in range(turns)]
        for one in stages:
            admission.begin(one, SPOKEN, 0.0)
        for place, one in enumerate(stages, start=1):
            one.asr, one.llm_first_token, one.tts_first_audio = (
                0.1 * place,
                0.1 * place + 0.01,
                0.1 * place + 0.02,
            )
    front = Stages()
    admission.begin(front, SPOKEN, 0.0)
    assert admission.wait_s == pytest.approx(0.1, rel=0.1)
    front.asr = 0.1
    assert admission.wait_s == pytest.approx(0.0, abs=0.001)


def test_a_bad_minute_is_forgotten():
    admission = learned()
    for turns in [1, 2] * 20:
        wave(admission, turns, llm_s=0.03, tts_s=1.0)
    begun_one = begun(admission, 1)
    with pytest.raises(Busy):
        admission.admit()
    admission.end(begun_one[0])
    refused = 0
    for _ in range(40):  # one turn at a time is always taken, whatever was measured
        admission.admit()
        front = begun(admission, 1)
        try:
            admission.admit()
        except Busy:
            refused += 1
        admission.end(front[0])
        wave(admission, 1, llm_s=0.03, tts_s=0.02)
    admission.admit()
    begun(admission, 1)
    admission.admit()
    assert 5 < refused < 40


def test_one_odd_turn_is_not_believed():
    admission = learned()
    before = admission._costs["tts"].each_s
    wave(admission, 2, llm_s=0.03, tts_s=30.0)
    assert admission._costs["tts"].each_s < before + 0.03


def test_a_draft_waits_for_those_in_front_of_it_alone_and_one_that_is_ready_for_nobody():
    admission = learned()
    (draft,) = begun(admission, 1)
    begun(admission, 9)
    admission.admit(draft)
    ready = begun(admission, 1)[0]
    with pytest.raises(Busy):
        admission.admit(ready)
    ready.llm_first_token = ready.tts_first_audio = 0.2
    admission.admit(ready)


def test_a_turn_that_waits_for_its_tools_is_in_nobodys_way_and_teaches_nothing():
    admission = learned()
    before = admission._costs["llm"].alone_s
    stages = begun(admission, 10)
    for one in stages:
        one.tools = 0.03
    admission.admit()
    for one in stages:
        one.llm_first_token = one.tts_first_audio = 30.0
    assert (admission.waiting, admission._costs["llm"].alone_s) == (0, before)


def test_nobody_is_refused_where_there_is_no_limit():
    admission = learned(limit_s=0.0)
    begun(admission, 50)
    admission.admit()


class OneByOne(FakeTts):
    """A voice that needs 20 ms before each clause, one clause after the other."""

    def __init__(self) -> None:
        super().__init__(char_ms=1)
        self._free = asyncio.Lock()

    async def speak(
        self, text: str, *, voice: str, priority: Priority = Priority.FIRST
    ) -> AsyncGenerator[Pcm16, None]:
        async with self._free:
            await self._pause(0.02)
        async with aclosing(super().speak(text, voice=voice)) as pieces:
            async for piece in pieces:
                yield piece


def test_of_a_crowd_those_are_taken_who_need_not_wait_and_all_later():
    loop = VirtualLoop()

    async def crowd() -> None:
        models = Models(FakeAsr(), FakeLlm(token_s=0.001), OneByOne(), FakeVad())
        admission = Admission(0.05)

        async def turn(number: int) -> float | None:
            """Return how long the first sound took; None: refused."""
            memory = Memory(f"{number}", models.llm)
            session = Session(
                f"{number}",
                models,
                Config(),
                Metrics(),
                HeldAudio(1.0),
                memory,
                clock=LoopClock(loop),
                admission=admission,
            )
            outbox = session.attach()
            try:
                await session.receive(wire.Text("hello"))
                async for frame in outbox:
                    if isinstance(frame, wire.Done):
                        assert frame.timing.first_audio_sent is not None
                        return frame.timing.first_audio_sent / 1000
            except Busy:
                return None
            finally:
                await session.aclose()
            raise AssertionError("no done")

        for number in range(5):
            alone_s = await turn(number)
        assert alone_s is not None
        for _ in range(20):
            await asyncio.gather(turn(0), turn(1))
        took = await asyncio.gather(*map(turn, range(12)))
        taken = [seconds for seconds in took if seconds is not None]
        assert 3 <= len(taken) <= 4
        assert max(taken) <= alone_s + 0.05 + 0.02
        assert all([await turn(number) is not None for number in range(12)])

    loop.run(crowd())
