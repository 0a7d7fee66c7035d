"""A talk that is replayed is decided as it was, however fast and however it is cut into frames."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import PICO, fakes, serving
from talking import of, pcm, speak, until

from riposte.app import open_models
from riposte.audio import to_f32, to_s16, wav_bytes
from riposte.backends.fake import FakeAsr, FakeLlm, FakeTts, FakeVad, fake_speech
from riposte.client.client import connect
from riposte.config import Config, Profile, Turn, load_config, load_profile
from riposte.errors import RiposteError
from riposte.interfaces import Models, Tts
from riposte.recording import MAGIC, End, Entry, Header, In, Out, Recorded, encode
from riposte.replay.command import replay
from riposte.replay.decisions import Decision, decisions, differences
from riposte.replay.driver import AsFastAsModelsGo, Client, replayed
from riposte.replay.settling import Settling, run_settling, watched
from riposte.resample import Resampler
from riposte.wire import frames as wire

LONG = "count to 60"
CONFIG = Config(turn=Turn(echo_gate=False))  # fakes speak and are spoken to in tones
PICO_SAYS = [("turn on the kitchen lights", 1.2), ("what is two plus three", 3.0)]
TOOLS = [{"type": "function", "function": {"name": "light"}}]


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * 16_000))


SAID = b"".join(
    [
        pcm("hello there", lead_s=0.3, tail_s=3.0),  # an end
        pcm("turn on the", tail_s=0.5) + pcm("lights", tail_s=2.5),  # a pause at an unfinished place
        pcm(LONG, tail_s=0.6) + pcm("and then backwards", tail_s=2.0),  # an end that was none
        pcm("okay", tail_s=1.5),  # a backchannel over the reply
        pcm("no stop that please", tail_s=2.5),  # a barge-in
        pcm("", tail_s=0.5),  # a noise
    ]
)

TOLD = {
    "turn 1": ["hears 'hello there'", "begins to speak", "says 'You said: hello there'", "ends: stop"],
    "turn 2": [
        "hears 'turn on the lights'",
        "begins to speak",
        "says 'You said: turn on the lights'",
        "ends: stop",
    ],
    "turn 3": [f"hears '{LONG}'", "begins to speak", "gain 0.1", "gain 0", "ends: interrupted"],
    "turn 4": [
        f"hears '{LONG} and then backwards'",
        "begins to speak",
        *("gain 0.1", "gain 1"),
        *("gain 0.1", "gain 0", "ends: interrupted"),
    ],
    "turn 5": [
        "hears 'no stop that please'",
        "begins to speak",
        "says 'You said: no stop that please'",
        "ends: stop",
    ],
}


def models(**options: float) -> Models:
    """Fakes that take their time, in the world's time."""
    return Models(
        asr=FakeAsr(step_s=options.get("step_s", 0.0)),
        llm=FakeLlm(token_s=options.get("token_s", 0.0)),
        tts=FakeTts(char_ms=30),
        vad=FakeVad(),
    )


def spoken(sound: bytes, frame_ms: int) -> list[Entry]:
    """A microphone that sends frames of this length, each when its last sample is there."""
    size = frame_ms * 32
    frames = [sound[at : at + size] for at in range(0, len(sound), size)]
    entries: list[Entry] = [In(0, (i + 1) * frame_ms, wire.AudioIn(f)) for i, f in enumerate(frames)]
    return [*entries, End(0, len(frames) * frame_ms + 5_000.0)]


def header() -> Header:
    async def work(settling: Settling) -> Header:
        client = Client(models(), CONFIG, AsFastAsModelsGo(settling))
        await client.aclose()
        return client.header

    return run_settling(work)


def run(entries: Sequence[Entry], **options: float) -> list[Entry]:
    """Replay these entries with fakes."""

    async def work(settling: Settling) -> list[Entry]:
        given = watched(models(**options), settling)
        return await replayed(header_, entries, given, CONFIG, AsFastAsModelsGo(settling))

    header_ = header()
    return run_settling(work)


def whats(made: Sequence[Decision], track: str) -> list[str]:
    return [one.what for one in made if one.track == track]


def written(path: Path, entries: Sequence[Entry], **changes: object) -> Path:
    header_ = msgspec.structs.replace(header(), profile="fake", **changes)
    path.write_bytes(MAGIC + b"".join(map(encode, [header_, *entries])))
    return path


def test_a_talk_is_decided_the_same_however_it_is_cut_into_frames() -> None:
    first, *others = (decisions(run(spoken(SAID, frame_ms))) for frame_ms in (20, 8, 37, 100))
    assert {track: whats(first, track) for track in TOLD} == TOLD
    for other in others:
        assert differences(first, other) == []


def test_how_long_models_take_changes_no_decision() -> None:
    quick, slow = (
        decisions(run(spoken(SAID, 40))),
        decisions(run(spoken(SAID, 40), step_s=0.01, token_s=0.001)),
    )
    assert differences(quick, slow) == []


def test_hours_pass_in_no_time() -> None:
    entries = run([In(0, 0.0, wire.Text("hello")), End(0, 3_600_000.0)])
    assert entries[-1].ms == 3_600_000.0
    assert of([e.frame for e in entries if isinstance(e, Out)], wire.Done)[0].reason == "stop"


def test_a_recording_that_was_cut_off_is_replayed_until_then() -> None:
    whole = spoken(SAID, 40)
    cut = whole[: len(whole) // 2]
    assert (
        differences(
            decisions(run(cut)), [one for one in decisions(run(whole)) if one.at_s <= cut[-1].ms / 1000]
        )
        == []
    )


def test_tools_results_find_their_calls_though_those_have_other_ids() -> None:
    frames: list[Entry] = [
        In(0, 0.0, wire.Hello(tools=TOOLS)),
        In(0, 10.0, wire.Text('well #tool light {"on": true} #tool light {"on": false}')),
        Out(0, 20.0, wire.ToolCall(1, "another-id", "light", '{"on":true}')),
        Out(0, 20.0, wire.ToolCall(1, "a-third-id", "light", '{"on":false}')),
        In(0, 30.0, wire.ToolResult("a-third-id", "it is off")),
        In(0, 40.0, wire.ToolResult("another-id", "it is on")),
        End(0, 9_000.0),
    ]
    made = decisions(run(frames))
    assert "says 'well The tool says: it is on and it is off'" in whats(made, "turn 1")
    assert "ends: stop" in whats(made, "turn 1")


def test_what_is_refused_is_answered_as_on_the_socket() -> None:
    entries = run(
        [In(0, 0.0, wire.Say("hi", "nobody")), In(0, 1.0, wire.AudioIn(bytes(40_000))), End(0, 9.0)]
    )
    assert whats(decisions(entries), "session") == ["error unknown_voice", "error too_large"]


async def talked(folder: Path, profile: Profile) -> Path:
    """Talk with a server that records, over its socket, and return the file."""
    async with (
        serving(profile, server__record_dir=str(folder)) as served,
        connect(served.ws_url, tools=TOOLS) as client,
    ):
        await client.send(wire.Text("good morning"))
        await until(client, wire.Done, 1)
        await speak(client, pcm("what is this", lead_s=0.4, tail_s=0.8))
        await until(client, wire.Done, 2)
        await client.send(wire.Hello(turn_detection="none"))
        await speak(client, pcm("pressed and held"))
        await client.send(wire.End())
        await until(client, wire.Done, 3)
    (path,) = list_files(folder)
    return path


def list_files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def command(
    path: Path, *, own_settings: bool = False, real_time: bool = False, **flags: object
) -> tuple[int, list[str]]:
    """Run `riposte replay` and return its status and its lines."""
    lines: list[str] = []
    config = load_config(None, {}, {name.replace("__", "."): value for name, value in flags.items()}).config
    status = replay(path, config, own_settings=own_settings, real_time=real_time, say=lines.append)
    return status, lines


def test_what_a_server_recorded_is_decided_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = fakes(tts={"char_ms": 5})
    monkeypatch.setattr("riposte.config.FAKE_PROFILE", profile)
    path = asyncio.run(talked(tmp_path, profile))
    kept = [entry.frame for entry in Recorded(path) if isinstance(entry, In)]
    assert len(of(kept, wire.AudioIn)) > 20
    status, lines = command(path)
    assert status == 0, lines
    assert any(line.endswith("hears 'what is this'") for line in lines)
    assert any(line.startswith("turn 3 'pressed and held': stop") for line in lines)
    assert lines[-1].startswith("the same ")


async def resumed(folder: Path, profile: Profile) -> list[Path]:
    """Talk, leave, come back and talk on; return the files of both connections."""
    async with serving(profile, server__record_dir=str(folder)) as served:
        async with connect(served.ws_url, patience=0.6) as client:
            await speak(client, pcm("remember this", lead_s=0.4, tail_s=0.9))
            await until(client, wire.Done, 1)
            session = client.session
        async with connect(served.ws_url, session=session) as client:
            await speak(client, pcm("and this", lead_s=0.4, tail_s=0.9))
            await until(client, wire.Done, 2)
    return list_files(folder)


def test_a_session_that_was_resumed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = fakes(tts={"char_ms": 5})
    monkeypatch.setattr("riposte.config.FAKE_PROFILE", profile)
    first, second = (Recorded(path) for path in asyncio.run(resumed(tmp_path, profile)))
    if first.header.at:
        first, second = second, first  # of the same second
    assert first.header.at == 0
    assert second.header.at > 10_000
    assert [one.user for one in second.header.stored.exchanges()] == ["remember this"]
    for path in list_files(tmp_path):
        status, lines = command(path)
        assert status == 0, lines


def test_what_is_decided_otherwise_is_named_and_is_status_1(tmp_path: Path) -> None:
    path = tmp_path / "talk.riposte"
    talker = spoken(pcm("hello there", lead_s=0.3, tail_s=1.5), 20)
    path = written(path, [*talker[:-1], *(entry for entry in run(talker) if not isinstance(entry, In))])
    assert command(path)[0] == 0
    status, lines = command(path, own_settings=True, turn__silence_min_ms=700)
    assert status == 1
    assert "2 decisions differ; 7.3 s of talk" in lines[-1]
    assert any(line.startswith("machine: only recorded, at 0.9") for line in lines)
    assert any(line.startswith("machine: only replayed, at 1.5") for line in lines)


def test_a_sound_file_is_heard_and_answered(tmp_path: Path) -> None:
    path = tmp_path / "question.wav"
    path.write_bytes(wav_bytes(to_s16(fake_speech("hello there", lead_s=0.2)), 16_000))
    status, lines = command(path, server__fake=True)
    assert status == 0
    assert lines[0].startswith("question.wav: a sound file, heard by fake")
    assert any(line.endswith("says 'You said: hello there'") for line in lines)
    assert any(line.startswith("  end of turn decided     1") for line in lines)


def test_in_real_time_models_take_what_they_take(tmp_path: Path) -> None:
    entries: list[Entry] = [In(0, 0.0, wire.Hello(modalities=["text"])), In(0, 100.0, wire.Text("hello"))]
    _, lines = command(written(tmp_path / "talk.riposte", [*entries, End(0, 300.0)]), real_time=True)
    (took,) = (line for line in lines if line.startswith("  first token"))
    assert float(took.split()[2]) > 0


def test_words_after_a_reply_that_no_microphone_heard_are_no_echo_of_it() -> None:
    """A client that is muted while it plays lets session time stand still meanwhile."""
    asked: list[Entry] = [In(0, 0.0, wire.Text("count to 9"))]
    later = [
        msgspec.structs.replace(entry, ms=entry.ms + 5_000)
        for entry in spoken(pcm("hello there", lead_s=0.04, tail_s=0.5), 20)
    ]

    async def work(settling: Settling) -> list[Entry]:
        given, pace = watched(models(), settling), AsFastAsModelsGo(settling)
        assert Config().turn.echo_gate
        return await replayed(header_, [*asked, *later], given, Config(), pace)

    header_ = header()
    assert whats(decisions(run_settling(work)), "turn 2")[0] == "hears 'hello there'"


@pytest.mark.skipif(
    not (PICO / "thinking" / "manifest.json").is_file(),
    reason="pico is not built; run `make engines PROFILE=pico`",
)
def test_real_models_decide_the_same_however_a_talk_is_cut_into_frames() -> None:
    config = load_config(None, {}, {"server.profile": "pico"}).config

    async def work(settling: Settling) -> list[list[Decision]]:
        async with open_models(config, load_profile(config)) as loaded:
            given = watched(Models(**loaded), settling)  # type: ignore[arg-type]
            sound = b"".join([await voiced(given.tts, text) + silence(pause) for text, pause in PICO_SAYS])
            made = []
            for frame_ms in (20, 60):
                pace = AsFastAsModelsGo(settling)
                entries = spoken(sound, frame_ms)
                made.append(decisions(await replayed(given_header, entries, given, config, pace)))
            return made

    given_header = header()
    first, other = run_settling(work)
    assert differences(first, other) == []
    assert "hears 'turn on the kitchen lights'" in whats(first, "turn 1")
    assert whats(first, "turn 1")[1] == "begins to speak"
    assert "ends: interrupted" in whats(first, "turn 1")
    assert "ends: stop" in whats(first, "turn 2")


async def voiced(tts: Tts, text: str) -> bytes:
    """Return a sentence as a microphone would give it."""
    pieces = [pcm async for pcm in tts.speak(text, voice=tts.voices[0].id)]
    resample = Resampler(tts.rate_hz, 16_000)
    made = np.concatenate([resample.push(to_f32(np.concatenate(pieces))), resample.flush()])
    return to_s16(made).tobytes()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (None, "talk.riposte cannot be read: No such file"),
        (b"rubbish", "talk.riposte: it is no sound that can be read"),
        (MAGIC, "talk.riposte: the recording is empty"),
    ],
)
def test_what_cannot_be_replayed_is_a_sentence(tmp_path: Path, data: bytes | None, sentence: str) -> None:
    path = tmp_path / "talk.riposte"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(RiposteError, match=sentence):
        command(path, server__fake=True)
