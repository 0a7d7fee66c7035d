"""The fakes keep the Protocols' promises, so that what is tested with them holds for real models."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from riposte.backends.fake import FAIL_ASR, FAIL_LLM, FAIL_TTS, FakeAsr, FakeLlm, FakeTts, FakeVad
from riposte.backends.fake_speech import fake_speech, fake_words
from riposte.errors import EngineError, TooLarge
from riposte.interfaces import Message, Piece, Sampling

rng = np.random.default_rng(7)


async def say(llm: FakeLlm, *messages: Message, key: str = "k", **sampling: object) -> list[Piece]:
    options = Sampling(**sampling)  # type: ignore[arg-type]
    return [piece async for piece in llm.generate(messages, key=key, sampling=options)]


def user(text: str) -> Message:
    return Message("user", text)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40).filter(lambda text: "\0" not in text), st.floats(0, 0.2), st.floats(0, 0.2))
def test_any_text_survives_as_tones(text: str, lead_s: float, tail_s: float) -> None:
    pcm = fake_speech(text, lead_s=lead_s, tail_s=tail_s)
    quantised = (pcm * 32767).astype(np.int16).astype(np.float32) / 32768
    assert fake_words(quantised) == text


def test_tones_survive_gain_noise_and_resampling() -> None:
    pcm = fake_speech("Turn on the light.", lead_s=0.3, tail_s=0.5)
    noisy = 0.2 * pcm + rng.normal(0, 0.003, len(pcm))
    resampled = soxr.resample(soxr.resample(noisy, 16_000, 48_000), 48_000, 16_000)
    assert fake_words(resampled.astype(np.float32)) == "Turn on the light."


def test_clips_with_pauses_between_are_joined_by_spaces() -> None:
    clips = [fake_speech(word, tail_s=0.31) for word in ("one", "two", "three")]
    assert fake_words(np.concatenate(clips)) == "one two three"


def test_the_beginning_of_a_clip_is_the_beginning_of_its_text() -> None:
    pcm = fake_speech("hello")
    heard = [fake_words(pcm[:cut]) for cut in range(0, len(pcm) + 1, 400)]
    assert all("hello".startswith(words) for words in heard)
    assert len(set(heard)) > 4


@pytest.mark.parametrize(
    "pcm",
    [
        np.zeros(0),
        np.zeros(16_000),
        rng.normal(0, 0.1, 48_000),
        np.sin(np.arange(48_000) / 5),
        np.ones(9_000),
    ],
    ids=["empty", "silence", "noise", "tone", "constant"],
)
def test_what_is_no_clip_has_no_words(pcm: np.ndarray) -> None:
    assert fake_words(pcm.astype(np.float32)) == ""


async def test_the_llm_repeats_the_last_user_message_and_ends_once() -> None:
    llm = FakeLlm()
    pieces = await say(llm, Message("system", "Be brief."), user("good morning"))
    assert "".join(piece.text for piece in pieces) == "You said: good morning"
    assert [piece.finish for piece in pieces if piece.finish] == ["stop"]
    usage = pieces[-1].usage
    assert usage is not None
    assert (usage.cached_tokens, usage.completion_tokens) == (0, 4)
    assert usage.prompt_tokens == llm.count_tokens([Message("system", "Be brief."), user("good morning")])
    assert llm.prompts[-1][-1].content == "good morning"
    assert llm.active == 0


async def test_the_llm_reuses_a_conversations_prefix_until_it_is_forgotten() -> None:
    llm = FakeLlm()
    first = await say(llm, user("one"))
    reply = Message("assistant", "".join(piece.text for piece in first))
    usage = (await say(llm, user("one"), reply, user("two")))[-1].usage
    assert usage is not None
    assert (
        usage.cached_tokens == llm.count_tokens([user("one"), reply]) - 3
    )  # the end, the next begin and role
    assert (await say(llm, user("one"), key="other"))[-1].usage.cached_tokens == 0  # type: ignore[union-attr]
    llm.forget("k")
    assert (await say(llm, user("one")))[-1].usage.cached_tokens == 0  # type: ignore[union-attr]
    await llm.prefill([user("one")], key="p")
    assert (await say(llm, user("one"), key="p"))[-1].usage.cached_tokens > 0  # type: ignore[union-attr]


async def test_the_llm_honours_max_tokens_stop_strings_and_its_context() -> None:
    pieces = await say(FakeLlm(), user("count to 100"), max_tokens=3)
    assert "".join(piece.text for piece in pieces) == "1, 2, 3,"
    assert pieces[-1].finish == "length"
    pieces = await say(FakeLlm(), user("count to 100"), stop=("7", "5"))
    assert "".join(piece.text for piece in pieces) == "1, 2, 3, 4, "
    assert pieces[-1].finish == "stop"
    with pytest.raises(TooLarge):
        await say(FakeLlm(context_tokens=4), user("one two three"))


async def test_the_llm_asks_for_a_tool_and_speaks_of_its_result() -> None:
    llm = FakeLlm()
    messages = [user('#tool set_light {"room": "kitchen"}')]
    stream = llm.generate(messages, key="k", sampling=Sampling(), tools=[{"type": "function"}])
    uses = [use async for piece in stream for use in piece.tool_calls]
    assert [(use.name, use.arguments) for use in uses] == [("set_light", '{"room":"kitchen"}')]
    pieces = await say(llm, *messages, Message("tool", "done"))
    assert "".join(piece.text for piece in pieces) == "The tool says: done"


async def test_the_llm_asks_for_several_tools_behind_its_words() -> None:
    llm, text = FakeLlm(), 'Let me see. #tool a {} #tool b {"n": 1} #tool c {n'
    stream = llm.generate([user(text)], key="k", sampling=Sampling(), tools=[{"type": "function"}])
    pieces = [piece async for piece in stream]
    assert "".join(piece.text for piece in pieces) == "Let me see."
    uses = [use for piece in pieces for use in piece.tool_calls]
    assert [use.name for use in uses] == ["a", "b", "c"]
    assert [use.error is None for use in uses] == [True, True, False]
    assert len({use.call for use in uses}) == 3
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == sum(len(piece.token_ids) for piece in pieces) == 6
    none_offered = await say(llm, user(text))
    assert "#tool" in "".join(piece.text for piece in none_offered)


async def test_failures_are_asked_for_in_the_text() -> None:
    llm, asr, tts = FakeLlm(), FakeAsr(), FakeTts()
    with pytest.raises(EngineError):
        await say(llm, user(FAIL_LLM))
    listening = asr.listen()
    listening.push(fake_speech(FAIL_ASR))
    with pytest.raises(EngineError):
        await listening.transcribe()
    pieces = tts.speak(f"well {FAIL_TTS}", voice="low")
    assert len(await anext(pieces)) > 0
    with pytest.raises(EngineError):
        await anext(pieces)
    assert (llm.active, tts.active) == (0, 0)


async def test_closing_a_stream_and_closing_a_model() -> None:
    llm = FakeLlm(token_s=30)
    stream = llm.generate([user("hello")], key="k", sampling=Sampling())
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    assert llm.active == 1
    await llm.aclose()
    async with asyncio.timeout(1):
        with pytest.raises(EngineError):
            await waiting
    assert llm.active == 0

    tts = FakeTts()
    async with aclosing(tts.speak("a long clause", voice="high")) as pieces:
        await anext(pieces)
        assert tts.active == 1
    assert tts.active == 0


async def test_the_asr_hears_more_as_more_is_pushed() -> None:
    asr = FakeAsr()
    listening = asr.listen()
    pcm = fake_speech("hello there", lead_s=0.2, tail_s=0.2)
    texts = []
    for start in range(0, len(pcm), 333):
        listening.push(pcm[start : start + 333])
        texts.append((await listening.transcribe()).text)
    assert texts[-1] == "hello there"
    assert all(texts[-1].startswith(text) for text in texts)
    assert asr.active == 1
    listening.close()
    listening.close()
    assert asr.active == 0


async def test_the_tone_grows_with_the_text_and_the_vad_hears_it() -> None:
    tts, vad = FakeTts(), FakeVad()
    short, long = [
        np.concatenate([pcm async for pcm in tts.speak(text, voice="low")])
        for text in ("hello", "hello there")
    ]
    assert len(long) > len(short) > tts.rate_hz // 5
    stream = vad.open()
    windows = long[: len(long) // 512 * 512].astype(np.float32) / 32768
    assert (await stream.score(windows))[1:].min() > 0.9
    assert (await stream.score(np.zeros(5120, np.float32))).max() < 0.1
    assert len(await stream.score(np.zeros(0, np.float32))) == 0
    stream.close()
    assert vad.active == 0
