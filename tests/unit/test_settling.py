"""When time may pass in a replay: not while anything is left to do, and not while a model owes an answer."""

from __future__ import annotations

import asyncio
import threading

import pytest

from riposte.backends.fake import FakeAsr, FakeLlm, FakeTts, FakeVad, fake_speech
from riposte.errors import RiposteError
from riposte.interfaces import Message, Models, Sampling
from riposte.replay import settling as module
from riposte.replay.settling import Settling, run_settling, watched


def models() -> Models:
    return Models(asr=FakeAsr(), llm=FakeLlm(), tts=FakeTts(), vad=FakeVad())


def test_a_chain_of_callbacks_of_any_length_is_something_to_do() -> None:
    async def work(settling: Settling) -> int:
        steps = 0

        async def chain() -> None:
            nonlocal steps
            for _ in range(1_000):
                await asyncio.sleep(0)
                steps += 1

        task = asyncio.create_task(chain())
        await settling.settled()
        assert task.done()
        return steps

    assert run_settling(work) == 1_000


def test_a_timer_and_an_event_that_nobody_sets_are_nothing_to_do() -> None:
    async def work(settling: Settling) -> None:
        async with asyncio.timeout(3_600):
            task = asyncio.create_task(asyncio.Event().wait())
            await settling.settled()
            assert not task.done()
            task.cancel()

    run_settling(work)


def test_an_answer_from_another_thread_is_waited_for() -> None:
    async def work(settling: Settling) -> list[str]:
        loop, going, seen = asyncio.get_running_loop(), threading.Event(), []

        async def model() -> None:
            with settling.owed():
                await loop.run_in_executor(None, going.wait, 10.0)
            seen.append("answer")

        task = asyncio.create_task(model())
        loop.call_soon(lambda: loop.call_later(0.05, going.set))
        await settling.settled()
        seen.append("settled")
        await task
        return seen

    assert run_settling(work) == ["answer", "settled"]


def test_an_answer_that_never_comes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)

    async def work(settling: Settling) -> None:
        with settling.owed():
            await settling.settled()

    with pytest.raises(RiposteError, match="a model has given nothing"):
        run_settling(work)


def test_models_are_the_same_when_they_are_watched() -> None:
    async def work(settling: Settling) -> None:
        plain = models()
        seen = watched(plain, settling)
        assert (seen.llm.name, seen.tts.rate_hz, seen.vad.window) == ("fake-llm", 16_000, 512)
        prompt = [Message("user", "hello")]
        sampling = Sampling(max_tokens=9)
        said = [piece.text async for piece in seen.llm.generate(prompt, key="k", sampling=sampling)]
        assert "".join(said) == "You said: hello"
        listening = seen.asr.listen()
        listening.push(fake_speech("hello"))
        assert (await listening.transcribe()).text == "hello"
        listening.close()
        stream = seen.vad.open()
        assert list(await stream.score(fake_speech("a")[:512]) > 0.5) == [True]
        stream.close()
        reply = seen.llm.generate(prompt, key="k", sampling=sampling)
        await anext(reply)
        assert plain.llm.active == 1
        await reply.aclose()
        assert (plain.llm.active, plain.asr.active, plain.vad.active) == (0, 0, 0)

    run_settling(work)


def test_time_stands_still_for_whatever_a_model_is_asked() -> None:
    async def work(settling: Settling) -> None:
        slow = Models(
            asr=FakeAsr(step_s=0.02), llm=FakeLlm(token_s=0.02), tts=FakeTts(piece_s=0.02), vad=FakeVad()
        )
        seen = watched(slow, settling)
        prompt = [Message("user", "hello")]

        async def all_of_reply() -> None:
            async for _ in seen.llm.generate(prompt, key="k", sampling=Sampling(max_tokens=9)):
                pass

        async def all_of_sound() -> None:
            async for _ in seen.tts.speak("hello", voice="low"):
                pass

        listening = seen.asr.listen()
        for asked in (
            all_of_reply(),
            all_of_sound(),
            listening.transcribe(),
            seen.llm.turn_end(prompt, key="k"),
        ):
            task = asyncio.ensure_future(asked)
            await settling.settled()
            assert task.done(), asked
        listening.close()

    run_settling(work)
