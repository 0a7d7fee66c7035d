"""The client against scripted servers: tools, deadlines, turns that are left, connections that break."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest
from scripted import Script, done, ready, scripted

from riposte.client import CannotConnect, Closed, TimedOut, connect
from riposte.errors import BadValue, EngineError, RiposteError
from riposte.wire import frames as wire

PATIENCE_S = 10.0


async def lights(room: str) -> dict[str, str]:
    """Switch the light of a room on."""
    return {"room": room, "state": "on"}


async def test_tools_are_offered_and_their_calls_answered() -> None:
    async def script(server: Script) -> None:
        hello = await server.greet()
        assert [entry["function"]["name"] for entry in hello.tools] == ["lights"]
        await server.expect(wire.Text)
        await server.send(wire.ToolCall(1, "c7", "lights", '{"room": "hall"}'))
        result = await server.expect(wire.ToolResult)
        assert (result.call, json.loads(result.content)) == ("c7", {"room": "hall", "state": "on"})
        await server.send(wire.Token(1, "It is on."), done(1))

    async with scripted(script) as url, connect(url, tools=[lights]) as client:
        frames = [frame async for frame in client.turn("light in the hall")]
        assert [type(frame) for frame in frames] == [wire.ToolCall, wire.Token, wire.Done]


async def test_a_slow_tool_holds_no_frame_back_and_ends_with_its_turn() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Text)
        await server.send(wire.ToolCall(1, "c1", "slow", "{}"), wire.Playback(1, 0.0))
        await server.expect(wire.Mark)
        await server.send(done(1, "interrupted"))
        await server.expect(wire.Cancel)
        assert not [frame for frame in server.heard if isinstance(frame, wire.ToolResult)]

    began, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with (
        asyncio.timeout(PATIENCE_S),
        scripted(script) as url,
        connect(url, tools=[slow]) as client,
        client.turn("hello") as turn,
    ):
        assert isinstance(await anext(turn), wire.ToolCall)
        assert isinstance(await anext(turn), wire.Playback)
        await began.wait()
        await client.send(wire.Mark(1))
        assert isinstance(await anext(turn), wire.Done)
        await ended.wait()
        await client.cancel()


async def test_a_turn_that_says_nothing_is_given_up_and_cancelled() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Text)
        await server.expect(wire.Cancel)

    async with scripted(script) as url, connect(url) as client:
        with pytest.raises(TimedOut, match=r"no frame came for 0\.05 s"):
            await client.turn("hello", silence_s=0.05).reply()


async def test_what_comes_late_of_a_turn_left_unseen_is_not_taken_for_the_next() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Text)
        await server.expect(wire.Cancel)
        mark = await server.expect(wire.Mark)
        await server.expect(wire.Text)
        await server.send(wire.Token(1, "stale"), mark, done(1, "cancelled"), wire.Token(2, "fresh"), done(2))

    async with scripted(script) as url, connect(url) as client:
        with pytest.raises(TimedOut):
            await anext(client.turn("first", silence_s=0.02))
        reply = await client.turn("second").reply()
        assert (reply.text, reply.done.turn) == ("fresh", 2)


async def test_the_refusal_of_a_turn_left_unseen_is_not_taken_for_the_next_ones() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Text)
        await server.expect(wire.Cancel)
        mark = await server.expect(wire.Mark)
        await server.expect(wire.Text)
        await server.send(wire.Error("busy", "try later"), mark, wire.Token(1, "fresh"), done(1, "cancelled"))

    async with scripted(script) as url, connect(url) as client:
        with pytest.raises(TimedOut):
            await anext(client.turn("first", silence_s=0.02))
        assert (await client.turn("second").reply()).text == "fresh"


async def test_a_turn_left_late_does_not_cancel_the_next() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Text)
        await server.send(wire.Token(1, "one"))
        await server.expect(wire.Text)
        await server.send(done(1, "interrupted"), wire.Token(2, "two"))
        await server.expect(wire.Mark)
        assert not [frame for frame in server.heard if isinstance(frame, wire.Cancel)]
        await server.send(wire.Mark(5), done(2))

    async with scripted(script) as url, connect(url) as client:
        first = client.turn("first")
        await anext(first)
        second = client.turn("second")
        await anext(second)
        await first.aclose()
        await client.send(wire.Mark(5))
        assert isinstance(await anext(second), wire.Done)


async def test_the_error_of_a_turn_is_raised_by_reply() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Text)
        await server.send(wire.Token(1, "So"), wire.Error("engine", "it broke", 1), done(1, "error"))

    async with scripted(script) as url, connect(url) as client:
        with pytest.raises(EngineError, match="it broke"):
            await client.turn("hello").reply()


async def test_a_mark_keeps_what_comes_before_its_echo() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        mark = await server.expect(wire.Mark)
        await server.send(wire.Speech("started", 5), mark)
        await server.expect(wire.Cancel)

    async with scripted(script) as url, connect(url) as client:
        await client.mark(PATIENCE_S)
        assert await client.receive(PATIENCE_S) == wire.Speech("started", 5)
        with pytest.raises(TimedOut, match=r"did not answer the mark within 0\.02 s"):
            await client.mark(0.02)
        await client.cancel()


async def test_settings_are_changed_refused_and_kept_for_a_resume() -> None:
    async def first(server: Script) -> None:
        hello = await server.greet()
        assert (hello.voice, hello.session) == ("low", None)
        patch = await server.expect(wire.Hello)
        assert (patch.voice, patch.language) == ("high", wire.Hello().language)
        await server.send(wire.Token(1, "of before"), ready())
        await server.expect(wire.Hello)
        await server.send(wire.Error("unknown_voice", "no such voice"))

    async def second(server: Script) -> None:
        hello = await server.greet()
        assert (hello.voice, hello.session, len(hello.tools)) == ("high", "s", 1)

    async with scripted(first, second) as url, connect(url, voice="low") as client:
        await client.configure(voice="high", tools=[lights])
        assert await client.receive(PATIENCE_S) == wire.Token(1, "of before")
        with pytest.raises(RiposteError, match="no such voice"):
            await client.configure(voice="loud")
        with pytest.raises(Closed):
            await client.receive(PATIENCE_S)
        assert (await client.resume()).resumed


async def test_a_turn_whose_number_was_seen_before_a_crash_is_answered_after_it() -> None:
    async def killed(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Text)
        await server.send(wire.Token(1, "of before"))

    async def restarted(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Text)
        await server.send(wire.Token(1, "of now"), done(1))

    async with scripted(killed, restarted) as url, connect(url) as client:
        with pytest.raises(Closed):
            await client.turn("hello").reply()
        await client.resume()
        assert (await client.turn("hello", silence_s=PATIENCE_S).reply()).text == "of now"


async def test_a_second_receiver_is_told_of_the_first() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Cancel)
        await server.send(wire.Mark(1))

    async with scripted(script) as url, connect(url) as client:
        receiving = asyncio.ensure_future(client.receive(PATIENCE_S))
        await asyncio.sleep(0)
        with pytest.raises(RiposteError, match="another task receives already"):
            await client.receive()
        await client.cancel()
        assert await receiving == wire.Mark(1)


async def test_frames_come_while_live_sound_is_sent() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.AudioIn)
        await server.send(wire.Transcript(1, "turn", 0, False))
        await server.expect(wire.End)
        await server.send(wire.Transcript(1, "turn it on", 10, True), done(1))

    seen = asyncio.Event()

    async def microphone():
        yield b"\x01"
        yield b"\x00\x02"  # pieces may end in the middle of a sample
        await seen.wait()
        yield b"\x00"

    async with scripted(script) as url, connect(url, turn_detection="none") as client:
        kinds = []
        async for frame in client.speak(microphone()):
            seen.set()
            kinds.append(type(frame))
        assert kinds == [wire.Transcript, wire.Transcript, wire.Done]


async def test_a_microphone_that_breaks_ends_the_turn_with_its_error() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.Cancel)
        await server.expect(wire.Clear)
        assert not [frame for frame in server.heard if isinstance(frame, wire.End)]

    async def microphone():
        yield bytes(320)
        raise OSError("unplugged")

    async with scripted(script) as url, connect(url, turn_detection="none") as client:
        with pytest.raises(OSError, match="unplugged"):
            await client.speak(microphone()).reply()


async def test_speaking_hands_free_is_told_to_listen() -> None:
    async def script(server: Script) -> None:
        await server.greet()

    async with scripted(script) as url, connect(url) as client:
        with pytest.raises(BadValue, match="or use `listen`"):
            client.speak(b"")


async def test_a_breaking_connection_ends_listening_with_closed() -> None:
    async def script(server: Script) -> None:
        await server.greet()
        await server.expect(wire.AudioIn)
        await server.send(wire.Error("idle", "nothing was received"))

    async def microphone():
        yield bytes(320)
        await asyncio.Event().wait()

    async with (
        scripted(script) as url,
        connect(url) as client,
        aclosing(client.listen(microphone())) as heard,
    ):
        assert isinstance(await anext(heard), wire.Error)
        with pytest.raises(Closed, match="closed"):
            await anext(heard)


async def test_a_server_that_does_not_answer_hello_is_given_up() -> None:
    async def script(server: Script) -> None:
        await server.expect(wire.Hello)
        with pytest.raises(AssertionError, match="the client left"):
            await server.expect(wire.Text)

    async with scripted(script) as url:
        with pytest.raises(CannotConnect, match=r"did not answer `hello` within 0\.05 s"):
            async with connect(url, ready_s=0.05):
                pass


async def test_resuming_gives_up_in_time() -> None:
    async def script(server: Script) -> None:
        await server.greet()

    async with scripted(script) as url, connect(url) as client:
        with pytest.raises(Closed):
            await client.receive(PATIENCE_S)
        with pytest.raises(Closed):
            await client.send(wire.Cancel())
        client._url = "ws://127.0.0.1:9/ws"
        client._dial = _nobody
        with pytest.raises(CannotConnect, match="nobody"):
            await client.resume(within_s=0.15)


async def _nobody():
    raise CannotConnect("nobody")
