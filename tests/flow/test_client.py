"""The Python client against a whole server with fake models: what it raises, and its typed turns."""

from __future__ import annotations

import pytest
from conftest import Served, serving

from riposte.client import CannotConnect, Closed, connect
from riposte.errors import TooLarge, UnknownSession
from riposte.wire.frames import Cancel, Done, Mark, Token

PATIENCE_S = 10.0
KEY = "sixteen characters and more"


@pytest.mark.parametrize("json", [False, True])
async def test_a_turn_is_tokens_and_a_done(served: Served, json: bool) -> None:
    async with connect(served.ws_url, json=json, modalities=["text"]) as client:
        for number in (1, 2):
            frames = [frame async for frame in client.turn("hello")]
            assert "".join(frame.text for frame in frames if isinstance(frame, Token)) == "You said: hello"
            assert isinstance(frames[-1], Done)
            assert {frame.turn for frame in frames if isinstance(frame, Token | Done)} == {number}


async def test_a_refused_turn_raises_and_the_next_one_runs(served: Served) -> None:
    async with connect(served.ws_url, modalities=["text"]) as client:
        with pytest.raises(TooLarge, match="4001 characters"):
            await anext(client.turn("m" * 4001))
        assert [frame async for frame in client.turn("hello")]


async def test_what_is_left_of_an_earlier_turn_is_dropped(served: Served) -> None:
    async with connect(served.ws_url, modalities=["text"]) as client:
        turn = client.turn("count to 3000")
        first = await anext(turn)
        await turn.aclose()
        await client.send(Cancel())
        frames = [frame async for frame in client.turn("hello")]
    assert isinstance(first, Token)
    assert {frame.turn for frame in frames if isinstance(frame, Token | Done)} == {first.turn + 1}


async def test_receive_gives_up_in_time_and_loses_nothing(served: Served) -> None:
    async with connect(served.ws_url) as client:
        with pytest.raises(TimeoutError):
            await client.receive(0.01)
        await client.send(Mark(7))
        assert await client.receive(PATIENCE_S) == Mark(7)


async def test_a_closed_connection_ends_the_frames_and_refuses_more(served: Served) -> None:
    async with connect(served.ws_url) as client:
        await client.close()
        assert [frame async for frame in client] == []
        with pytest.raises(Closed):
            await client.send(Cancel())
        with pytest.raises(Closed):
            await client.receive(PATIENCE_S)


async def test_the_servers_refusal_is_raised_by_its_name(served: Served) -> None:
    with pytest.raises(UnknownSession):
        async with connect(served.ws_url, session="nobody"):
            pass


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("{url}/nothing", "refused with status 404: there is no such path; the native socket is /ws"),
        ("ws://127.0.0.1:9/ws", "no server answers at ws://127.0.0.1:9/ws; start one with `riposte serve`"),
        ("nonsense", "nonsense is no address of a server; ws://127.0.0.1:8000/ws is one"),
    ],
)
async def test_no_connection_is_told_in_a_sentence(served: Served, url: str, sentence: str) -> None:
    with pytest.raises(CannotConnect) as caught:
        async with connect(url.format(url=served.ws_url)):
            pass
    assert str(caught.value).endswith(sentence)


async def test_a_key_opens_the_door() -> None:
    async with serving(server__fake=True, server__drain_s=0.0, server__keys=[KEY]) as served:
        with pytest.raises(CannotConnect, match="status 401: the key is wrong or missing"):
            async with connect(served.ws_url, key="another one"):
                pass
        async with connect(served.ws_url, key=KEY) as client:
            assert client.session
