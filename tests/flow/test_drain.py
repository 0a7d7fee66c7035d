"""Stopping a real server process: what was accepted is answered to its end, whatever the entrance."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from conftest import fakes, serving
from talking import WAIT_S, of, pcm, speak, tokens, until, until_closed

from riposte import app
from riposte.client import CannotConnect, Client, connect
from riposte.errors import Draining
from riposte.pauses import pause_after
from riposte.wire import frames as wire

PATIENCE_S = 30.0
PROFILE = """\
asr = { backend = "fake" }
llm = { backend = "fake", options = { token_s = 0.02, load_s = %s } }
tts = { backend = "fake", options = { char_ms = 10 } }
vad = { backend = "fake" }
"""
COUNT = "count to 60"
COUNTED = ", ".join(str(number) for number in range(1, 61)) + "."


@asynccontextmanager
async def process(
    tmp_path: Path, *arguments: str, load_s: float = 0.0
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Serve fakes that take their time, in a process of its own, which is gone afterwards."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "profile.toml").write_text(PROFILE % load_s)
    pipe = asyncio.subprocess.PIPE
    command = ("serve", "--models", str(tmp_path), "--profile", "slow", "--data", str(tmp_path / "data"))
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "riposte.cli", *command, *arguments),
        env=os.environ | {"RIPOSTE_HISTORY_DEADLINE_MS": "10000"},  # a busy machine's disk
        stdout=pipe,
        stderr=pipe,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def url_of(running: asyncio.subprocess.Process) -> str:
    assert running.stdout is not None
    found = re.search(rb"ready on (http://\S+)", await running.stdout.readline())
    assert found is not None
    return found[1].decode()


async def stopped(running: asyncio.subprocess.Process) -> int | None:
    await running.communicate()
    return running.returncode


def small_socket(address: tuple) -> socket.socket:
    """A client's socket that takes little before its kernel makes the server wait."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    return made


class Load:
    """Every kind of turn, in progress at once. `begun` returns when each is known to be accepted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ws_url = url.replace("http", "ws", 1) + "/ws"
        self.begun: list[asyncio.Event] = []

    def native(self, *sent: wire.ClientFrame, audio: bytes = b"") -> asyncio.Task:
        return self._task(self._native, sent, audio)

    def http(self, path: str, **body: str) -> asyncio.Task:
        return self._task(self._http, path, body)

    def chat_socket(self) -> asyncio.Task:
        return self._task(self._chat_socket)

    def _task(self, work, *arguments) -> asyncio.Task:
        self.begun.append(asyncio.Event())
        return asyncio.create_task(work(self.begun[-1], *arguments))

    async def _native(
        self, begun: asyncio.Event, sent: tuple, audio: bytes
    ) -> tuple[list[wire.ServerFrame], int | None]:
        async with connect(self.ws_url) as client:
            await speak(client, audio)
            for frame in sent:
                await client.send(frame)
            first = await until(client, wire.Token if wire.Say not in map(type, sent) else wire.Clause)
            begun.set()
            rest, code = await until_closed(client)
            return first + rest, code

    async def _http(self, begun: asyncio.Event, path: str, body: dict) -> bytes:
        async with aiohttp.ClientSession() as http, http.post(f"{self.url}{path}", json=body) as answer:
            assert answer.status == 200
            first = await answer.content.readany()
            begun.set()
            return first + await answer.content.read()

    async def _chat_socket(self, begun: asyncio.Event) -> tuple[list[dict], int | None]:
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{self.url}/ws/chat") as socket:
            await socket.send_str(COUNT)
            told = []
            while (message := await socket.receive(WAIT_S)).type is aiohttp.WSMsgType.TEXT:
                told.append(message.json())
                begun.set()
            return told, socket.close_code


async def test_stop_under_load_loses_no_accepted_turn(tmp_path: Path) -> None:
    async with process(tmp_path, "--port", "0") as running:
        load = Load(await url_of(running))
        spoken = pcm("count to 40", tail_s=0.6)
        native = [
            load.native(wire.Text(COUNT)),
            load.native(wire.Text("an earlier one"), wire.Text(COUNT)),
            load.native(audio=spoken),
            load.native(wire.Say("this is said from its first word to its last. " * 4)),
        ]
        whole = load.http("/chat", message=COUNT, session_id="whole")
        load.begun.pop()  # it shows nothing before its end: it is seen as a session instead
        streamed = load.http("/chat/stream", message=COUNT, session_id="streamed")
        sound = load.http("/tts", text="a sound that is longer than what a socket holds. " * 60)
        typed = load.chat_socket()
        async with connect(load.ws_url) as idle:
            await asyncio.gather(*(begun.wait() for begun in load.begun))
            await until_connected(load.url, 9)
            running.send_signal(signal.SIGTERM)
            await until_refused(idle)
            await refuses_newcomers(load)
            for task in native:
                frames, code = await task
                ends = of(frames, wire.Done)
                assert (ends[-1].reason, code) == ("stop", 1001)
                assert len({done.turn for done in ends}) == len(ends) == max(done.turn for done in ends)
                assert [error.code for error in of(frames, wire.Error)] == ["draining"]
            assert tokens((await native[0])[0]) == COUNTED
            assert tokens((await native[1])[0]).endswith(COUNTED)
            assert tokens((await native[2])[0]).endswith("39, 40.")
            assert f'"response":"{COUNTED}"' in (await whole).decode()
            assert (await streamed).endswith(b"data: [DONE]\n\n")
            clauses = said(sound_text())
            samples = sum(16 * (5 + 10 * len(clause) + 1_000 * pause_after(clause)) for clause in clauses)
            # Of a tone, a sample or two at each end are below what is sound.
            assert len(await sound) == pytest.approx(44 + 2 * samples, abs=2 * 3 * len(clauses))
            told, code = await typed
            assert (told[-1]["type"], told[-1]["response"], code) == ("done", COUNTED, 1001)
        assert await stopped(running) == 0


def sound_text() -> str:
    return "a sound that is longer than what a socket holds. " * 60


def said(text: str) -> list[str]:
    from riposte.turn.chunker import Chunker

    chunker = Chunker()
    return [clause for clause in [*chunker.push(text), chunker.finish()] if clause]


async def until_connected(url: str, count: int) -> None:
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{url}/health") as answer:
                if (await answer.json())["sessions"] == count:
                    return


async def until_refused(client: Client) -> None:
    """Type until the server says that it takes no turn any more."""
    while True:
        try:
            async for _ in client.turn("one more"):
                pass
        except Draining:
            return


async def refuses_newcomers(load: Load) -> None:
    with pytest.raises((Draining, CannotConnect)):
        async with connect(load.ws_url):
            pass
    asked = {"message": "hello", "session_id": "new"}
    async with aiohttp.ClientSession() as http, http.post(f"{load.url}/chat", json=asked) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (503, "draining")


async def test_a_client_that_reads_slowly_gets_the_end_of_its_turn_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "FINISH_S", 0.01)
    text = "x" * 25_000  # 8 MB of sound: the outbox holds it all, so its turn is soon over; no kernel does
    roomy = {"limits__outbox_bytes": 1 << 24, "limits__text_chars": len(text)}
    opened = asyncio.Event()
    late: list[asyncio.Task] = []

    async def listen(url: str) -> int:
        connector = aiohttp.TCPConnector(socket_factory=small_socket)
        async with (
            aiohttp.ClientSession(connector=connector, read_bufsize=1_024) as http,
            http.post(f"{url}/tts", json={"text": text}) as answer,
            connect(url.replace("http", "ws", 1) + "/ws") as idle,
        ):
            read = len(await answer.content.readany())
            opened.set()
            frames, _ = await until_closed(idle)  # so no turn is in progress any more
            assert of(frames, wire.Error)[-1].code == "draining"
            async for piece in answer.content.iter_any():
                read += len(piece)
            return read

    async with serving(fakes(tts={"char_ms": 10}), server__drain_s=PATIENCE_S, **roomy) as served:
        late.append(asyncio.create_task(listen(served.url)))
        await opened.wait()
    assert await late[0] > 2 * 16 * 10 * len(text)


async def test_a_second_signal_ends_the_drain(tmp_path: Path) -> None:
    async with process(tmp_path, "--port", "0", "--drain-s", "600") as running:
        ws_url = (await url_of(running)).replace("http", "ws", 1) + "/ws"
        async with connect(ws_url, modalities=["text"], max_tokens=4_000) as client, connect(ws_url) as idle:
            await client.send(wire.Text("count to 4000"))
            await until(client, wire.Token)
            running.send_signal(signal.SIGTERM)
            await until_refused(idle)
            running.send_signal(signal.SIGINT)
            frames, code = await until_closed(client)
            assert ([done.reason for done in of(frames, wire.Done)], code) == (["cancelled"], 1001)
        assert await stopped(running) == 0


async def test_a_server_that_is_starting_stops_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with (
        process(tmp_path, "--port", str(port), load_s=3_600.0) as running,
        aiohttp.ClientSession() as http,
    ):
        while True:
            try:
                async with http.get(f"http://127.0.0.1:{port}/health") as answer:
                    assert (await answer.json())["status"] == "starting"
                    break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)  # it is not there yet
        running.send_signal(signal.SIGTERM)
        assert await stopped(running) == 0


async def test_an_utterance_that_is_open_at_the_end_is_no_turn() -> None:
    async with serving(fakes(asr={"window_s": 0.5}), server__drain_s=5.0) as served:
        context = connect(served.ws_url)
        client = await context.__aenter__()
        await speak(client, pcm("a long sentence whose first words are shown before it is over"))
        turn = (await until(client, wire.Transcript))[-1].turn
        late = asyncio.create_task(until_closed(client))
    frames, code = await late
    assert [(done.turn, done.reason) for done in of(frames, wire.Done)] == [(turn, "dropped")]
    assert ([error.code for error in of(frames, wire.Error)], code) == (["draining"], 1001)
    await context.__aexit__(None, None, None)


async def test_a_model_that_does_not_let_go_does_not_keep_the_server() -> None:
    profile = fakes(llm={"deaf": True, "token_s": 0.01})
    async with asyncio.timeout(PATIENCE_S):
        async with serving(profile, server__drain_s=0.1, turn__stop_deadline_s=0.1) as served:
            context = connect(served.ws_url, modalities=["text"])
            client = await context.__aenter__()
            await client.send(wire.Text("count to 200"))
            await until(client, wire.Token)
            late = asyncio.create_task(until_closed(client))
        frames, code = await late
    assert ([done.reason for done in of(frames, wire.Done)], code) == (["cancelled"], 1001)
    await context.__aexit__(None, None, None)
