"""Hearing while somebody speaks: whatever was heard before, the words are those of a fresh hearing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hearing_sound import spoken

from riposte.backends.asr_whisper import WhisperAsr
from riposte.backends.promises import HYPOTHESES
from riposte.backends.whisper_graph import Decoding, GaveWay, Stop, WhisperGraph
from riposte.backends.whisper_hearing import Passage, Words
from riposte.backends.whisper_listening import WhisperListening
from riposte.interfaces import Heard, PcmF32, Priority
from riposte.manifest import MANIFEST_NAME
from riposte.mel import GrowingMel, log_mel

HEARING = Path(__file__).parents[2] / "onnx_models" / "pico" / "hearing"
RATE = 16_000
TICK = RATE // 4
SENTENCES = (
    "turn on the lights in the kitchen",
    "what is seven plus five",
    "set a timer for ten minutes and remind me to call my sister",
)

pytestmark = pytest.mark.skipif(
    not (HEARING / MANIFEST_NAME).is_file(), reason="no hearing built; run `make engines PROFILE=pico`"
)


@pytest.fixture
async def asr() -> AsyncIterator[WhisperAsr]:
    asr = WhisperAsr(HEARING)
    yield asr
    await asr.aclose()


@pytest.fixture(scope="module")
def sounds() -> list[PcmF32]:
    """Speech between silences, the second of it in noise, and two sentences with a pause."""
    rng = np.random.default_rng(4)
    alone = [np.pad(spoken(sentence), (4_800, 3_200)) for sentence in SENTENCES]
    alone[1] = (alone[1] + 0.01 * rng.standard_normal(alone[1].size)).astype(np.float32)
    return [*alone, np.concatenate([alone[2], np.zeros(6_400, np.float32), alone[0]])]


def heard_afresh(asr: WhisperAsr, pcm: PcmF32, **known: Any) -> Words:
    """Run one hearing to its end in this thread."""
    return run(asr.hearing.hear(Passage(pcm, GrowingMel(asr.hearing.mels), None, **known), Stop()))


def run(steps: Iterator[None]) -> Words:
    try:
        while True:
            next(steps)
    except StopIteration as end:
        words: Words = end.value
        return words


class Runs:
    """Counts what the decoder runs: how many tokens each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens: list[int] = []
        step = Decoding.step

        def counted(decoding: Decoding, tokens: Any, bias: Any, stop: Stop) -> list[tuple[int, float]]:
            self.tokens.append(len(tokens))
            return step(decoding, tokens, bias, stop)

        monkeypatch.setattr(Decoding, "step", counted)


async def test_any_draft_gives_the_tokens_of_none(asr: WhisperAsr, sounds: list[PcmF32]) -> None:
    rng = random.Random(6)
    drafts = 0
    for pcm in sounds[:3]:
        for _ in range(8):
            heard = pcm[: rng.randrange(2_000, pcm.size)]
            fresh = heard_afresh(asr, heard)
            said = list(fresh.tokens)
            at = rng.randrange(len(said) + 1)
            wrong = [rng.randrange(400) for _ in range(rng.randrange(1, 40))]
            for draft in (said, said[:at], said[:at] + wrong, said + wrong, wrong):
                drafted = heard_afresh(asr, heard, draft=tuple(draft))
                assert (drafted.tokens, drafted.text) == (fresh.tokens, fresh.text)
                assert drafted.logprobs == pytest.approx(fresh.logprobs, abs=1e-4)
                drafts += 1
    assert drafts == 120


async def test_what_must_not_come_first_does_not_with_a_draft_either(
    asr: WhisperAsr, sounds: list[PcmF32]
) -> None:
    first = heard_afresh(asr, sounds[0]).tokens[0]
    asr.hearing.text.first_bias[0, first] = -np.inf
    fresh = heard_afresh(asr, sounds[0])
    assert fresh.tokens[0] != first
    for draft in (fresh.tokens, fresh.tokens[:3], (first, *fresh.tokens)):
        assert heard_afresh(asr, sounds[0], draft=draft).tokens == fresh.tokens


async def test_a_promise_is_the_beginning_whatever_is_heard(asr: WhisperAsr, sounds: list[PcmF32]) -> None:
    promised = heard_afresh(asr, sounds[1]).tokens[:4]
    others = (np.zeros(RATE, np.float32), sounds[0], sounds[0][:8_000])
    for pcm in others:
        for draft in ((), heard_afresh(asr, pcm).tokens, (*promised, 3, 4)):
            heard = heard_afresh(asr, pcm, promised=promised, draft=draft)
            assert heard.tokens[:4] == promised
            assert len(heard.tokens) == len(heard.logprobs)


@pytest.mark.parametrize(
    ("chosen", "ticks"), [((0, 1), (TICK,)), ((3,), (2_560, 9_600, 5_120))], ids=["ticks", "any"]
)
async def test_every_partial_hearing_says_what_a_fresh_one_says(
    asr: WhisperAsr, sounds: list[PcmF32], chosen: tuple[int, ...], ticks: tuple[int, ...]
) -> None:
    for pcm in (sounds[index] for index in chosen):
        listening = asr.listen()
        at = tick = 0
        while at < pcm.size:
            listening.push(pcm[at : at + ticks[tick % len(ticks)]])
            at = min(at + ticks[tick % len(ticks)], pcm.size)
            tick += 1
            heard = await listening.transcribe(Priority.AHEAD)
            assert heard.text == (await alone(asr, pcm[:at])).text
            earlier = at * 3 // 4
            past = await listening.transcribe(until=earlier)
            assert past.text == (await alone(asr, pcm[:earlier])).text
        listening.close()


async def alone(asr: WhisperAsr, pcm: PcmF32) -> Heard:
    listening = asr.listen()
    listening.push(pcm)
    heard = await listening.transcribe()
    listening.close()
    return heard


async def ticked(asr: WhisperAsr, pcm: PcmF32) -> tuple[WhisperListening, list[Heard]]:
    listening = asr.listen()
    heard = []
    for at in range(0, pcm.size, TICK):
        listening.push(pcm[at : at + TICK])
        heard.append(await listening.transcribe(Priority.AHEAD))
    return listening, heard


async def test_words_are_promised_while_somebody_speaks(asr: WhisperAsr, sounds: list[PcmF32]) -> None:
    listening, heard = await ticked(asr, sounds[0])
    assert 0 < heard[-1].stable < len(heard[-1].text)
    assert all(one.stable <= other.stable for one, other in pairwise(heard))
    for number, one in enumerate(heard):
        assert all(later.text.startswith(one.text[: one.stable]) for later in heard[number:])
    assert not any(one.stable for one in heard[: HYPOTHESES - 1])
    listening.close()


async def test_at_the_end_one_pass_of_the_decoder_is_left(
    asr: WhisperAsr, sounds: list[PcmF32], monkeypatch: pytest.MonkeyPatch
) -> None:
    listening, _ = await ticked(asr, sounds[0][:-1_600])
    runs = Runs(monkeypatch)
    listening.push(sounds[0][-1_600:])
    heard = await listening.transcribe()
    assert len(runs.tokens) == 1
    assert runs.tokens[0] > 8
    assert await listening.transcribe(until=sounds[0].size) == heard
    assert len(runs.tokens) == 1  # asked again, the answer is there
    listening.close()


async def test_a_run_ahead_is_broken_off_for_somebody_who_waits(
    asr: WhisperAsr, sounds: list[PcmF32], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await alone(asr, sounds[2])
    encode, began, broken = asr.hearing.graph.encode, asyncio.Event(), list[int]()
    loop = asyncio.get_running_loop()

    def watched(mel: np.ndarray, stop: Stop) -> dict[str, Any]:
        loop.call_soon_threadsafe(began.set)
        try:
            # As long as it takes to be met: only being broken off ends it.
            while not broken:
                encode(mel, stop)
        except GaveWay:
            broken.append(mel.shape[2])
            raise
        return encode(mel, stop)

    monkeypatch.setattr(asr.hearing.graph, "encode", watched)
    ahead = asr.listen()
    ahead.push(sounds[2])
    task = asyncio.create_task(ahead.transcribe(Priority.AHEAD), name="ahead")
    async with asyncio.timeout(20):
        await began.wait()
        first = await alone(asr, sounds[0])
        assert not task.done()
        assert await task == wanted
    assert len(broken) == 1
    assert first.text
    ahead.close()


def test_what_gives_way_between_two_runs_does_so_at_the_next(sounds: list[PcmF32]) -> None:
    graph = WhisperGraph(HEARING, threads=1)
    mel, stop = log_mel(sounds[0], graph.mels), Stop()
    stop.give_way()
    with pytest.raises(GaveWay):
        graph.encode(mel, stop)
    graph.encode(mel, stop)
