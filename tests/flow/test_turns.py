"""Turns over the native socket, against a whole server with fake models, and what interrupts them.

Tests wait on frames and marks, never on sleep; where time itself is the subject, the margin is wide.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest
from conftest import Served, fakes, serving
from talking import heard_nothing_more, of, pcm, speak, tokens, until

from riposte.audio import to_s16
from riposte.backends.fake import FakeLlm, fake_speech
from riposte.client.client import Client, connect
from riposte.errors import EngineError
from riposte.interfaces import Piece
from riposte.turn.machine import DUCKED
from riposte.wire import frames as wire

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


async def test_a_model_that_fails_as_it_stops_is_no_error_of_a_cancelled_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = FakeLlm.generate

    async def failing(*arguments: Any, **named: Any) -> AsyncGenerator[Piece, None]:
        try:
            async for piece in whole(*arguments, **named):
                yield piece
        except (asyncio.CancelledError, GeneratorExit):
            raise EngineError("it died of being stopped") from None

    monkeypatch.setattr(FakeLlm, "generate", failing)
    async with (
        serving(fakes(llm={"token_s": 0.02})) as served,
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        await client.send(wire.Text("count to 200"))
        await until(client, wire.Token)
        await client.send(wire.Cancel())
        frames = await until(client, wire.Done)
        assert (of(frames, wire.Error), frames[-1].reason) == ([], "cancelled")


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
        assert [f.gain for f in of(frames, wire.Playback)] == [DUCKED, 0.0]
        order = [type(f) for f in frames if isinstance(f, wire.Playback | wire.Speech | wire.Done)]
        assert order[:4] == [wire.Playback, wire.Speech, wire.Playback, wire.Done]


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
    sound = pcm("first words", lead_s=0.3, tail_s=1.3) + pcm("second words", tail_s=0.7)
    async with (
        serving(fakes(tts={"char_ms": 10})) as served,
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        for at in range(0, len(sound), frame_ms * 32):
            await client.send(wire.AudioIn(sound[at : at + frame_ms * 32]))
        frames = await until(client, wire.Done, 2)
    texts = [frame.text for frame in of(frames, wire.Transcript) if frame.final]
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
