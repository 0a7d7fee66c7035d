"""Every example runs, against a whole server with fake models."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import pytest
from conftest import Served
from talking import pcm

from riposte.pauses import pause_after
from riposte.talk.files import write_wav

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_S = 60.0


@cache
def node() -> list[str]:
    """Return the command that runs JavaScript with a WebSocket; skip where there is none."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed")
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    version = int(re.match(r"v(\d+)", told)[1])
    if version < 20:
        pytest.skip(f"node {version} has no WebSocket; 20 or newer is needed")
    return [path, "--no-warnings", *(["--experimental-websocket"] if version < 22 else [])]


def command(name: str) -> list[str]:
    language = [sys.executable] if name.endswith(".py") else node()
    path = Path(name) if Path(name).is_absolute() else next(EXAMPLES.glob(f"*/{name}"))
    return [*language, str(path)]


@asynccontextmanager
async def running(name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command(name), *arguments, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def output(name: str, *arguments: str, typed: str = "") -> str:
    async with running(name, *arguments) as process:
        told, wrong = await process.communicate(typed.encode())
        assert (process.returncode, wrong.decode()) == (0, "")
        return told.decode()


@pytest.fixture
def question(tmp_path: Path) -> Path:
    write_wav(tmp_path / "question.wav", pcm("good day"), 16_000)
    return tmp_path / "question.wav"


def length_s(path: Path) -> float:
    with wave.open(str(path)) as file:
        assert any(file.readframes(file.getnframes()))
        return file.getnframes() / file.getframerate()


@pytest.mark.parametrize("name", ["chat.py", "chat.mjs"])
async def test_chat(served: Served, name: str) -> None:
    told = await output(name, served.ws_url, typed="good morning\nand good night\n")
    assert told == "You said: good morning\nYou said: and good night\n"


async def test_chat_in_javascript_goes_on_after_a_refusal(served: Served) -> None:
    async with running("chat.mjs", served.ws_url) as process:
        told, wrong = await process.communicate(f"{'m' * 4001}\nhello\n".encode())
    assert told.decode() == "You said: hello\n"
    assert wrong.decode() == "the text has 4001 characters; 4000 are allowed\n"


@pytest.mark.parametrize(
    ("name", "sentence"), [("chat.py", "chat: no server answers"), ("chat.mjs", "no server")]
)
async def test_chat_without_a_server_says_so(name: str, sentence: str) -> None:
    async with running(name, "ws://127.0.0.1:9/ws") as process:
        _, wrong = await process.communicate()
        assert process.returncode == 1
        assert sentence in wrong.decode()


async def test_speak_wav(served: Served, question: Path) -> None:
    answer = question.with_name("answer.wav")
    told = await output("speak_wav.py", str(question), str(answer), served.ws_url)
    assert told == "you: good day\nriposte: You said: good day\n"
    assert length_s(answer) == pytest.approx(0.185, abs=0.01)  # 5 ms of silence, then 18 letters


async def test_listen(served: Served, question: Path) -> None:
    lines = (await output("listen.py", str(question), served.ws_url)).splitlines()
    assert [re.sub(r"\d+ ms", "", line) for line in lines] == [
        "[speech started at ]",
        "[speech stopped at ]",
        "you: good day",
        "You said: good day",
        "[turn 1: stop]",
    ]


async def test_say(served: Served, tmp_path: Path) -> None:
    told = await output("say.mjs", "Dinner is ready.", str(tmp_path / "dinner.wav"), served.ws_url)
    assert told == f"{tmp_path / 'dinner.wav'}: 0.4 s\n"
    # 5 ms of silence, 16 letters, the pause of a full stop
    assert length_s(tmp_path / "dinner.wav") == pytest.approx(0.165 + pause_after("ready."), abs=0.01)


@pytest.mark.parametrize("name", ["tools_home.py", "tools_home.mjs"])
async def test_tools_home(served: Served, name: str) -> None:
    async with running(name, served.ws_url) as process:

        async def ask(tool: str, **arguments: object) -> list[str]:
            """Return the lines up to the reply, which the fake model makes of the tool's result."""
            process.stdin.write(f"#tool {tool} {json.dumps(arguments)}\n".encode())
            lines: list[str] = []
            while not lines or not lines[-1].startswith("The tool says:"):
                lines.append((await process.stdout.readline()).decode().rstrip("\n"))
                assert lines[-1] or not process.stdout.at_eof(), (await process.stderr.read()).decode()
            return lines

        light = {"room": "kitchen", "light": "lamp"}
        assert (await ask("set_light", **light, state="on"))[0] == "[kitchen lamp: on]"
        assert (await ask("set_light", **light, brightness=40))[0] == "[kitchen lamp: 40 percent]"
        assert "that is too bright" in (await ask("set_light", **light, brightness=400))[0]
        assert "no timer is running" in (await ask("timer", action="check"))[0]
        assert (await ask("timer", action="start", minutes=2))[0] == "[timer: 120 s]"
        assert re.search(
            r"minutes.*1|1 minutes|2 minutes|minutes.*2", (await ask("timer", action="check"))[0]
        )
        assert (await ask("timer", action="cancel"))[0] == "[timer: cancelled]"
        assert (await ask("shopping_list", action="add", items=["milk", "eggs"]))[0] == "[list: milk, eggs]"
        assert (await ask("shopping_list", action="remove", items=["milk"]))[0] == "[list: eggs]"
        assert "eggs" in (await ask("shopping_list", action="read"))[-1]
        process.stdin.write(b'#tool timer {"action": "start", "seconds": 0}\n')
        await process.stdout.readuntil(b"[timer: it rings!\a]")
        process.stdin.close()
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("language", "said"), [("python", "You said: turn on"), ("js", "You\n said:\n turn\n on")]
)
async def test_the_page_of_clients_runs(served: Served, tmp_path: Path, language: str, said: str) -> None:
    page = (EXAMPLES.parent / "docs" / "clients.md").read_text()
    program = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)[1]
    path = tmp_path / ("page.py" if language == "python" else "page.mjs")
    path.write_text(program.replace("ws://127.0.0.1:8000/ws", served.ws_url))
    told = await output(str(path))
    assert told.startswith(said)


def test_every_example_is_tested() -> None:
    here = Path(__file__).read_text()
    names = [path.name for path in EXAMPLES.glob("*/*.*") if path.name != "riposte.mjs"]
    assert len(names) >= 7
    assert [name for name in names if f'"{name}"' not in here] == []
