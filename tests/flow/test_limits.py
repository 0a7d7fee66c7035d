"""Limits that all clients of a server share: audio that is held, requests, wrong keys, places."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from conftest import fakes, serving
from talking import WAIT_S, heard_nothing_more, of, pcm, speak, until, until_closed
from test_http import chat, http
from test_http_guards import KEY, PAGE, bearer, code_of

from riposte.backends.fake import HANG_LLM
from riposte.client.client import connect
from riposte.turn.admission import Admission
from riposte.wire import frames as wire

__all__ = ["http"]  # a fixture

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def test_audio_of_all_clients_together_is_bounded() -> None:
    async with (
        serving(server__fake=True, limits__audio_total_s=3.0) as served,
        connect(served.ws_url, turn_detection="none", modalities=["text"]) as one,
        connect(served.ws_url, turn_detection="none", modalities=["text"]) as other,
    ):
        await speak(one, pcm("hello"))
        await one.send(wire.AudioIn(bytes(32_000)))
        await one.send(wire.AudioIn(bytes(32_000)))
        assert not await heard_nothing_more(one)
        # The other's second does not fit any more, whatever its own limit; what it holds stays.
        await speak(other, pcm("me"))
        await other.send(wire.AudioIn(bytes(32_000)))
        (refusal,) = of(await heard_nothing_more(other), wire.Error)
        assert (refusal.code, "3 s of its clients' audio" in refusal.message) == ("too_large", True)
        # One's turn makes room.
        await one.send(wire.End())
        assert of(await until(one, wire.Done), wire.Transcript)[-1].text == "hello"
        await other.send(wire.AudioIn(bytes(32_000)))
        await other.send(wire.End())
        frames = await until(other, wire.Done)
        assert not of(frames, wire.Error)
        assert of(frames, wire.Transcript)[-1].text == "me"


async def test_a_client_that_leaves_gives_its_audio_back() -> None:
    async with serving(server__fake=True, limits__audio_total_s=1.0) as served:
        for _ in range(3):
            async with connect(served.ws_url, turn_detection="none") as client:
                await client.send(wire.AudioIn(bytes(32_000)))
                assert not await heard_nothing_more(client)


async def test_an_utterance_that_finds_no_room_ends_with_what_it_has() -> None:
    async with (
        serving(fakes(tts={"char_ms": 5}), limits__audio_total_s=1.0, turn__stalled_ms=100) as served,
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        await speak(client, pcm("hello and a lot of words that nobody has any room for"))
        frames = await until(client, wire.Done)
        assert {frame.code for frame in of(frames, wire.Error)} == {"too_large"}
        assert frames[-1].reason == "stop"
        assert of(frames, wire.Transcript)[-1].text.startswith("hello")


async def test_who_asks_too_often_is_told_when_to_come_back(http: aiohttp.ClientSession) -> None:
    async with serving(server__fake=True, limits__requests_per_minute=3) as served:
        for name in ("a", "b", "c"):  # inventing names gains nothing
            async with http.post(f"{served.url}/chat", json=chat("hi", name)) as answer:
                assert answer.status == 200
        for method, path in (("POST", "/chat"), ("POST", "/tts"), ("GET", "/voices"), ("GET", "/nothing")):
            async with http.request(method, f"{served.url}{path}", json=chat("hi", "d")) as answer:
                assert (answer.status, await code_of(answer)) == (429, "rate_limited")
                assert 0 < int(answer.headers["Retry-After"]) <= 20
        for path in ("/ws", "/ws/chat"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(f"{served.url}{path}")
            assert caught.value.status == 429
        async with http.get(f"{served.url}/health") as answer:  # who watches over it still may
            assert answer.status == 200


async def test_lines_count_as_requests(http: aiohttp.ClientSession) -> None:
    async with (
        serving(server__fake=True, limits__requests_per_minute=3) as served,
        http.ws_connect(f"{served.url}/ws/chat") as socket,
    ):
        codes = []
        for name in ("a", "b", "c"):
            await socket.send_json(chat("hi", name))
            while (message := await socket.receive_json(timeout=WAIT_S))["type"] == "token":
                pass
            codes.append(message.get("code"))
        assert codes == [None, None, "rate_limited"]


async def test_each_key_has_an_allowance_of_its_own(http: aiohttp.ClientSession) -> None:
    keys = [KEY, "another key of sixteen characters"]
    async with serving(server__fake=True, server__keys=keys, limits__requests_per_minute=1) as served:
        statuses = []
        for key in (*keys, *keys):
            async with http.get(f"{served.url}/voices", headers=bearer(key)) as answer:
                statuses.append(answer.status)
    assert statuses == [200, 200, 429, 429]


async def test_guessing_keys_is_slow_even_for_who_guesses_right(http: aiohttp.ClientSession) -> None:
    async with serving(server__fake=True, server__keys=[KEY], limits__wrong_keys_per_minute=2) as served:
        statuses = []
        for headers in ({}, {}, {}, bearer("wrong"), bearer(), bearer("wrong"), bearer("wrong"), bearer()):
            async with http.get(f"{served.url}/voices", headers=headers) as answer:
                statuses.append(answer.status)
                last = answer.headers.get("Retry-After")
    assert statuses == [401, 401, 401, 401, 200, 401, 429, 429]  # none is no guess
    assert last is not None


async def test_a_listed_page_may_read_that_it_asked_too_often(http: aiohttp.ClientSession) -> None:
    flags = {"server__origins": [PAGE], "limits__requests_per_minute": 1}
    async with serving(server__fake=True, **flags) as served:
        for status in (200, 429):
            async with http.get(f"{served.url}/voices", headers={"Origin": PAGE}) as answer:
                assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, PAGE)


async def test_sockets_that_say_nothing_are_bounded_too(http: aiohttp.ClientSession) -> None:
    async with serving(server__fake=True, limits__sockets=2, server__drain_s=0.0) as served:
        silent = [await http.ws_connect(f"{served.url}{path}") for path in ("/ws", "/ws/chat")]
        for path in ("/ws", "/ws/chat"):
            async with http.get(f"{served.url}{path}", headers=UPGRADE) as answer:
                assert (answer.status, await code_of(answer)) == (503, "busy")
        await silent[1].close()
        async with connect(served.ws_url, modalities=["text"]) as client:
            assert [frame async for frame in client.turn("hello")][-1].reason == "stop"
        await silent[0].close()


async def test_a_conversation_that_is_known_needs_a_place_too(http: aiohttp.ClientSession) -> None:
    profile = fakes(llm={"token_s": 0.01})
    async with serving(profile, limits__sessions=1, server__drain_s=0.0) as served:
        async with http.post(f"{served.url}/chat", json=chat("hi", "known")) as answer:
            assert answer.status == 200
        async with connect(served.ws_url):
            for path, body in (
                ("/chat", chat("hi", "known")),
                ("/chat", chat("hi", "new")),
                ("/tts", {"text": "x"}),
            ):
                async with http.post(f"{served.url}{path}", json=body) as answer:
                    assert (answer.status, await code_of(answer)) == (503, "busy")


async def test_of_two_that_take_a_session_over_at_once_one_has_it() -> None:
    async with (
        serving(fakes(llm={"token_s": 0.01}), server__drain_s=0.0) as served,
        connect(served.ws_url, modalities=["text"]) as old,
    ):
        await old.send(wire.Text("count to 500"))
        await until(old, wire.Token)
        one, other = (
            connect(served.ws_url, session=old.session),
            connect(served.ws_url, session=old.session),
        )
        clients = await asyncio.gather(one.__aenter__(), other.__aenter__())
        frames, code = await until_closed(old)
        assert ([f.reason for f in of(frames, wire.Done)], code) == (["cancelled"], 4001)
        ended = [asyncio.create_task(until_closed(client)) for client in clients]
        done, waiting = await asyncio.wait(ended, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [([], 4001)]
        (loser,) = (ended.index(task) for task in done)
        (rest,) = waiting
        rest.cancel()
        await asyncio.wait({rest})
        winner = clients[1 - loser]
        frames = [frame async for frame in winner.turn("here")]
        assert (frames[-1].turn, frames[-1].reason) == (2, "stop")
        await asyncio.gather(one.__aexit__(None, None, None), other.__aexit__(None, None, None))


async def test_a_turn_that_would_wait_for_others_is_refused_until_they_are_done(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "_delay_s", lambda self, turn: 1.2)  # what was measured of a slow model
    async with (
        serving(server__fake=True, limits__first_clause_wait_ms=50) as served,
        connect(served.ws_url) as one,
        connect(served.ws_url) as other,
    ):
        await one.send(wire.Text(f"wait for {HANG_LLM} please"))
        await heard_nothing_more(one)
        await other.send(wire.Text("hello"))
        (refusal,) = of(await heard_nothing_more(other), wire.Error)
        assert refusal.code == "busy"
        assert refusal.message.endswith("would wait 1200 ms; try again in 2 s")
        for path, body in (("/chat", {"message": "hello", "session_id": "me"}), ("/tts", {"text": "hello"})):
            async with http.post(f"{served.url}{path}", json=body) as answer:
                assert (answer.status, await code_of(answer)) == (503, "busy")
        async with http.get(f"{served.url}/metrics") as answer:
            assert "riposte_turns_refused_total 3.0" in await answer.text()
        await one.send(wire.Cancel())
        await until(one, wire.Done)
        await other.send(wire.Text("hello"))
        assert not of(await until(other, wire.Done), wire.Error)
