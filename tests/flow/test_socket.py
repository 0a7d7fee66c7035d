"""The native protocol against a whole server with fake models: every promise of docs/protocol.md.

Tests wait on frames and marks, never on sleep; where time itself is the subject, the margin is wide.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import socket
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import numpy as np
import pytest
from conftest import Served, fakes, serving

from riposte.audio import to_s16
from riposte.backends.fake import FAIL_ASR, FAIL_LLM, FAIL_TTS, fake_speech
from riposte.client.client import Client, Closed, connect
from riposte.errors import BadValue, Busy, UnknownSession, UnsupportedVersion
from riposte.wire import frames as wire

WAIT_S = 5.0


def pcm(text: str, *, tail_s: float = 0.0, lead_s: float = 0.0) -> bytes:
    return to_s16(fake_speech(text, lead_s=lead_s, tail_s=tail_s)).tobytes()


async def speak(client: Client, sound: bytes) -> None:
    for at in range(0, len(sound), 1280):  # 40 ms
        await client.send(wire.AudioIn(sound[at : at + 1280]))


async def until(client: Client, kind: type, turn: int | None = None) -> list[wire.ServerFrame]:
    """Collect frames up to the first of this kind (and turn)."""
    frames: list[wire.ServerFrame] = []
    while True:
        frames.append(await client.receive(WAIT_S))
        if isinstance(frames[-1], kind) and turn in (None, getattr(frames[-1], "turn", None)):
            return frames


async def until_closed(client: Client) -> tuple[list[wire.ServerFrame], int | None]:
    """Collect frames until the server hangs up; return them and its close code."""
    frames: list[wire.ServerFrame] = []
    try:
        while True:
            frames.append(await client.receive(WAIT_S))
    except Closed as closed:
        return frames, closed.close_code


async def heard_nothing_more(client: Client) -> list[wire.ServerFrame]:
    """A mark comes back after everything before it has been acted on."""
    await client.send(wire.Mark(99))
    return (await until(client, wire.Mark))[:-1]


def of(frames: list[wire.ServerFrame], kind: type) -> list:
    return [frame for frame in frames if isinstance(frame, kind)]


def tokens(frames: list[wire.ServerFrame]) -> str:
    return "".join(frame.text for frame in of(frames, wire.Token))


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    async with connect(served.ws_url) as client:
        yield client


@pytest.fixture
async def slow() -> AsyncIterator[Served]:
    """Replies last long enough to be interrupted."""
    async with serving(fakes(llm={"token_s": 0.01}), server__drain_s=1.0) as server:
        yield server


# -- turns


async def test_a_typed_turn_is_answered_in_tokens_and_in_sound(client: Client) -> None:
    frames = [frame async for frame in client.turn("good morning to you")]
    assert "good morning to you" in tokens(frames)
    sound = of(frames, wire.AudioOut)
    assert [frame.seq for frame in sound] == list(range(len(sound)))
    assert np.abs(np.frombuffer(b"".join(f.pcm for f in sound), "<i2")).max() > 1_000
    assert " ".join(frame.text for frame in of(frames, wire.Clause)) == tokens(frames).strip()
    done = frames[-1]
    assert isinstance(done, wire.Done)
    assert (done.turn, done.reason) == (1, "stop")
    assert done.heard_ms == done.usage.audio_ms > 0
    assert done.usage.completion_tokens > 0


async def test_timing_is_in_order_and_about_the_text_clock(client: Client) -> None:
    frames = [frame async for frame in client.turn("what a day")]
    timing = frames[-1].timing
    assert timing.clock == "text"
    assert timing.asr is None
    order = [
        timing.endpoint,
        timing.llm_first_token,
        timing.tts_first_audio,
        timing.first_audio_sent,
        timing.audible,
        timing.done,
    ]
    assert None not in order
    assert order == sorted(order)
    assert timing.audible > timing.first_audio_sent  # the fake voice begins with silence
    assert timing.llm_first_token <= timing.last_token <= timing.done


async def test_push_to_talk_makes_a_turn_of_what_was_heard(served: Served) -> None:
    async with connect(served.ws_url, turn_detection="none") as client:
        await speak(client, pcm("lights on"))
        await client.send(wire.End())
        frames = await until(client, wire.Done)
        assert of(frames, wire.Transcript) == [wire.Transcript(1, "lights on", 9, True)]
        assert "lights on" in tokens(frames)
        assert frames[-1].timing.clock == "end"
        assert frames[-1].timing.asr is not None
        assert not of(frames, wire.Speech)


async def test_silence_ends_a_spoken_turn(client: Client) -> None:
    await speak(client, pcm("hello there", lead_s=0.2, tail_s=0.6))
    frames = await until(client, wire.Done)
    speech = of(frames, wire.Speech)
    assert [frame.state for frame in speech] == ["started", "stopped"]
    assert 100 <= speech[0].at_ms <= 300
    assert of(frames, wire.Transcript)[-1] == wire.Transcript(1, "hello there", 11, True)
    assert frames[-1].timing.clock == "speech"


async def test_other_rates_are_heard_and_spoken(served: Served) -> None:
    from riposte.resample import Resampler

    up = Resampler(16_000, 44_100)
    samples = fake_speech("at another rate", lead_s=0.1, tail_s=0.1)
    sound = to_s16(np.concatenate((up.push(samples), up.flush()))).tobytes()
    async with connect(
        served.ws_url, audio_in_hz=44_100, audio_out_hz=48_000, turn_detection="none"
    ) as client:
        assert (client.ready.audio_in_hz, client.ready.audio_out_hz) == (44_100, 48_000)
        for at in range(0, len(sound), 3528):
            await client.send(wire.AudioIn(sound[at : at + 3528]))
        await client.send(wire.End())
        frames = await until(client, wire.Done)
        assert of(frames, wire.Transcript)[-1].text == "at another rate"
        samples_out = sum(len(f.pcm) for f in of(frames, wire.AudioOut)) // 2
        assert samples_out / 48 == pytest.approx(frames[-1].usage.audio_ms, abs=2)


async def test_end_without_a_word_is_an_empty_turn(client: Client) -> None:
    await client.send(wire.End())
    frames = await until(client, wire.Done)
    assert of(frames, wire.Transcript) == [wire.Transcript(1, "", 0, True)]
    assert not of(frames, wire.Token)
    assert frames[-1].reason == "stop"


async def test_noise_makes_no_turn(client: Client) -> None:
    rng = np.random.default_rng(3)
    noise = (rng.uniform(-0.3, 0.3, 8_000) * 32_767).astype("<i2").tobytes()
    await speak(client, noise + bytes(2 * 12_000))
    frames = await until(client, wire.Speech)  # started
    frames += await until(client, wire.Speech)
    assert [frame.state for frame in frames] == ["started", "stopped"]
    assert await heard_nothing_more(client) == []
    frames = [frame async for frame in client.turn("now a real one")]
    assert frames[-1].turn == 1


async def test_speech_that_stops_arriving_still_ends(client: Client) -> None:
    await speak(client, pcm("cut in mid word"))
    frames = await until(client, wire.Done)
    assert of(frames, wire.Transcript)[-1].text == "cut in mid word"


async def test_a_text_only_session_hears_no_sound(served: Served) -> None:
    async with connect(served.ws_url, modalities=["text"]) as client:
        frames = [frame async for frame in client.turn("quietly please")]
        assert not of(frames, wire.AudioOut)
        assert not of(frames, wire.Clause)
        assert (frames[-1].reason, frames[-1].heard_ms) == ("stop", None)
        assert frames[-1].timing.first_audio_sent is None


async def test_max_tokens_ends_with_length(served: Served) -> None:
    async with connect(served.ws_url, max_tokens=3, modalities=["text"]) as client:
        frames = [frame async for frame in client.turn("count to 20")]
        assert (frames[-1].reason, frames[-1].usage.completion_tokens) == ("length", 3)


async def test_say_speaks_and_is_not_remembered(client: Client) -> None:
    await client.send(wire.Say("Read this out. And this as well."))
    frames = await until(client, wire.Done)
    assert not of(frames, wire.Token)
    assert [frame.text for frame in of(frames, wire.Clause)] == ["Read this out.", "And this as well."]
    assert of(frames, wire.AudioOut)
    frames = [frame async for frame in client.turn("and now")]
    assert frames[-1].usage.prompt_tokens < 40


# -- interruptions


async def test_cancel_stops_a_reply_and_nothing_of_it_follows(slow: Served) -> None:
    async with connect(slow.ws_url) as client:
        await client.send(wire.Text("count to 200"))
        await until(client, wire.AudioOut)
        await client.send(wire.Cancel())
        frames = await until(client, wire.Done)
        assert (frames[-1].turn, frames[-1].reason) == (1, "cancelled")
        assert of(frames, wire.Playback) == [wire.Playback(1, 0.0)]
        after = frames[frames.index(wire.Playback(1, 0.0)) + 1 :]
        assert after == frames[-1:]
        assert frames[-1].heard_ms <= frames[-1].usage.audio_ms
        assert await heard_nothing_more(client) == []


async def test_cancel_without_a_reply_does_nothing(client: Client) -> None:
    await client.send(wire.Cancel())
    assert await heard_nothing_more(client) == []


async def test_new_text_interrupts_and_is_answered(slow: Served) -> None:
    async with connect(slow.ws_url) as client:
        await client.send(wire.Text("count to 200"))
        await until(client, wire.AudioOut)
        await client.send(wire.Text("something else"))
        frames = await until(client, wire.Done, 2)
        first = [frame for frame in of(frames, wire.Done) if frame.turn == 1]
        assert [frame.reason for frame in first] == ["interrupted"]
        done_at = frames.index(first[0])
        assert all(getattr(frame, "turn", None) != 1 for frame in frames[done_at + 1 :])
        assert all(getattr(frame, "turn", None) != 2 for frame in frames[:done_at])
        assert "something else" in "".join(t.text for t in of(frames, wire.Token) if t.turn == 2)


async def test_a_voice_over_the_reply_interrupts_it(slow: Served) -> None:
    async with connect(slow.ws_url) as client:
        await client.send(wire.Text("count to 200"))
        await until(client, wire.AudioOut)
        await speak(client, pcm("stop now", lead_s=0.1, tail_s=0.6))
        frames = await until(client, wire.Done, 2)
        assert [f.reason for f in of(frames, wire.Done)] == ["interrupted", "stop"]
        started = frames.index(of(frames, wire.Speech)[0])
        assert frames.index(of(frames, wire.Playback)[0]) > started


async def test_cancel_at_once_still_ends_the_turn_once(client: Client) -> None:
    for turn in range(1, 30):
        await client.send(wire.Text("quick"))
        await client.send(wire.Cancel())
        frames = await until(client, wire.Done, turn)
        assert len(of(frames, wire.Done)) == 1
    assert await heard_nothing_more(client) == []


async def test_every_turn_of_a_burst_ends_once_and_in_order(client: Client) -> None:
    for index in range(40):
        await client.send(wire.Text(f"number {index}"))
    frames = await until(client, wire.Done, 40)
    assert [frame.turn for frame in of(frames, wire.Done)] == list(range(1, 41))
    assert frames[-1].reason == "stop"


async def test_history_keeps_what_was_heard_of_an_interrupted_reply(slow: Served) -> None:
    async with connect(slow.ws_url) as client:
        await client.send(wire.Text("count to 200"))
        await until(client, wire.AudioOut)
        await client.send(wire.Cancel())
        cancelled = (await until(client, wire.Done))[-1]
        frames = [frame async for frame in client.turn("go on")]
        # Far fewer words than the 200 that were asked for came back as context.
        assert frames[-1].usage.prompt_tokens < 120
        assert cancelled.heard_ms is not None


async def test_played_corrects_what_was_heard(slow: Served) -> None:
    async with connect(slow.ws_url) as client:
        await client.send(wire.Text("count to 200"))
        await until(client, wire.AudioOut)
        await client.send(wire.Played(1, 0))
        await client.send(wire.Cancel())
        frames = await until(client, wire.Done)
        assert frames[-1].heard_ms == 0
        await client.send(wire.Played(1, 20))
        assert await heard_nothing_more(client) == []


@pytest.mark.parametrize("frame_ms", [20, 100, 300, 500, 1_000])
async def test_two_sentences_are_two_turns_whatever_the_frames(frame_ms: int) -> None:
    sound = pcm("first words", lead_s=0.3, tail_s=0.55) + pcm("second words", tail_s=0.7)
    async with (
        serving(fakes(tts={"char_ms": 10})) as served,
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        for at in range(0, len(sound), frame_ms * 32):
            await client.send(wire.AudioIn(sound[at : at + frame_ms * 32]))
        frames = await until(client, wire.Done, 2)
    texts = [frame.text for frame in of(frames, wire.Transcript)]
    assert texts[-1] == "second words"
    # A burst can bring the second sentence before the first is written down: it interrupts it then.
    assert texts in (["first words", "second words"], ["second words"])
    assert [f.state for f in of(frames, wire.Speech)] == ["started", "stopped"] * 2


async def test_long_frames_at_the_speed_of_speech_are_no_stall(client: Client) -> None:
    sound = pcm("these are many words in a row", lead_s=0.2, tail_s=0.6)
    await client.send(wire.Hello(modalities=["text"]))
    for at in range(0, len(sound), 16_000):
        await client.send(wire.AudioIn(sound[at : at + 16_000]))
        await asyncio.sleep(0.5)
    frames = await until(client, wire.Done)
    assert of(frames, wire.Transcript)[-1].text == "these are many words in a row"


@pytest.mark.parametrize("frame", [wire.End(), wire.Clear(), wire.Hello(audio_in_hz=8_000)])
async def test_voice_that_is_cut_off_is_told_to_have_stopped(client: Client, frame: object) -> None:
    await speak(client, pcm("in the middle of it", lead_s=0.1))
    await until(client, wire.Speech)
    await client.send(frame)
    frames = await heard_nothing_more(client)
    assert [f.state for f in of(frames, wire.Speech)] == ["stopped"]


async def test_the_loop_is_not_kept_by_a_text_of_marks(served: Served) -> None:
    async with connect(served.ws_url) as client:
        for text in ("!" * 4_000, "Dr. " * 1_000):
            await client.send(wire.Say(text))
            began = asyncio.get_running_loop().time()
            assert await heard_nothing_more(client) is not None
            assert asyncio.get_running_loop().time() - began < 1.0


async def test_session_time_goes_on_with_another_microphone(client: Client) -> None:
    await speak(client, pcm("one", lead_s=0.1, tail_s=0.6))
    first = of(await until(client, wire.Done), wire.Speech)
    await client.send(wire.Hello(audio_in_hz=8_000))
    await client.send(wire.Hello(audio_in_hz=16_000))
    await speak(client, pcm("two", lead_s=0.1, tail_s=0.6))
    second = of(await until(client, wire.Done, 2), wire.Speech)
    assert second[0].at_ms > first[1].at_ms


async def test_a_finished_reply_stays_whole_whatever_is_reported(client: Client) -> None:
    first = [frame async for frame in client.turn("alpha beta gamma delta")][-1]
    await client.send(wire.Played(1, 10))
    second = [frame async for frame in client.turn("go on")][-1]
    words = first.usage.prompt_tokens + first.usage.completion_tokens
    assert second.usage.prompt_tokens > words


async def test_clear_forgets_what_no_turn_has_used(served: Served) -> None:
    async with connect(served.ws_url, turn_detection="none") as client:
        await speak(client, pcm("never mind this"))
        await client.send(wire.Clear())
        await speak(client, pcm("but this"))
        await client.send(wire.End())
        frames = await until(client, wire.Done)
        assert of(frames, wire.Transcript)[-1].text == "but this"


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


# -- the socket itself


async def test_json_in_json_out(served: Served) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(served.ws_url) as socket:
        await socket.send_str('{"type": "hello", "version": 1, "later": "unknown fields are skipped"}')
        ready = json.loads((await socket.receive(WAIT_S)).data)
        assert (ready["type"], ready["resumed"]) == ("ready", False)
        await socket.send_str('{"type": "text", "text": "bonjour"}')
        kinds = set()
        while (frame := json.loads((await socket.receive(WAIT_S)).data))["type"] != "done":
            kinds.add(frame["type"])
            if frame["type"] == "audio":
                assert len(base64.b64decode(frame["pcm"])) % 2 == 0
        assert {"token", "clause", "audio"} <= kinds


async def test_the_subprotocol_is_selected_when_offered(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(served.ws_url, protocols=["riposte.v1"]) as socket:
            assert socket.protocol == "riposte.v1"
        async with http.ws_connect(served.ws_url) as socket:
            assert socket.protocol is None


async def test_another_frame_first_is_told_to_say_hello(served: Served) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(served.ws_url) as socket:
        await socket.send_bytes(msgspec.msgpack.encode({"type": "text", "text": "hi"}))
        message = await socket.receive(WAIT_S)
        assert message.type is aiohttp.WSMsgType.BINARY
        assert msgspec.msgpack.decode(message.data)["code"] == "no_hello"
        await socket.send_str('{"type": "text", "text": "hi"}')
        assert json.loads((await socket.receive(WAIT_S)).data)["code"] == "no_hello"


async def test_twenty_bad_frames_in_a_row_close_the_connection(client: Client) -> None:
    for _ in range(19):
        await client._socket.send_bytes(b"\xc1")
    await client.send(wire.Mark(1))
    frames = await until(client, wire.Mark)
    assert [frame.code for frame in frames[:-1]] == ["bad_frame"] * 19
    for _ in range(20):
        await client._socket.send_bytes(b"\x93\x01")
    _, close_code = await until_closed(client)
    assert close_code == 1008


def small_socket(address: tuple) -> socket.socket:
    """A client's socket that takes little before its kernel makes the server wait."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    return made


async def test_a_client_that_does_not_read_is_hung_up_on_and_told_why() -> None:
    connector = aiohttp.TCPConnector(socket_factory=small_socket)

    async def metrics() -> str:
        async with http.get(f"{served.url}/metrics") as answer:
            return 'code="slow_client"} 1.0' if 'code="slow_client"} 1.0' in await answer.text() else ""

    async with (
        serving(server__fake=True, limits__slow_client_s=0.3) as served,
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(served.ws_url) as websocket,
    ):
        await websocket.send_str('{"type": "hello", "modalities": ["text"], "max_tokens": 8000}')
        websocket._response.connection.transport.pause_reading()
        async with asyncio.timeout(30):
            while not await metrics():
                await websocket.send_str('{"type": "text", "text": "count to 8000"}')
                await asyncio.sleep(0.3)
        websocket._response.connection.transport.resume_reading()
        codes = []
        while (message := await websocket.receive(WAIT_S)).type is aiohttp.WSMsgType.TEXT:
            codes.append(json.loads(message.data).get("code"))
        assert codes[-1] == "slow_client"
        assert websocket.close_code == 1008


async def test_an_unsupported_version_closes_with_1002(served: Served) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(served.ws_url) as socket:
        await socket.send_str('{"type": "hello", "version": 9}')
        assert json.loads((await socket.receive(WAIT_S)).data)["code"] == "unsupported_version"
        assert (await socket.receive(WAIT_S)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert socket.close_code == 1002


async def test_a_message_over_the_limit_closes_with_1009() -> None:
    async with (
        serving(server__fake=True, limits__message_bytes=65_536) as served,
        aiohttp.ClientSession() as http,
        http.ws_connect(served.ws_url) as socket,
    ):
        await socket.send_bytes(bytes(70_000))
        await socket.receive(WAIT_S)
        assert socket.close_code == 1009


async def test_an_idle_connection_is_closed() -> None:
    async with (
        serving(server__fake=True, limits__idle_s=0.2) as served,
        connect(served.ws_url) as client,
    ):
        frames = await until(client, wire.Error)
        assert frames[-1].code == "idle"
        with pytest.raises(Closed) as closed:
            await client.receive(WAIT_S)
        assert closed.value.close_code == 1001
