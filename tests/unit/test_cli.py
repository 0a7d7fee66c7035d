"""The commands: what they print, where, and their exit status."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from certificates import issue, serial
from conftest import serving

import riposte
from riposte.audiofile import UnreadableSound, read_16k
from riposte.backends.fake import FAIL_LLM, fake_speech
from riposte.cli import main
from riposte.manifest import Manifest, Source, describe, write_manifest

COMMANDS = ("serve", "chat", "talk", "say", "transcribe", "replay", "models", "check")
PATIENCE_S = 30

PROFILE = """
asr = { backend = "fake", folder = "hearing" }
llm = { backend = "fake" }
tts = { backend = "fake" }
vad = { backend = "fake" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Models: one profile, with one built part."""
    hearing = tmp_path / "models" / "pico" / "hearing"
    hearing.mkdir(parents=True)
    (hearing.parent / "profile.toml").write_text(PROFILE)
    (hearing / "graph.onnx").write_bytes(b"x" * 2_500_000)
    source = Source("ours", licence="Apache-2.0")
    files = describe(hearing, ["graph.onnx"])
    write_manifest(hearing, Manifest("pico-hearing", "asr", "whisper", "fp16", source, files, "make engines"))
    return tmp_path / "models"


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command beside the test; it is gone afterwards, whatever happened."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "riposte.cli", *arguments), stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def refused(arguments: list[str]) -> int:
    """Run a command that argparse ends by itself."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    code = caught.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize("arguments", [[], *[[name] for name in COMMANDS]], ids=" ".join)
def test_every_help_shows_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert refused([*arguments, "--help"]) == 0
    told = capsys.readouterr().out
    assert "\nexamples:\n  " in told
    assert " ".join(["riposte", *arguments]) in told.partition("examples:")[2]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(["--version"]) == 0
    assert capsys.readouterr().out == f"riposte {riposte.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["sing"], ["say", "x"], ["transcribe"], ["serve", "--port", "x"]])
def test_what_argparse_refuses_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(arguments) == 2
    assert "usage: riposte" in capsys.readouterr().err


def test_bad_settings_are_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "70000"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "riposte: server.port from --port is 70000; a whole number from 0 to 65535 fits\n"


def test_a_missing_model_is_status_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pico" / "hearing" / "manifest.json").unlink()
    assert main(["check", "--models", str(folder)]) == 3
    assert "manifest.json is missing; run `make engines`" in capsys.readouterr().err


def test_check_names_each_part_and_what_to_type_next(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--models", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok  ") for line in lines[:-1])
    assert [line.split()[1] for line in lines[2:-1]] == ["asr", "llm", "tts", "vad"]
    assert lines[-1] == "next: riposte serve --profile pico"


def test_check_looks_at_the_certificate_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = issue(tmp_path, "home")
    monkeypatch.setenv("RIPOSTE_SERVER_TLS_CERT", str(pair.cert))
    monkeypatch.setenv("RIPOSTE_SERVER_TLS_KEY", str(pair.key))
    assert main(["check", "--fake"]) == 0
    assert f"ok  https with {pair.cert}\n" in capsys.readouterr().out
    pair.key.unlink()
    assert main(["check", "--fake"]) == 2
    assert f"server.tls_key from RIPOSTE_SERVER_TLS_KEY is {pair.key}" in capsys.readouterr().err


def test_check_finds_a_damaged_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pico" / "hearing" / "graph.onnx").write_bytes(b"y" * 2_500_000)
    assert main(["check", "--models", str(folder)]) == 3
    assert "is damaged" in capsys.readouterr().err


def test_check_finds_a_back_end_that_does_not_exist(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "pico" / "profile.toml"
    path.write_text(PROFILE.replace('llm = { backend = "fake"', 'llm = { backend = "onyx"'))
    assert main(["check", "--models", str(folder)]) == 2
    assert "onyx" in capsys.readouterr().err


def test_models_lists_parts_sizes_and_licences(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "profile.toml").write_text("asr = 3")
    assert main(["models", "--models", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "* pico\n" in told
    assert "asr  fake     pico-hearing, whisper, fp16, 2.5 MB, Apache-2.0" in told
    assert "broken/profile.toml cannot be used" in told


def test_models_without_any_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--models", str(tmp_path)]) == 0
    assert "run `make engines`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://127.0.0.1:8000/ws", "a key of this machine"),
        ("localhost", "a key of this machine"),
        ("https://Home.example:8443", "a key of this machine"),
        ("https://elsewhere.example", None),
        ("192.168.1.9", None),
    ],
)
def test_this_machines_key_goes_to_its_own_server_alone(
    url: str, shown: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []

    async def chat(url: str, *, key: str | None, **_: object) -> int:
        keys.append(key)
        return 0

    monkeypatch.setattr("riposte.terminal.chat", chat)
    monkeypatch.setenv("RIPOSTE_SERVER_KEYS", "a key of this machine")
    monkeypatch.setenv("RIPOSTE_SERVER_HOSTS", "home.example:8443")
    main(["chat", "--url", url])
    main(["chat", "--url", url, "--key", "theirs"])
    assert keys == [shown, "theirs"]


def test_say_writes_a_wav_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.wav"
    assert main(["say", "Hello there, you. And on it goes.", "-o", str(path), "--fake"]) == 0
    pcm, rate_hz = soundfile.read(path)
    assert rate_hz == 16_000
    assert len(pcm) > 16_000
    assert capsys.readouterr().out == ""


def test_say_to_a_place_that_is_none_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["say", "Hello", "-o", str(tmp_path / "none" / "out.wav"), "--fake"]) == 1
    assert capsys.readouterr().err.endswith("out.wav cannot be written: No such file or directory\n")


def test_say_with_an_unknown_voice_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.wav"
    assert main(["say", "Hello", "-o", str(path), "--fake", "--voice", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err
    assert not path.exists()


def test_transcribe_prints_text_alone_and_goes_on_after_a_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, words in (("a.wav", "hello there"), ("b.flac", "and you")):
        soundfile.write(tmp_path / name, fake_speech(words), 16_000)
    (tmp_path / "bad.wav").write_text("no sound")
    files = [str(tmp_path / name) for name in ("a.wav", "bad.wav", "none.ogg", "b.flac")]
    assert main(["transcribe", "--fake", *files]) == 1
    told = capsys.readouterr()
    assert told.out == "hello there\nand you\n"
    assert told.err.splitlines() == [
        f"riposte: {files[1]}: it is no sound that can be read (Format not recognised); "
        "WAV, FLAC and OGG fit",
        f"riposte: {files[2]}: there is no such file",
    ]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_sound_file_of_any_rate_becomes_16_khz_mono(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = tmp_path / "tone.wav"
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz * 3 // 2) / rate_hz)
    soundfile.write(path, np.repeat(tone[:, np.newaxis], channels, axis=1), rate_hz)
    pcm = np.concatenate(list(read_16k(path)))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 16_000)
    assert (len(pcm), pcm.dtype) == (24_000, np.float32)
    assert np.abs(pcm - expected)[200:-200].max() < 0.001


def test_a_file_of_no_numbers_becomes_numbers(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([np.nan, np.inf, -np.inf, 3.0] * 100), 16_000, subtype="FLOAT")
    pcm = np.concatenate(list(read_16k(path)))
    assert np.isfinite(pcm).all()
    assert np.abs(pcm).max() <= 1.0


def test_a_file_without_samples_has_no_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 44_100)
    assert list(read_16k(tmp_path / "empty.wav")) == []


def test_a_folder_is_no_sound(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSound, match="it is a folder"):
        next(read_16k(tmp_path))


def test_explain_tells_where_each_setting_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "riposte.toml"
    path.write_text("[server]\nkeys = ['a key that is very long']\n")
    assert main(["serve", "--explain", "--config", str(path), "--port", "0"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^server\.port +0 +--port$", told, re.MULTILINE)
    assert re.search(rf"^server\.keys +\(1 hidden\) +{re.escape(str(path))}$", told, re.MULTILINE)
    assert "very long" not in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_says_where_and_stops_cleanly(number: signal.Signals) -> None:
    async with command("serve", "--fake", "--port", "0") as process:
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert re.fullmatch(rb"ready on http://127\.0\.0\.1:\d+\n", line)
        process.send_signal(number)
        _, errors = await process.communicate()
        assert process.returncode == 0, errors


async def test_serve_renews_its_certificate_at_a_hang_up_and_goes_on(tmp_path: Path) -> None:
    pair = issue(tmp_path, "home")
    flags = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    async with command("serve", "--fake", "--port", "0", *flags) as process:
        ready = (await process.stdout.readline()).decode()
        port = int(ready.rpartition(":")[2])
        assert ready.startswith("ready on https://127.0.0.1:")
        plain, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await plain.read() == b""  # under uvloop too
        writer.close()
        serials = [await serial(port)]
        issue(tmp_path, "home")
        process.send_signal(signal.SIGHUP)
        told = (await process.stderr.readline()).decode()
        assert told.endswith(f"new connections get the certificate that {pair.cert} holds now\n")
        serials.append(await serial(port))
        assert serials[0] != serials[1]
        process.terminate()
        assert await process.wait() == 0


async def test_serve_on_a_port_in_use_is_status_2() -> None:
    async with (
        serving(server__fake=True) as served,
        command("serve", "--fake", "--port", served.url.rpartition(":")[2]) as process,
    ):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"cannot listen on 127.0.0.1:" in errors
    assert b"Traceback" not in errors


async def test_chat_prints_replies_alone() -> None:
    async with serving(server__fake=True) as served, command("chat", "--url", served.ws_url) as process:
        output, errors = await process.communicate(b"hello\n\nbye")
    assert (process.returncode, output) == (0, b"You said: hello\nYou said: bye\n"), errors


async def test_chat_tells_a_refusal_and_goes_on() -> None:
    async with serving(server__fake=True) as served, command("chat", "--url", served.ws_url) as process:
        output, errors = await process.communicate(b"m" * 4001 + b"\nhello\n")
    assert (process.returncode, output) == (1, b"You said: hello\n")
    assert errors == b"riposte: the text has 4001 characters; 4000 are allowed\n"


async def test_chat_with_a_turn_that_fails_is_status_1() -> None:
    async with serving(server__fake=True) as served, command("chat", "--url", served.ws_url) as process:
        output, errors = await process.communicate(f"{FAIL_LLM}\nhello\n".encode())
    assert process.returncode == 1
    assert output.endswith(b"You said: hello\n")
    assert errors.count(b"riposte: ") == 1


async def test_chat_with_an_unknown_session_names_the_flag() -> None:
    async with (
        serving(server__fake=True) as served,
        command("chat", "--url", served.ws_url, "--session", "nobody") as process,
    ):
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors == b"riposte: that session is not kept here; leave out --session for a new one\n"


async def test_chat_without_a_server_is_a_sentence() -> None:
    async with command("chat", "--url", "ws://127.0.0.1:9/ws") as process:
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors == b"riposte: no server answers at ws://127.0.0.1:9/ws; start one with `riposte serve`\n"


async def test_ctrl_c_in_chat_ends_at_once() -> None:
    async with serving(server__fake=True) as served, command("chat", "--url", served.ws_url) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello\n")
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors


async def test_ctrl_c_in_talk_ends_at_once_and_keeps_what_was_spoken(tmp_path: Path) -> None:
    question, answer = tmp_path / "question.wav", tmp_path / "answer.wav"
    soundfile.write(question, np.zeros(16_000 * PATIENCE_S, np.int16), 16_000)
    files = ("--wav-in", str(question), "--wav-out", str(answer))
    async with (
        serving(server__fake=True) as served,
        command("talk", "--url", served.url, *files) as process,
    ):
        assert b"listens: speak; Ctrl-C ends" in await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, wrong = await process.communicate()
    assert (process.returncode, wrong) == (130, b"")
    assert soundfile.info(answer).samplerate == 16_000
