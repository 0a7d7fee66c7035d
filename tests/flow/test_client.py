"""The Python client against a whole server with fake models: what it raises, and its typed turns."""

from __future__ import annotations

import asyncio

import pytest
from conftest import Served, serving
from talking import pcm

from riposte.client import CannotConnect, Closed, TimedOut, connect
from riposte.errors import TooLarge, UnknownSession
from riposte.wire.frames import Cancel, Done, Mark, Token, ToolCall, Transcript

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
        frames = [frame async for frame in client.turn("hello")]
    assert isinstance(first, Token)
    assert {frame.turn for frame in frames if isinstance(frame, Token | Done)} == {first.turn + 1}


async def test_leaving_a_turn_cancels_it(slow: Served) -> None:
    async with connect(slow.ws_url, modalities=["text"]) as client:
        async for frame in client.turn("count to 3000"):
            assert isinstance(frame, Token)
            break
        frames = [await client.receive(PATIENCE_S)]
        while not isinstance(frames[-1], Done):
            frames.append(await client.receive(PATIENCE_S))
        assert frames[-1].reason == "cancelled"
        await client.mark(PATIENCE_S)


async def test_turns_that_are_left_unseen_leave_nothing_behind(slow: Served) -> None:
    async with connect(slow.ws_url, modalities=["text"]) as client:
        for _ in range(3):
            with pytest.raises(TimedOut):
                await client.turn("count to 3000", silence_s=0.0).reply()
        assert (await client.turn("hello").reply()).text == "You said: hello"


async def test_a_reply_is_words_and_sound(served: Served) -> None:
    async with connect(served.ws_url) as client:
        reply = await client.turn("hello").reply()
        assert (reply.text, reply.transcript, reply.done.reason) == ("You said: hello", "", "stop")
        assert len(reply.pcm) // 2 * 1000 // reply.rate_hz == reply.done.usage.audio_ms > 0
        said = await client.say("Dinner", voice="high").reply()
        assert (said.text, said.done.turn) == ("", 2)
        assert said.pcm


async def test_pushing_to_talk(served: Served) -> None:
    async with connect(served.ws_url, turn_detection="none", modalities=["text"]) as client:
        reply = await client.speak(pcm("good day")).reply()
        assert (reply.transcript, reply.text) == ("good day", "You said: good day")
        pieces = [pcm("and good night")[at : at + 999] for at in range(0, 60_000, 999)]
        assert (await client.speak(pieces).reply()).transcript == "and good night"


async def test_listening_hands_free(served: Served) -> None:
    sound = pcm("good day", tail_s=1.0) + pcm("good night", tail_s=1.0)
    async with connect(served.ws_url, modalities=["text"]) as client:
        frames = [frame async for frame in client.listen(sound, tail_s=0.2)]
    heard = [frame.text for frame in frames if isinstance(frame, Transcript) and frame.final]
    assert heard[-1].endswith("good night")
    assert len([frame for frame in frames if isinstance(frame, Done)]) == len(
        {frame.turn for frame in frames if isinstance(frame, Token | Transcript | Done)}
    )


async def set_light(room: str) -> dict[str, str]:
    """Switch a light on."""
    if room == "cellar":
        raise ValueError("there is no cellar")
    return {"room": room, "state": "on"}


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_functions_answer_the_models_calls(served: Served) -> None:
    settings = {"modalities": ["text"], "tools": [set_light, hangs], "tool_s": 0.05}
    async with connect(served.ws_url, **settings) as client:
        for asked, told in (
            ('set_light {"room": "hall"}', '{"room": "hall", "state": "on"}'),
            ('set_light {"room": "cellar"}', '{"error": "there is no cellar"}'),
            ("hangs {}", '{"error": "hangs took over 0.05 s"}'),
        ):
            reply = await client.turn(f"#tool {asked}").reply()
            assert reply.text == f"The tool says: {told}"
        await client.configure(tools=[])
        assert (await client.turn("#tool hangs {}").reply()).text == "You said: #tool hangs {}"


async def test_a_call_is_interrupted_by_leaving_its_turn(served: Served) -> None:
    ended = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with (
        asyncio.timeout(PATIENCE_S),
        connect(served.ws_url, modalities=["text"], tools=[waits]) as client,
    ):
        async with client.turn("#tool waits {}") as turn:
            assert isinstance(await anext(turn), ToolCall)
            await asyncio.sleep(0)  # the call has begun
        assert (await client.turn("hello").reply()).text == "You said: hello"
        await ended.wait()


async def test_a_broken_connection_is_resumed_in_the_same_session(served: Served) -> None:
    async with connect(served.ws_url, modalities=["text"]) as client:
        session = client.session
        await client.turn("hello").reply()
        client._socket._response.connection.transport.abort()
        with pytest.raises(Closed):
            await client.receive(PATIENCE_S)
        assert (await client.resume()).resumed
        assert (client.session, (await client.turn("hello").reply()).done.turn) == (session, 2)


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
        ("ftp://box", "'ftp://box' is no address of a server; ws://127.0.0.1:8000/ws is one"),
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
