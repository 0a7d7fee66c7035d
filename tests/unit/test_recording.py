"""Recordings: what is in them, who may read them, and what happens when the disk does not take them."""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from riposte import recorder as module
from riposte.backends.fake import FakeAsr, FakeLlm, FakeTts, FakeVad
from riposte.config import Config
from riposte.conversation import Exchange
from riposte.errors import ConfigError
from riposte.interfaces import Message, Models, ToolUse
from riposte.memory import Memory
from riposte.recorder import FileRecorder
from riposte.recording import (
    MAGIC,
    Decided,
    End,
    Entry,
    In,
    Out,
    Recorded,
    Recorder,
    Recording,
    Unreadable,
    begin_recording,
    encode,
)
from riposte.replay.clock import VirtualClock
from riposte.settings import default_settings
from riposte.turn.machine import CancelReply, StartTurn
from riposte.wire import frames as wire

SECRET = "a-session-id-that-lets-its-reader-in"


async def settled() -> None:
    await asyncio.sleep(0)


def begun(recorder: Recorder, clock: VirtualClock | None = None) -> Recording:
    """Begin to record a session that has a conversation, tools' results included."""
    models = Models(asr=FakeAsr(), llm=FakeLlm(), tts=FakeTts(), vad=FakeVad())
    memory = Memory(SECRET, models.llm)
    steps = (Message("assistant", "", (ToolUse("c", "light", "{}"),)), Message("tool", "on"))
    memory._conversation.add(Exchange(3, "light please", "it is on", steps))
    defaults = default_settings(models, instructions="be short", max_tokens=9, temperature=0.0)
    stored = memory.stored(defaults, defaults, turn=3)
    return begin_recording(recorder, stored, models, Config(), clock or VirtualClock(), lambda: 1600)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def written(folder: Path, frames: Sequence[wire.ClientFrame]) -> Path:
    """Record these frames and return the file."""
    recorder = FileRecorder(folder, "fake", max_bytes=1 << 20)
    recording = begun(recorder)
    for frame in frames:
        recording.received(frame)
    recording.end()
    await recorder.aclose()
    (path,) = files(folder)
    return path


async def test_a_talk_comes_back_as_it_was(tmp_path: Path) -> None:
    clock = VirtualClock(5.0)
    recorder = FileRecorder(tmp_path / "new" / "talks", "fake", max_bytes=1 << 20)
    recording = begun(recorder, clock)
    recording.received(wire.AudioIn(b"\x01\x02"))
    await clock.advance(5.25, settled)
    recording.decided([CancelReply(3, "interrupted"), StartTurn(4, "speech")])
    recording.sent([wire.Playback(3, 0.0), wire.AudioOut(4, 0, b"\x03\x04")])
    recording.end()
    await recorder.aclose()
    (path,) = files(tmp_path / "new" / "talks")
    recorded = Recorded(path)
    started = {"turn": 4, "clock": "speech", "say": False, "announced": False}
    expected: list[Entry] = [
        In(1600, 0.0, wire.AudioIn(b"\x01\x02")),
        Decided(1600, 250.0, "CancelReply", {"turn": 3, "reason": "interrupted", "continued": False}),
        Decided(1600, 250.0, "StartTurn", started),
        Out(1600, 250.0, wire.Playback(3, 0.0)),
        Out(1600, 250.0, wire.AudioOut(4, 0, b"\x03\x04")),
        End(1600, 250.0),
    ]
    assert list(recorded) == expected
    assert list(recorded) == expected, "it can be gone through again"
    header = recorded.header
    assert (header.profile, header.models.llm, header.at) == ("fake", "fake-llm", 1600)
    assert (header.turn, header.limits, header.llm) == (Config().turn, Config().limits, Config().llm)
    assert [exchange.reply for exchange in header.stored.exchanges()] == ["it is on"]


async def test_only_its_owner_may_read_it_and_no_session_is_let_in_by_it(tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    recorder = FileRecorder(folder, "fake", max_bytes=1 << 20)
    recording = begun(recorder)
    names = wire.ModelNames("a", "b", "c", "d")
    recording.sent([wire.Ready(1, SECRET, True, 16_000, 16_000, names, [])])
    recording.received(wire.Hello(session=SECRET, patience=0.5))
    recording.end()
    await recorder.aclose()
    (path,) = files(folder)
    assert len(list(Recorded(path))) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert SECRET not in path.name
    assert SECRET.encode() not in path.read_bytes()


async def test_connections_of_the_same_second_have_files_of_their_own(tmp_path: Path) -> None:
    recorder = FileRecorder(tmp_path, "fake", max_bytes=1 << 20)
    for _ in range(3):
        begun(recorder).end()
    await recorder.aclose()
    assert len(files(tmp_path)) == 3


async def test_what_was_not_ended_is_written_when_the_recorder_closes(tmp_path: Path) -> None:
    recorder = FileRecorder(tmp_path, "fake", max_bytes=1 << 20)
    begun(recorder).received(wire.Text("hello"))
    await recorder.aclose()
    (path,) = files(tmp_path)
    assert [type(entry) for entry in Recorded(path)] == [In]


async def test_recordings_stop_at_their_bound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = await written(tmp_path, [wire.AudioIn(bytes(30_000))])
    recorder = FileRecorder(tmp_path, "fake", max_bytes=before.stat().st_size + 20_000)
    recording = begun(recorder)
    recording.received(wire.AudioIn(bytes(10_000)))
    next(iter(recorder._open)).flush()
    recording.received(wire.AudioIn(bytes(30_000)))
    recording.end()
    await recorder.aclose()
    assert sum(path.stat().st_size for path in files(tmp_path)) <= before.stat().st_size + 20_000
    (path,) = set(files(tmp_path)) - {before}
    assert len(list(Recorded(path))) == 1, "what was written until then stays"
    assert caplog.messages == [
        "the recording of session der-in ends here: "
        "all recordings together are as big as server.record_mib allows"
    ]


async def test_a_disk_that_does_not_keep_up_ends_the_recording_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 5_000)
    recorder = FileRecorder(tmp_path, "fake", max_bytes=1 << 20)
    stuck, going = threading.Event(), threading.Event()
    recorder._thread.submit(lambda: (stuck.set(), going.wait(10.0)))
    await asyncio.to_thread(stuck.wait, 10.0)
    recording = begun(recorder)
    for _ in range(9):
        recording.received(wire.AudioIn(bytes(1_000)))
    assert recorder._waiting_bytes == 0, "what waited was let go"
    assert "the disk does not keep up" in caplog.text
    assert len(caplog.messages) == 1
    going.set()
    begun(recorder).end()
    await recorder.aclose()
    assert len(files(tmp_path)) == 1, "the next one is recorded again"


async def test_a_folder_that_goes_away_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = FileRecorder(tmp_path / "gone", "fake", max_bytes=1 << 20)
    (tmp_path / "gone").rmdir()
    recording = begun(recorder)
    for _ in range(3):
        recording.received(wire.AudioIn(bytes(module.WRITE_BYTES)))
    recording.end()
    await recorder.aclose()
    assert caplog.messages == ["the recording of session der-in ends here: No such file or directory"]


def test_a_folder_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"server\.record_dir .*file cannot be used: File exists"):
        FileRecorder(tmp_path / "file", "fake", max_bytes=1)


async def test_a_recording_that_was_cut_off_anywhere_ends_there(tmp_path: Path) -> None:
    path = await written(tmp_path, [wire.Text("hello"), wire.Text("goodbye")])
    whole = path.read_bytes()
    header = len(whole) - sum(len(encode(entry)) for entry in Recorded(path))
    for size in range(header, len(whole)):
        path.write_bytes(whole[:size])
        assert len(list(Recorded(path))) == sum(
            size >= header + sum(len(encode(entry)) for entry in part)
            for part in ([*_entries()][:1], [*_entries()][:2])
        )


def _entries() -> list[Entry]:
    return [In(1600, 0.0, wire.Text("hello")), In(1600, 0.0, wire.Text("goodbye")), End(1600, 0.0)]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"RIFF....WAVE", "it is no recording"),
        (MAGIC, "it was cut off at once"),
        (MAGIC + b"\x01\x00\x00\x00\x80", "the recording is damaged"),
        (MAGIC + b"\xff\xff\xff\xff", "a record of 4294967295 bytes"),
        (MAGIC + b"\x09\x00\x00\x00\x81\xa6format\x63", "format 99, and Riposte"),
    ],
)
def test_what_is_no_recording_is_told_in_a_sentence(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "talk.riposte"
    path.write_bytes(data)
    with pytest.raises(Unreadable, match=sentence):
        Recorded(path)


async def test_a_damaged_entry_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = await written(tmp_path, [wire.Text("hello")])
    path.write_bytes(path.read_bytes().replace(b"\xa4text", b"\xa4tixt"))
    with pytest.raises(Unreadable, match="damaged"):
        list(Recorded(path))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        Recorded(tmp_path / "nothing")
