"""What every voice promises."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from riposte.backends import espeak_helper as helper
from riposte.backends import tts_espeak
from riposte.backends.fake import FAIL_TTS, FakeTts
from riposte.backends.registry import BACKENDS, load_backend
from riposte.backends.tts_espeak import EspeakTts
from riposte.errors import EngineError, ModelError, UnknownVoice
from riposte.interfaces import Priority, Tts

SENTENCE = "Turn on the light in the kitchen."


async def opened(kind: str) -> Tts:
    try:
        tts: Tts = load_backend("tts", kind)()
    except ModelError as exc:
        pytest.skip(str(exc))
    if isinstance(tts, EspeakTts):
        await tts._ready()  # warm_up speaks with all thirty voices: 65 ms, too much for each of these tests
    return tts


@pytest.fixture(params=list(BACKENDS["tts"]))
async def tts(request: pytest.FixtureRequest) -> AsyncIterator[Tts]:
    tts = await opened(request.param)
    yield tts
    assert tts.active == 0
    await tts.aclose()


@pytest.fixture
async def espeak() -> AsyncIterator[EspeakTts]:
    tts = await opened("espeak")
    assert isinstance(tts, EspeakTts)
    yield tts
    await tts.aclose()


async def sound(tts: Tts, text: str, voice: str | None = None) -> np.ndarray:
    pieces = [pcm async for pcm in tts.speak(text, voice=voice or tts.voices[0].id)]
    return np.concatenate([np.zeros(0, np.int16), *pieces])


async def test_speech_sounds_and_ends_once(tts: Tts) -> None:
    stream = tts.speak(SENTENCE, voice=tts.voices[0].id)
    assert tts.active == 0
    pieces = []
    async for pcm in stream:
        assert tts.active == 1
        assert pcm.dtype == np.int16
        assert pcm.ndim == 1
        pieces.append(pcm)
    assert [pcm async for pcm in stream] == []
    pcm = np.concatenate(pieces)
    assert 0.8 < len(pcm) / tts.rate_hz < 3
    assert 1_000 < np.abs(pcm.astype(np.int32)).max() < 32_768


async def test_a_warm_voice_is_idle(tts: Tts) -> None:
    await tts.warm_up()
    assert tts.active == 0
    assert tts.name


async def test_sound_begins_and_ends_close_to_the_speech(tts: Tts) -> None:
    loud = np.flatnonzero(np.abs((await sound(tts, SENTENCE)).astype(np.int32)) > 300)
    pcm = await sound(tts, SENTENCE)
    assert loud[0] < 0.03 * tts.rate_hz
    assert len(pcm) - loud[-1] < 0.3 * tts.rate_hz


async def test_longer_text_takes_longer(tts: Tts) -> None:
    assert len(await sound(tts, SENTENCE + " " + SENTENCE)) > 1.5 * len(await sound(tts, SENTENCE))


async def test_every_voice_speaks_and_has_a_name(tts: Tts) -> None:
    assert len({voice.id for voice in tts.voices}) == len(tts.voices) >= 2
    sounds = set()
    for voice in tts.voices:
        assert voice.name
        assert voice.language
        sounds.add((await sound(tts, "one two three", voice.id)).tobytes())
    assert len(sounds) == len(tts.voices)


async def test_an_unknown_voice_is_refused_before_any_sound(tts: Tts) -> None:
    with pytest.raises(UnknownVoice, match="no voice called"):
        await anext(tts.speak(SENTENCE, voice="nobody\N{SPEAKER}" * 100))
    assert tts.active == 0


@pytest.mark.parametrize(
    "text", ["", "   ", "\n\t", "...", "?!", "—", "\N{GRINNING FACE}", "\ud800", "\x00\x01"]
)
async def test_text_without_anything_to_pronounce_yields_nothing(tts: Tts, text: str) -> None:
    assert len(await sound(tts, text)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "hello \ud800 there",
        "null \x00 byte",
        "\x01\x01 50S command",
        "<speak>hello <break time='9s'/></speak>",
        "a < b & c &amp; d",
        "[[h@'loU]]",
        "hello \N{GRINNING FACE}\N{VARIATION SELECTOR-16} there",
        "مرحبا 你好 привет",
        "x" * 1_000,
        "hello " * 300,
    ],
)
async def test_odd_text_is_spoken_like_any_other(tts: Tts, text: str) -> None:
    pcm = await sound(tts, text)
    assert 0 < len(pcm) / tts.rate_hz < 120
    assert len(await sound(tts, SENTENCE)) > 0


async def test_closing_stops_the_work(tts: Tts) -> None:
    stream = tts.speak("hello " * 300, voice=tts.voices[0].id)
    await anext(stream)
    async with asyncio.timeout(0.5):
        await stream.aclose()
    assert tts.active == 0
    async with asyncio.timeout(2):
        assert len(await sound(tts, SENTENCE)) > 0


async def test_cancelling_stops_the_work(tts: Tts) -> None:
    first = asyncio.Event()

    async def speak() -> None:
        async with aclosing(tts.speak("hello " * 300, voice=tts.voices[0].id)) as stream:
            async for _ in stream:
                first.set()
                await asyncio.sleep(0.01)

    task = asyncio.create_task(speak())
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tts.active == 0
    assert len(await sound(tts, SENTENCE)) > 0


async def test_a_slow_listener_holds_nobody_up(tts: Tts) -> None:
    slow = tts.speak("hello " * 300, voice=tts.voices[0].id)
    await anext(slow)
    async with asyncio.timeout(3):
        for _ in range(3):
            assert len(await sound(tts, SENTENCE)) > 0
    await slow.aclose()


async def test_many_at_once_each_get_their_own_sound(tts: Tts) -> None:
    texts = [f"This is the number {number}." for number in range(1, 13)]
    apart = [len(await sound(tts, text)) for text in texts]
    together = await asyncio.gather(*(sound(tts, text) for text in texts))
    for pcm, samples in zip(together, apart, strict=True):
        assert abs(len(pcm) - samples) < 0.02 * tts.rate_hz


async def test_a_closed_voice_says_so(tts: Tts) -> None:
    stream = tts.speak("hello " * 300, voice=tts.voices[0].id)
    await anext(stream)
    await tts.aclose()
    await tts.aclose()
    async with asyncio.timeout(5):
        with pytest.raises(EngineError):
            async for _ in stream:
                pass
        with pytest.raises(EngineError):
            await sound(tts, SENTENCE)


async def test_a_failure_reaches_the_listener() -> None:
    tts = FakeTts()
    with pytest.raises(EngineError):
        await sound(tts, FAIL_TTS)
    assert tts.active == 0


# What espeak-ng's own process adds


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what happens in another process has no event here
            await asyncio.sleep(0.001)


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def helper_pid(espeak: EspeakTts) -> int:
    assert espeak._process is not None
    return espeak._process._process.pid


async def test_a_helper_that_dies_in_mid_clause_fails_that_clause_alone(espeak: EspeakTts) -> None:
    pid = helper_pid(espeak)
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(sound(espeak, SENTENCE))
    after = asyncio.create_task(sound(espeak, SENTENCE))
    await until(lambda: espeak._current is not None)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        with pytest.raises(EngineError, match="voice failed"):
            await waiting
        assert len(await after) > 0
    assert helper_pid(espeak) != pid


async def test_a_helper_that_dies_between_clauses_is_not_noticed(espeak: EspeakTts) -> None:
    pid = helper_pid(espeak)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        await until(lambda: espeak._process is not None and not espeak._process.alive)
        assert len(await sound(espeak, SENTENCE)) > 0
    assert helper_pid(espeak) != pid


async def test_a_helper_that_hangs_is_replaced() -> None:
    espeak = await opened("espeak")
    assert isinstance(espeak, EspeakTts)
    espeak._deadline_s = 0.3
    os.kill(helper_pid(espeak), signal.SIGSTOP)
    async with asyncio.timeout(5):
        with pytest.raises(EngineError):
            await sound(espeak, SENTENCE)
        espeak._deadline_s = 5
        assert len(await sound(espeak, SENTENCE)) > 0
    await espeak.aclose()


async def test_the_urgent_clause_goes_first(espeak: EspeakTts) -> None:
    order: list[str] = []

    async def speak(name: str, priority: Priority) -> None:
        async for _ in espeak.speak(SENTENCE, voice="en-us", priority=priority):
            if name not in order:
                order.append(name)

    os.kill(helper_pid(espeak), signal.SIGSTOP)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak("in flight", Priority.LATER))
        await until(lambda: espeak._current is not None)
        for name, priority in (
            ("ahead", Priority.AHEAD),
            ("later", Priority.LATER),
            ("first", Priority.FIRST),
        ):
            tasks.create_task(speak(name, priority))
        await until(lambda: espeak.active == 4)
        os.kill(helper_pid(espeak), signal.SIGCONT)
    assert order == ["first", "in flight", "later", "ahead"]


async def test_a_clause_that_can_wait_is_stopped_for_an_urgent_one_and_made_again(espeak: EspeakTts) -> None:
    text = "hello " * 60
    alone = len(await sound(espeak, text))
    process = await espeak._ready()
    said, begun, receive = [], asyncio.Event(), process.receive

    async def listen() -> tuple[int, int, bytes]:
        kind, request, content = await receive()
        said.append((kind, request))
        if kind == helper.SOUND:
            begun.set()
        return kind, request, content

    process.receive = listen  # type: ignore[method-assign]

    async def later() -> list[np.ndarray]:
        stream = espeak.speak(text, voice="en-us", priority=Priority.LATER)
        return [pcm async for pcm in stream]

    waits = asyncio.create_task(later())
    await begun.wait()
    assert len(await sound(espeak, SENTENCE)) > 0
    assert sum(map(len, await waits)) == pytest.approx(alone, rel=0.02)
    ends = [request for kind, request in said if kind == helper.DONE]
    assert len(ends) == 3
    stopped = sum(kind == helper.SOUND and request == ends[0] for kind, request in said)
    whole = sum(kind == helper.SOUND and request == ends[2] for kind, request in said)
    assert stopped < whole


async def test_a_clause_gives_way_so_often_and_no_more(espeak: EspeakTts) -> None:
    os.kill(helper_pid(espeak), signal.SIGSTOP)
    done: list[str] = []

    async def speak(name: str, priority: Priority) -> None:
        assert len([pcm async for pcm in espeak.speak(SENTENCE, voice="en-us", priority=priority)])
        done.append(name)

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(speak("later", Priority.LATER))
        for _ in range(tts_espeak._GIVES_WAY):
            await until(lambda: espeak._current is not None and espeak._current.whole is not None)
            espeak._current.gave_way += 1  # type: ignore[union-attr]
        tasks.create_task(speak("urgent", Priority.FIRST))
        await until(lambda: espeak.active == 2)
        os.kill(helper_pid(espeak), signal.SIGCONT)
    assert done == ["later", "urgent"]


async def test_cancelling_one_clause_silences_no_other(espeak: EspeakTts) -> None:
    async def speak(text: str, priority: Priority) -> int:
        return sum([len(pcm) async for pcm in espeak.speak(text, voice="en-us", priority=priority)])

    os.kill(helper_pid(espeak), signal.SIGSTOP)
    in_flight = asyncio.create_task(speak("one two three", Priority.FIRST))
    await until(lambda: espeak._current is not None)
    overtaken = asyncio.create_task(speak(SENTENCE, Priority.LATER))
    await until(lambda: espeak.active == 2)
    urgent = asyncio.create_task(speak("hello there " * 60, Priority.FIRST))
    await until(lambda: espeak.active == 3)
    os.kill(helper_pid(espeak), signal.SIGCONT)
    await in_flight
    await until(lambda: espeak._current is not None)
    urgent.cancel()
    assert await overtaken > 0.8 * espeak.rate_hz
    with pytest.raises(asyncio.CancelledError):
        await urgent


async def test_a_clause_that_nobody_wants_before_it_is_sent_never_is(espeak: EspeakTts) -> None:
    sent: list[int] = []
    process = await espeak._ready()
    send = process.send
    process.send = lambda kind, *rest: (sent.append(kind), send(kind, *rest))[1]  # type: ignore[method-assign]
    async with espeak._starting:  # as while a helper starts
        unwanted = asyncio.create_task(sound(espeak, SENTENCE))
        await until(lambda: espeak._current is not None)
        unwanted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unwanted
    assert len(await sound(espeak, SENTENCE)) > 0
    assert sent.count(helper.SAY) == 1


async def test_a_helper_that_says_nothing_at_its_start_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    espeak = EspeakTts()
    (tmp_path / "mute.py").write_text("import sys; sys.stdin.read()")
    monkeypatch.setattr(helper, "__file__", str(tmp_path / "mute.py"))
    monkeypatch.setattr(tts_espeak, "_START_S", 0.2)
    async with asyncio.timeout(5):
        with pytest.raises(ModelError, match=r"does not start: no answer within 0\.2 s"):
            await espeak.warm_up()
    await espeak.aclose()


async def test_a_voice_whose_helper_does_not_start_is_dead_until_it_does(
    espeak: EspeakTts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(tts_espeak, "_AGAIN_S", 0.05)
    assert espeak.alive
    with monkeypatch.context() as broken:
        broken.setattr(helper, "__file__", str(tmp_path / "broken.py"))
        os.kill(helper_pid(espeak), signal.SIGKILL)
        with pytest.raises(EngineError):
            await sound(espeak, SENTENCE)
        await until(lambda: not espeak.alive)
    await until(lambda: espeak.alive)  # though nobody asks for a clause
    assert len(await sound(espeak, SENTENCE)) > 0


async def test_the_helper_ends_when_its_stdin_does_and_ignores_ctrl_c(espeak: EspeakTts) -> None:
    assert espeak._process is not None
    process = espeak._process._process
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert len(await sound(espeak, SENTENCE)) > 0
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(2):
        assert await process.wait() == 0


async def test_cancel_stops_the_helper_in_mid_clause(espeak: EspeakTts) -> None:
    process = await espeak._ready()
    process.send(helper.SAY, 1_000, b"en-us\0" + b"hello there " * 2_000)  # a quarter of an hour of sound
    assert (await process.receive())[0] == helper.SOUND
    process.send(helper.CANCEL, 1_000)
    pieces = 0
    async with asyncio.timeout(5):
        while (answer := await process.receive())[0] == helper.SOUND:
            pieces += 1
    assert answer[:2] == (helper.DONE, 1_000)
    assert pieces < 1_000


async def test_the_library_is_not_loaded_here(espeak: EspeakTts) -> None:
    assert "libespeak" not in mapped(os.getpid())
    assert "libespeak" in mapped(helper_pid(espeak))
    assert "numpy" not in mapped(helper_pid(espeak))


async def test_no_process_is_left_behind() -> None:
    espeak = await opened("espeak")
    assert isinstance(espeak, EspeakTts)
    pid = helper_pid(espeak)
    await espeak.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await until(lambda: not any(t.name.startswith("asyncio-waitpid") for t in threading.enumerate()))


def test_a_missing_package_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"riposte-server\[espeak\]"):
        EspeakTts()
