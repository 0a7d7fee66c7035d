"""Conversations that outlive the server: restarts, `kill -9`, a failing disk; the routes that show them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import Served, fakes, serving
from disk import fill, holds
from talking import of, tokens, until, until_closed

from riposte.backends.fake import HANG_LLM
from riposte.client.client import Client, Closed, connect
from riposte.errors import ConfigError, EngineError, UnknownSession
from riposte.history import FILE
from riposte.wire import frames as wire

START_S = 60.0


@asynccontextmanager
async def keeping(folder: Path, **flags: Any) -> AsyncIterator[Served]:
    async with serving(fakes(tts={"char_ms": 5}), server__data_dir=str(folder), **flags) as served:
        yield served


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server in a process of its own, with fakes."""
    command = (sys.executable, "-m", "riposte.cli", "serve", "--fake", "--port", "0", "--data", str(folder))
    environ = os.environ | {"RIPOSTE_HISTORY_DEADLINE_MS": "10000"}
    server = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environ
    )
    try:
        assert server.stdout is not None
        async with asyncio.timeout(START_S):
            line = (await server.stdout.readline()).decode()
        yield server, line.removeprefix("ready on http").strip()
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


async def said(client: Client, text: str) -> list[wire.ServerFrame]:
    return [frame async for frame in client.turn(text)]


async def asked(served: Served, method: str, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.request(method, served.url + path) as answer:
        return answer.status, await answer.json() if answer.content_length else None


async def chat(served: Served, message: str, session: str = "kitchen") -> tuple[int, Any]:
    body = {"message": message, "session_id": session}
    async with aiohttp.ClientSession() as http, http.post(f"{served.url}/chat", json=body) as answer:
        return answer.status, await answer.json()


async def test_a_session_is_resumed_after_a_restart_with_its_words_settings_and_count(tmp_path: Path) -> None:
    async with (
        keeping(tmp_path) as served,
        connect(served.ws_url, modalities=["text"], instructions="Be brief.") as client,
    ):
        await said(client, "remember the milk")
        prompt = (await said(client, "and the bread"))[-1].usage.prompt_tokens
        session = client.session
    async with keeping(tmp_path) as served, connect(served.ws_url, session=session) as client:
        assert client.ready.resumed
        assert client.session == session
        frames = await said(client, "go on")
        assert frames[-1].turn == 3
        assert frames[-1].usage.prompt_tokens > prompt
        assert not of(frames, wire.AudioOut)  # text alone was asked for, before the restart
    async with keeping(tmp_path) as served:
        _, export = await asked(served, "GET", f"/sessions/{session}")
    assert [turn["user"] for turn in export["turns"]] == ["remember the milk", "and the bread", "go on"]
    assert export["settings"] == {"modalities": ["text"], "instructions": "Be brief."}


async def test_no_turn_whose_done_was_sent_is_lost_by_a_kill(tmp_path: Path) -> None:
    async with process(tmp_path) as (server, address):
        async with connect(f"ws{address}/ws", modalities=["text"]) as client:
            session = client.session
            ended = 0
            # Turn after turn, without a pause; the kill falls where it falls.
            loop = asyncio.get_running_loop()
            loop.call_later(0.4, server.send_signal, signal.SIGKILL)
            with contextlib.suppress(Closed):
                while True:
                    await said(client, f"sentence {ended + 1}")
                    ended += 1
        await server.wait()
        assert server.returncode == -signal.SIGKILL
    assert ended > 3
    async with process(tmp_path) as (server, address):
        async with aiohttp.ClientSession() as http, http.get(f"http{address}/sessions/{session}") as answer:
            export = await answer.json()
        async with connect(f"ws{address}/ws", session=session) as client:
            assert client.ready.resumed
            done = (await said(client, "go on"))[-1]
    kept = [turn["user"] for turn in export["turns"]]
    assert kept[:ended] == [f"sentence {number + 1}" for number in range(ended)]
    # The last may have reached the disk while its `done` did not reach us.
    assert len(kept) <= ended + 1
    assert done.turn == len(kept) + 1


async def test_a_stop_keeps_what_was_heard_of_the_reply_in_progress(tmp_path: Path) -> None:
    async with (
        serving(fakes(llm={"token_s": 0.01}), server__data_dir=str(tmp_path), server__drain_s=0.0) as served,
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        session = client.session
        await client.send(wire.Text("count to 500"))
        await until(client, wire.Token)
    async with keeping(tmp_path) as served:
        _, export = await asked(served, "GET", f"/sessions/{session}")
    (turn,) = export["turns"]
    assert turn["user"] == "count to 500"
    assert turn["reply"].startswith("1,")


async def test_who_comes_back_before_the_turn_before_has_ended_finds_it(tmp_path: Path) -> None:
    slow = {"turn__stop_deadline_s": 0.3, "limits__session_kept_s": 0.0, "server__data_dir": str(tmp_path)}
    async with serving(fakes(llm={"deaf": True}), **slow) as served:
        async with connect(served.ws_url, modalities=["text"]) as client:
            await client.send(wire.Text(f"the first {HANG_LLM}"))
            await until(client, wire.Token)
        async with connect(served.ws_url, session=client.session) as client:
            assert (await said(client, "the second"))[-1].turn == 2
        _, export = await asked(served, "GET", f"/sessions/{client.session}")
    assert [turn["turn"] for turn in export["turns"]] == [1, 2]


async def test_what_was_played_is_corrected_on_disk_after_done(tmp_path: Path) -> None:
    async with serving(fakes(), server__data_dir=str(tmp_path)) as served, connect(served.ws_url) as client:
        await client.send(wire.Text("one two three four five six seven eight nine ten"))
        await until(client, wire.AudioOut)
        await client.send(wire.Cancel())
        await until(client, wire.Done)
        await client.send(wire.Played(1, 0))
        await client.send(wire.Mark(1))
        await until(client, wire.Mark)
        _, export = await asked(served, "GET", f"/sessions/{client.session}")
    assert [turn["reply"] for turn in export["turns"]] == [""]


async def test_a_chat_goes_on_after_a_restart_and_a_socket_of_its_own_does_not(tmp_path: Path) -> None:
    async with keeping(tmp_path) as served:
        await chat(served, "my name is Anna")
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{served.url}/ws/chat") as socket:
            await socket.send_str("a passing word")
            while (await socket.receive_json())["type"] != "done":
                pass
    async with keeping(tmp_path) as served:
        assert (await chat(served, "what is my name"))[0] == 200
        _, listed = await asked(served, "GET", "/sessions")
        (session,) = listed
        assert (session["kind"], session["name"], session["turns"]) == ("chat", "kitchen", 2)
        _, export = await asked(served, "GET", f"/sessions/{session['id']}")
        assert [turn["user"] for turn in export["turns"]] == ["my name is Anna", "what is my name"]
        with pytest.raises(UnknownSession):  # a chat is not reached through the native socket
            async with connect(served.ws_url, session=session["id"]):
                pass


async def test_two_requests_at_once_share_one_stored_chat(tmp_path: Path) -> None:
    async with keeping(tmp_path) as served:
        await chat(served, "first")
    async with keeping(tmp_path) as served:
        await asyncio.gather(*(chat(served, f"number {number}") for number in range(5)))
        await asyncio.gather(*(chat(served, f"new {number}", "hall") for number in range(5)))
        _, listed = await asked(served, "GET", "/sessions")
    assert {session["name"]: session["turns"] for session in listed} == {"kitchen": 6, "hall": 5}


async def test_a_deleted_session_is_gone_and_its_client_is_hung_up_on(tmp_path: Path) -> None:
    async with keeping(tmp_path) as served:
        async with connect(served.ws_url, modalities=["text"]) as client:
            await said(client, "forget this")
            session = client.session
            assert (await asked(served, "GET", "/sessions"))[1][0]["connected"]
            assert (await asked(served, "DELETE", f"/sessions/{session}"))[0] == 204
            assert (await until_closed(client))[1] == 1000
        assert (await asked(served, "GET", f"/sessions/{session}"))[0] == 404
        status, body = await asked(served, "DELETE", f"/sessions/{session}")
        assert (status, body["error"]["code"]) == (404, "unknown_session")
        assert (await asked(served, "GET", "/sessions"))[1] == []
        with pytest.raises(UnknownSession):
            async with connect(served.ws_url, session=session):
                pass
    assert not holds(tmp_path, "forget this")


async def test_a_deleted_session_does_not_come_back(tmp_path: Path) -> None:
    slow = {"turn__stop_deadline_s": 0.3, "server__data_dir": str(tmp_path)}
    async with serving(fakes(llm={"deaf": True}), **slow) as served:
        async with connect(served.ws_url, modalities=["text"]) as client:
            await said(client, "an old secret")
            await client.send(wire.Text(f"a new secret {HANG_LLM}"))
            await until(client, wire.Token)
            await asyncio.sleep(0.1)  # then the turn is given up after the session is gone from the disk
            deleting = asyncio.create_task(asked(served, "DELETE", f"/sessions/{client.session}"))
            while (listed := (await asked(served, "GET", "/sessions"))[1]) and listed[0]["connected"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            with pytest.raises(UnknownSession):
                async with connect(served.ws_url, session=client.session):
                    pass
            assert (await deleting)[0] == 204
            await until_closed(client)  # its turn has ended
        assert (await asked(served, "GET", "/sessions"))[1] == []
    assert not holds(tmp_path, "secret")


async def test_a_chat_deleted_while_turns_wait_for_it_begins_anew(tmp_path: Path) -> None:
    async with serving(fakes(llm={"token_s": 0.02}), server__data_dir=str(tmp_path)) as served:
        await chat(served, "the old secret")
        waiting = [asyncio.create_task(chat(served, f"count to {30 + number}")) for number in range(3)]
        while not (await asked(served, "GET", "/sessions"))[1][0]["connected"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        _, (old,) = await asked(served, "GET", "/sessions")
        await asked(served, "DELETE", f"/sessions/{old['id']}")
        statuses = sorted([(await one)[0] for one in waiting])
        _, (new,) = await asked(served, "GET", "/sessions")
        _, export = await asked(served, "GET", f"/sessions/{new['id']}")
    assert statuses == [200, 200, 503]  # the one in progress was cut short
    assert new["id"] != old["id"]
    assert "the old secret" not in [turn["user"] for turn in export["turns"]]


async def test_switched_off_nothing_is_written_and_the_routes_say_so(tmp_path: Path) -> None:
    async with keeping(tmp_path, history__enabled=False) as served:
        async with connect(served.ws_url, modalities=["text"]) as client:
            assert (await said(client, "hello"))[-1].reason == "stop"
        status, body = await asked(served, "GET", "/sessions")
        assert (status, body["error"]["code"]) == (400, "unavailable")
        _, health = await asked(served, "GET", "/health")
        assert health["status"] == "healthy"
        assert "database" not in health
    assert os.listdir(tmp_path) == []


async def test_too_many_sessions_lose_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riposte.sessions.EXPIRE_EVERY_S", 0.0)
    async with keeping(tmp_path, history__sessions=2) as served:
        for name in ("one", "two", "three"):
            await chat(served, "hello", name)
        await chat(served, "hello", "three")  # looks for old ones
        _, listed = await asked(served, "GET", "/sessions")
    assert [session["name"] for session in listed] == ["three", "two"]


BIG = "word " * 790  # more than a page


async def test_a_full_disk_is_an_error_of_the_turn_and_of_health_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(tmp_path):
        pass
    with monkeypatch.context() as patch:
        fill(patch)
        async with keeping(tmp_path) as served, connect(served.ws_url, modalities=["text"]) as client:
            frames: list[wire.ServerFrame] = []
            for _ in range(8):  # until the pages that there are have been filled
                frames = await said(client, BIG)
                if frames[-1].reason == "error":
                    break
            (error,) = of(frames, wire.Error)
            assert frames[-1].reason == "error"
            assert tokens(frames)  # the reply itself came
            assert (error.code, error.turn) == ("engine", frames[-1].turn)
            assert "disk is full" in error.message
            status, health = await asked(served, "GET", "/health")
            assert (status, health["status"], health["database"]) == (503, "unhealthy", False)
            assert health["problem"] == "history: database or disk is full"
            with pytest.raises(EngineError, match="disk is full"):
                await said(client, "hello")
            assert (await chat(served, "hello"))[0] == 503
            patch.undo()
            while (await asked(served, "GET", "/health"))[0] != 200:  # noqa: ASYNC110  it tries again when asked
                await asyncio.sleep(0.01)
            assert (await said(client, "hello"))[-1].reason == "stop"
            lost = frames[-1].turn
            _, export = await asked(served, "GET", f"/sessions/{client.session}")
            assert lost in [turn["turn"] for turn in export["turns"]]  # written after all


async def test_a_server_that_may_go_on_without_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file"  # no folder can be made here
    async with keeping(folder, history__required=False) as served:
        async with connect(served.ws_url, modalities=["text"]) as client:
            assert (await said(client, "hello"))[-1].reason == "stop"
        assert [(await chat(served, "hello"))[0] for _ in range(2)] == [200, 200]
        status, health = await asked(served, "GET", "/health")
        assert (status, health["status"], health["database"]) == (200, "healthy", False)
        assert health["problem"].startswith("history: ")
        assert (await asked(served, "GET", "/sessions"))[0] == 503


async def test_a_server_that_must_keep_history_and_cannot_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"history.sqlite3 cannot be used: .*; another folder fits"):
        async with keeping(tmp_path / "file"):
            pass


async def test_the_database_can_be_read_while_the_server_runs(tmp_path: Path) -> None:
    async with keeping(tmp_path) as served:
        await chat(served, "hello")
        reader = sqlite3.connect(tmp_path / FILE)
        assert reader.execute("SELECT user FROM turns").fetchall() == [("hello",)]
        await chat(served, "hello again")
        reader.close()
