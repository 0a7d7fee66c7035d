"""A talk through files, in real time: what is said, shown, played, thrown away and reported."""

from __future__ import annotations

import asyncio
import wave
from array import array
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Served
from scripted import Script, done, scripted
from talking import pcm

from riposte.cli import main
from riposte.client import Playout
from riposte.errors import RiposteError, UnknownSession
from riposte.talk.files import SoundFiles, read_wav, write_wav
from riposte.talk.talk import _pushed, talk
from riposte.wire import frames as wire

RATE_HZ = 16_000


@pytest.fixture
def question(tmp_path: Path) -> Path:
    path = tmp_path / "question.wav"
    write_wav(path, pcm("good day"), RATE_HZ)
    return path


@pytest.mark.parametrize("push_to_talk", [False, True])
async def test_a_question_is_answered_in_words_and_sound(
    served: Served, question: Path, capsys: pytest.CaptureFixture[str], push_to_talk: bool
) -> None:
    answer = question.with_name("answer.wav")
    assert await talk(served.url, SoundFiles(question, answer), push_to_talk=push_to_talk) == 0
    assert capsys.readouterr().out == "you: good day\nriposte: You said: good day\n"
    sound, rate_hz = read_wav(answer)
    loud = [index for index, sample in enumerate(array("h", sound)) if abs(sample) > 100]
    assert rate_hz == RATE_HZ
    # 18 letters of 10 ms each: nothing is lost, nothing is played twice.
    assert len(loud) == pytest.approx(0.18 * RATE_HZ, rel=0.05)


async def test_an_interrupted_reply_falls_silent_and_is_reported(
    question: Path,
) -> None:
    reports: list[wire.Played] = []

    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.AudioIn)
        await server.send(wire.AudioOut(1, 0, array("h", [5_000] * RATE_HZ).tobytes()))
        first = await server.expect(wire.Played)
        await server.send(wire.Playback(1, 0.0), done(1, "interrupted"))
        while isinstance(server.heard[-1], wire.AudioIn | wire.Played):
            if isinstance(server.heard[-1], wire.Played):
                reports.append(server.heard[-1])
            await server.expect(wire.AudioIn | wire.Played | wire.Mark)
        await server.send(server.heard[-1])
        with suppress(AssertionError):  # the client leaves in the end
            while report := await server.expect(wire.Played):
                reports.append(report)
        assert reports[0] == first

    answer = question.with_name("answer.wav")
    async with scripted(script) as url:
        assert await talk(url, SoundFiles(question, answer)) == 0
    played = [sample for sample in array("h", read_wav(answer)[0]) if sample]
    assert len(played) < RATE_HZ  # a second had been sent
    assert [report.ms for report in reports] == sorted({report.ms for report in reports})
    assert reports[-1].ms == pytest.approx(len(played) * 1_000 / RATE_HZ, abs=2)


async def test_a_server_that_leaves_ends_the_talk_with_its_reason(
    question: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.AudioIn)
        await server.send(wire.Token(1, "So"), wire.Error("draining", "the server is shutting down"))

    async with scripted(script) as url:
        assert await talk(url, SoundFiles(question)) == 1
    shown = capsys.readouterr()
    assert shown.out == "riposte: So\n"
    assert shown.err.splitlines()[1:] == [
        "riposte: the server is shutting down",
        "riposte: the connection is closed (code 1000)",
    ]


async def test_enter_begins_and_ends_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    monkeypatch.setattr("riposte.talk.talk.lines_of_stdin", lambda: lines)

    class Device:
        rate_in_hz, holds_ms = RATE_HZ, 0

        async def microphone(self) -> AsyncGenerator[bytes, None]:
            for number in range(8):
                if number in (2, 4, 6):
                    lines.put_nowait("" if number < 6 else None)
                yield bytes([number, 0])

        def play(self, playout: Playout, rate_hz: int) -> None: ...

        async def aclose(self) -> None: ...

    assert [piece async for piece in _pushed(Device())] == [
        wire.Cancel(),  # speaking over a reply stops it
        bytes([2, 0]),
        bytes([3, 0]),
        wire.End(),
    ]


async def test_an_unknown_session_names_the_flag(served: Served, question: Path) -> None:
    with pytest.raises(UnknownSession, match="leave out --session"):
        await talk(served.url, SoundFiles(question), session="nobody")


def test_files_that_do_not_fit_are_told_what_does(tmp_path: Path) -> None:
    stereo, words = tmp_path / "stereo.wav", tmp_path / "words.wav"
    with wave.open(str(stereo), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(bytes(8))
    words.write_text("not a sound")
    for path, sentence in (
        (stereo, r"has 2 channels of 16 bits; one of 16 is needed: ffmpeg -i stereo\.wav -ac 1"),
        (words, "is no WAV file of plain PCM"),
        (tmp_path / "none.wav", "cannot be read: No such file"),
    ):
        with pytest.raises(RiposteError, match=sentence):
            SoundFiles(path)
    write_wav(words, b"", RATE_HZ)
    with pytest.raises(RiposteError, match=r"nowhere/out\.wav cannot be written: No such file"):
        SoundFiles(words, tmp_path / "nowhere" / "out.wav")


def test_the_command_ends_with_1_and_a_sentence(question: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["talk", "--wav-in", str(question), "--url", "ws://127.0.0.1:9/ws"]) == 1
    assert "no server answers at ws://127.0.0.1:9/ws" in capsys.readouterr().err
    assert main(["talk", "--wav-out", str(question)]) == 1
    assert "--wav-out goes with --wav-in" in capsys.readouterr().err
