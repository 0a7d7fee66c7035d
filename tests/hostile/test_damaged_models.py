"""Models and settings that cannot be used: the command says what, where, what next, and ends with 2 or 3."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PICO, load_config, serving

from riposte.cli import main
from riposte.errors import ConfigError, ModelError
from riposte.manifest import MANIFEST_NAME, read_manifest, write_manifest

PATIENCE_S = 60

pytestmark = pytest.mark.skipif(
    not (PICO / "thinking" / MANIFEST_NAME).is_file(),
    reason="pico is not built; run `make engines PROFILE=pico`",
)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A copy of pico that may be broken: links to its big files, which are replaced and never written to."""
    for part in ("hearing", "thinking"):
        folder = tmp_path / "models" / "pico" / part
        folder.mkdir(parents=True)
        for file in (PICO / part).iterdir():
            os.link(file, folder / file.name)
    shutil.copy(PICO / "profile.toml", tmp_path / "models" / "pico")
    return tmp_path / "models"


def replaced(path: Path, content: bytes) -> None:
    path.unlink()  # the link, not the file in the box
    path.write_bytes(content)


def missing(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    content = path.read_bytes()
    replaced(path, content[: len(content) // 2])


def empty(path: Path) -> None:
    replaced(path, b"")


def one_bit_off(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    replaced(path, bytes(content))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


Damage = Callable[[Path], None]
PARTS = ("hearing", "thinking")
FILES = [
    (part, file.name)
    for part in PARTS
    if (PICO / part / MANIFEST_NAME).is_file()
    for file in read_manifest(PICO / part).files
]


@pytest.mark.parametrize(
    ("part", "name", "damage"),
    [
        *[(part, name, missing) for part, name in FILES],
        *[(part, "tokenizer.json", damage) for part in PARTS for damage in (empty, a_folder)],
        *[("thinking", "model.onnx", damage) for damage in (cut, one_bit_off)],
        *[("hearing", "encoder.onnx", damage) for damage in (cut, one_bit_off)],
    ],
)
def test_a_damaged_file_is_named_with_what_mends_it(
    models: Path, capsys: pytest.CaptureFixture[str], part: str, name: str, damage: Damage
) -> None:
    path = models / "pico" / part / name
    damage(path)
    assert main(["check", "--models", str(models), "--profile", "pico"]) == 3
    told = capsys.readouterr().err
    assert told.startswith(f"riposte: {path} ")
    assert "make engines" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("part", ["hearing", "thinking"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"id": 7}',
        b"[" * 100_000,
        json.dumps({"id": "x", "kind": "llm", "later": 1}).encode(),
    ],
    ids=["empty", "cut", "a list", "no UTF-8", "no fields", "wrong type", "too deep", "unknown field"],
)
def test_a_manifest_of_rubbish_is_named(
    models: Path, capsys: pytest.CaptureFixture[str], part: str, content: bytes
) -> None:
    path = models / "pico" / part / MANIFEST_NAME
    replaced(path, content)
    assert main(["check", "--models", str(models), "--profile", "pico"]) == 3
    told = capsys.readouterr().err
    assert told.startswith(f"riposte: {path} cannot be read (")
    assert "make engines" in told


@pytest.mark.parametrize("part", ["hearing", "thinking"])
async def test_a_part_of_the_other_kind_is_refused_by_the_server(models: Path, part: str) -> None:
    other = {"hearing": "thinking", "thinking": "hearing"}[part]
    shutil.rmtree(models / "pico" / part)
    shutil.copytree(models / "pico" / other, models / "pico" / part)
    with pytest.raises(ModelError, match=part):
        async with serving(server__models_dir=str(models), server__profile="pico"):
            pass


def _resigned(folder: Path) -> None:
    """Let the manifest vouch for the damage, as a build that went wrong would."""
    from msgspec.structs import replace

    from riposte.manifest import describe

    manifest = read_manifest(folder)
    (folder / MANIFEST_NAME).unlink()
    write_manifest(folder, replace(manifest, files=describe(folder, [file.name for file in manifest.files])))


# What these hold is known from elsewhere too, or not needed to serve.
UNNEEDED = {
    ("preprocessor_config.json", b""),
    ("preprocessor_config.json", b"{}"),
    ("preprocessor_config.json", b"\x00garbage"),
    ("config.json", b"{}"),
    ("generation_config.json", b"{}"),
}


@pytest.mark.parametrize(
    ("part", "name", "content"),
    [
        (part, name, content)
        for part, name in FILES
        for content in (b"{}", b"\x00garbage")
        if (name, content) not in UNNEEDED
    ],
)
async def test_a_file_that_its_manifest_vouches_for_and_is_none_is_a_model_error(
    models: Path, part: str, name: str, content: bytes
) -> None:
    folder = models / "pico" / part
    replaced(folder / name, content)
    _resigned(folder)
    with pytest.raises(ModelError) as caught:
        async with serving(server__models_dir=str(models), server__profile="pico", server__drain_s=0.0):
            pass
    assert part in str(caught.value) or name in str(caught.value)


# -- the real command


def riposte(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run the command; return its status, standard output and errors."""
    done = subprocess.run(
        [sys.executable, "-m", "riposte.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_ends_with_3_for_a_damaged_model(models: Path) -> None:
    path = models / "pico" / "thinking" / "model.onnx"
    cut(path)
    status, output, errors = riposte("serve", "--models", str(models), "--profile", "pico", "--port", "0")
    assert (status, output, "Traceback" in errors) == (3, "", False)
    errors = errors.splitlines()[-1]  # the log comes before it
    assert errors.startswith(f"riposte: {path} has ")
    assert "run `" in errors


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[limits]\nsesions = 3\n",
            "limits.sesions in {path} is unknown; did you mean limits.sessions?",
        ),
        (
            "[limits]\nsessions = 'many'\n",
            'limits.sessions from {path} is "many"; a whole number from 1 up fits',
        ),
        ("[limits\n", "{path} is not TOML: "),
        (None, "{path} cannot be read: No such file or directory"),
    ],
    ids=["a typing error", "a wrong type", "no TOML", "no file"],
)
def test_the_command_ends_with_2_for_settings_that_cannot_be_used(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    path = tmp_path / "riposte.toml"
    if text is not None:
        path.write_text(text)
    status, output, errors = riposte("serve", "--fake", "--port", "0", "--config", str(path))
    assert (status, output) == (2, "")
    assert errors.startswith(f"riposte: {sentence.format(path=path)}")
    assert "Traceback" not in errors


def test_the_command_ends_with_2_for_a_profile_of_rubbish(models: Path) -> None:
    path = models / "pico" / "profile.toml"
    replaced(path, b"\xff[asr")
    status, output, errors = riposte("serve", "--models", str(models), "--profile", "pico", "--port", "0")
    assert (status, output) == (2, "")
    assert errors.startswith(f"riposte: {path} cannot be used: ")
    assert "Traceback" not in errors


def test_the_command_ends_with_2_for_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output, errors = riposte("serve", "--fake", "--port", str(port))
    assert (status, output) == (2, "")
    assert errors == (
        f"riposte: cannot listen on 127.0.0.1:{port} (address already in use); "
        "stop what uses it, or choose another with --port\n"
    )


@pytest.mark.parametrize("host", ["256.0.0.1", "no-such-host.invalid", "192.0.2.7"])
async def test_an_address_that_is_not_this_machines_is_a_sentence(host: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot listen on {host}"):
        async with serving(server__fake=True, server__host=host, server__keys=["sixteen characters."]):
            pass


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("{ threads = 'many' }", "llm"),
        ("{ no_such_option = 1 }", "no_such_option"),
        ("{ threads = -1 }", "option threads of the language model is -1"),
        ("{ context_tokens = 99999999 }", "tokens"),
        ("{ slots = 0 }", "option slots of the language model is 0"),
        ("[]", "options"),
    ],
)
async def test_an_option_of_a_part_that_does_not_fit_is_a_sentence(
    models: Path, options: str, sentence: str
) -> None:
    path = models / "pico" / "profile.toml"
    path.write_text(
        path.read_text().replace('folder = "thinking"', f'folder = "thinking"\noptions = {options}')
    )
    with pytest.raises((ConfigError, ModelError), match=sentence):
        async with serving(server__models_dir=str(models), server__profile="pico", server__drain_s=0.0):
            pass


def test_a_configuration_that_is_a_folder_or_a_device_is_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null/x")):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_config(path, {})
