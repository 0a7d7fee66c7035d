"""Sessions over the native socket: resumed, taken over, full, drained; and what is refused in them."""

from __future__ import annotations

import asyncio
import itertools

import aiohttp
import pytest
from conftest import Served, fakes, serving
from talking import WAIT_S, heard_nothing_more, of, pcm, speak, until, until_closed

from riposte.backends.fake import FAIL_ASR, FAIL_LLM, FAIL_TTS
from riposte.client.client import Client, connect
from riposte.errors import BadValue, Busy, UnknownSession, UnsupportedVersion
from riposte.wire import frames as wire

# -- sessions


async def test_a_session_is_resumed_with_its_conversation_and_its_count(served: Served) -> None:
    async with connect(served.ws_url) as client:
        first = [frame async for frame in client.turn("remember the milk")]
        session = client.session
    async with connect(served.ws_url, session=session) as client:
        assert client.ready.resumed
        assert client.session == session
        frames = [frame async for frame in client.turn("go on")]
        assert frames[-1].turn == 2
        assert frames[-1].usage.prompt_tokens > first[-1].usage.prompt_tokens
        assert frames[-1].usage.cached_tokens > 0


async def test_a_full_conversation_loses_its_oldest_half_and_goes_on() -> None:
    profile = fakes(llm={"context_tokens": 120})
    async with (
        serving(profile, llm__instructions="") as served,
        connect(served.ws_url, modalities=["text"], max_tokens=30) as client,
    ):
        prompts = []
        for index in range(12):
            done = [f async for f in client.turn(f"sentence number {index} of this talk")][-1]
            assert done.reason == "stop"
            prompts.append(done.usage.prompt_tokens)
        assert max(prompts) < 120
        drops = [b for a, b in itertools.pairwise(prompts) if b < a]
        assert drops  # it shrank, by about half, and not at every turn
        assert len(drops) < len(prompts) / 2
        text = "x " * 150
        frames = [f async for f in client.turn(text)]
        assert (of(frames, wire.Error)[0].code, frames[-1].reason) == ("too_large", "error")
        done = [f async for f in client.turn("still there")][-1]
        assert done.usage.prompt_tokens > 30  # what was said before is not lost for it


async def test_an_unknown_session_is_refused(served: Served) -> None:
    with pytest.raises(UnknownSession):
        async with connect(served.ws_url, session="nobody"):
            pass


async def test_the_longest_unused_comes_back_when_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riposte.sessions.KEPT", 2)
    async with serving(fakes(), history__enabled=False) as served:
        sessions = []
        for _ in range(2):
            async with connect(served.ws_url) as client:
                sessions.append(client.session)
        for session in sessions:  # to come back takes nobody's place
            async with connect(served.ws_url, session=session) as client:
                assert client.ready.resumed


async def test_a_newer_socket_takes_a_session_over(served: Served) -> None:
    async with connect(served.ws_url) as old, connect(served.ws_url, session=old.session) as new:
        _, close_code = await until_closed(old)
        assert close_code == 4001
        frames = [frame async for frame in new.turn("still here")]
        assert frames[-1].reason == "stop"


async def test_a_turn_ends_before_its_socket_is_taken_over(slow: Served) -> None:
    async with connect(slow.ws_url) as old:
        await old.send(wire.Text("count to 200"))
        await until(old, wire.AudioOut)
        async with connect(slow.ws_url, session=old.session) as new:
            frames, close_code = await until_closed(old)
            assert ([f.reason for f in of(frames, wire.Done)], close_code) == (["cancelled"], 4001)
            assert [frame async for frame in new.turn("here")][-1].turn == 2


async def test_a_turn_out_of_time_to_drain_still_ends() -> None:
    async with serving(fakes(llm={"token_s": 0.05}), server__drain_s=0.1) as served:
        context = connect(served.ws_url, modalities=["text"])
        client = await context.__aenter__()
        await client.send(wire.Text("count to 200"))
        await until(client, wire.Token)
        silent = aiohttp.ClientSession()
        socket = await silent.ws_connect(served.ws_url)  # never says hello
        late = asyncio.create_task(until_closed(client))
        unheard = asyncio.create_task(socket.receive(WAIT_S))
    frames, close_code = await late
    assert ([f.reason for f in of(frames, wire.Done)], close_code) == (["cancelled"], 1001)
    await unheard
    assert socket.close_code == 1001
    await silent.close()
    await context.__aexit__(None, None, None)


async def test_a_later_hello_patches_the_settings(client: Client) -> None:
    await client.send(wire.Hello(audio_out_hz=8_000, modalities=["audio"]))
    assert (await until(client, wire.Ready))[-1].audio_out_hz == 8_000
    frames = [frame async for frame in client.turn("sound alone")]
    assert not of(frames, wire.Token)
    assert of(frames, wire.AudioOut)
    await client.send(wire.Hello(audio_out_hz=None))
    assert (await until(client, wire.Ready))[-1].audio_out_hz == 16_000


async def test_a_full_house_is_told_when_to_come_back() -> None:
    async with (
        serving(server__fake=True, limits__sessions=1) as served,
        connect(served.ws_url) as first,
    ):
        with pytest.raises(Busy, match="try again"):
            async with connect(served.ws_url):
                pass
        assert [frame async for frame in first.turn("still fine")][-1].reason == "stop"


async def test_a_client_that_leaves_in_mid_turn_leaves_nothing_behind(slow: Served) -> None:
    async with connect(slow.ws_url) as client:
        await client.send(wire.Text("count to 200"))
        await until(client, wire.Token)
        session = client.session
    async with connect(slow.ws_url, session=session) as client:
        frames = [frame async for frame in client.turn("back again")]
        assert (frames[-1].turn, frames[-1].reason) == (2, "stop")


async def test_draining_finishes_turns_and_refuses_new_ones() -> None:
    async with serving(fakes(llm={"token_s": 0.01}), server__drain_s=5.0) as served:
        context = connect(served.ws_url, modalities=["text"])
        client = await context.__aenter__()
        await client.send(wire.Text("count to 30"))
        await until(client, wire.Token)
        late = asyncio.create_task(until_closed(client))
    frames, close_code = await late
    assert of(frames, wire.Done)[0].reason == "stop"
    assert "draining" in [frame.code for frame in of(frames, wire.Error)]
    assert close_code == 1001
    await context.__aexit__(None, None, None)


# -- errors


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"version": 2}, UnsupportedVersion),
        ({"audio_in_hz": 100}, BadValue),
        ({"audio_out_hz": 96_000}, BadValue),
        ({"temperature": -0.1}, BadValue),
        ({"temperature": float("nan")}, BadValue),
        ({"max_tokens": 0}, BadValue),
        ({"patience": 1.5}, BadValue),
        ({"modalities": []}, BadValue),
    ],
)
async def test_a_hello_out_of_range_is_refused(served: Served, settings: dict, error: type) -> None:
    with pytest.raises(error):
        async with connect(served.ws_url, **settings):
            pass


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (wire.Say("x", "nobody's voice"), "unknown_voice"),
        (wire.Hello(voice="nobody's voice"), "unknown_voice"),
        (wire.Hello(language="xx"), "unavailable"),
        (wire.Text("x" * 4_001), "too_large"),
        (wire.AudioIn(bytes(2 * 16_001)), "too_large"),
        (wire.Played(1, -1), "bad_value"),
        (wire.ToolResult("a", "b"), "bad_value"),
    ],
)
async def test_a_refused_frame_leaves_the_connection_well(client: Client, frame: object, code: str) -> None:
    await client.send(frame)
    assert [f.code for f in await heard_nothing_more(client)] == [code]
    assert [f async for f in client.turn("all is well")][-1].reason == "stop"


@pytest.mark.parametrize(("text", "said"), [(FAIL_LLM, 1), (FAIL_TTS, 1)])
async def test_a_failing_model_ends_its_turn_in_an_error(client: Client, text: str, said: int) -> None:
    frames = [frame async for frame in client.turn(f"please fail now {text}")]
    assert [frame.code for frame in of(frames, wire.Error)] == ["engine"]
    assert frames[-1].reason == "error"
    assert [frame async for frame in client.turn("and on")][-1].reason == "stop"


async def test_failing_ears_end_the_turn_in_an_error(served: Served) -> None:
    async with connect(served.ws_url, turn_detection="none") as client:
        await speak(client, pcm(FAIL_ASR))
        await client.send(wire.End())
        frames = await until(client, wire.Done)
        assert (of(frames, wire.Error)[0].code, frames[-1].reason) == ("engine", "error")


async def test_a_model_that_says_nothing_is_given_up() -> None:
    async with (
        serving(fakes(llm={"token_s": 30.0}), turn__llm_deadline_s=0.1) as served,
        connect(served.ws_url) as client,
    ):
        frames = [frame async for frame in client.turn("anybody there")]
        assert (of(frames, wire.Error)[0].code, frames[-1].reason) == ("engine", "error")


async def test_audio_beyond_what_may_wait_is_refused_and_the_rest_kept() -> None:
    async with (
        serving(server__fake=True, limits__audio_waiting_s=2.0) as served,
        connect(served.ws_url, turn_detection="none") as client,
    ):
        await speak(client, pcm("short"))
        held = 0
        while not (errors := of(await heard_nothing_more(client), wire.Error)):
            await client.send(wire.AudioIn(bytes(16_000)))
            held += 1
            assert held < 10
        assert errors[0].code == "too_large"
        await client.send(wire.End())
        frames = await until(client, wire.Done)
        assert of(frames, wire.Transcript)[-1].text == "short"


async def test_turns_beyond_the_rate_are_refused() -> None:
    async with (
        serving(server__fake=True, limits__turns_per_minute=2) as served,
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        for _ in range(2):
            assert [frame async for frame in client.turn("ok")]
        await client.send(wire.Text("one too many"))
        assert [frame.code for frame in await heard_nothing_more(client)] == ["rate_limited"]
