"""What WhisperAsr does beyond the contract, on pico's bundled hearing."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hearing_sound import voiced

from riposte.backends.asr_whisper import WhisperAsr
from riposte.backends.whisper_graph import Stop, Stopped, WhisperGraph
from riposte.errors import EngineError, ModelError, Unavailable
from riposte.interfaces import Priority
from riposte.manifest import MANIFEST_NAME
from riposte.mel import log_mel

HEARING = Path(__file__).parents[2] / "onnx_models" / "pico" / "hearing"
RATE = 16_000

pytestmark = pytest.mark.skipif(
    not (HEARING / MANIFEST_NAME).is_file(), reason="no hearing built; run `make engines PROFILE=pico`"
)


class Counting:
    """Stands before a graph's `encode`: counts, and fails when told to."""

    def __init__(self, graph: WhisperGraph) -> None:
        self.lengths: list[int] = []
        self.fails = False
        self._encode = graph.encode
        graph.encode = self  # type: ignore[method-assign, assignment]

    def __call__(self, mel: np.ndarray, stop: Stop) -> dict[str, Any]:
        if self.fails:
            raise RuntimeError("out of luck")
        self.lengths.append(mel.shape[2])
        return self._encode(mel, stop)


@pytest.fixture
async def asr() -> AsyncIterator[WhisperAsr]:
    asr = WhisperAsr(HEARING)
    yield asr
    await asr.aclose()


async def until_idle(asr: WhisperAsr) -> None:
    """Wait for the model; what a push begins in the background begins with the next turn of the loop."""
    async with asyncio.timeout(5):
        await asyncio.sleep(0.005)
        while asr._worker.active:  # noqa: ASYNC110 (the model's thread has no event for it)
            await asyncio.sleep(0.005)


async def test_another_language_is_refused(asr: WhisperAsr) -> None:
    with pytest.raises(Unavailable, match="only: en"):
        asr.listen(language="tlh")


async def test_only_what_was_said_is_heard(asr: WhisperAsr) -> None:
    counting = Counting(asr.hearing.graph)
    listening = asr.listen()
    listening.push(voiced(1.6)[: 2 * RATE])
    await listening.transcribe()
    # 2 s and the tail; once more in a whole window when a guard found the model lost.
    assert counting.lengths[0] == 240
    assert counting.lengths[1:] in ([], [1_000])
    listening.close()


@pytest.mark.parametrize("level", [0.0, 0.01])
async def test_behind_the_speech_is_the_silence_of_its_room(asr: WhisperAsr, level: float) -> None:
    mels: list[np.ndarray] = []
    encode = asr.hearing.graph.encode

    def watched(mel: np.ndarray, stop: Stop) -> dict[str, Any]:
        mels.append(mel[0])
        return encode(mel, stop)

    asr.hearing.graph.encode = watched  # type: ignore[method-assign]
    lead = np.zeros(RATE // 2, np.float32)
    speech = np.concatenate([lead, voiced(1.6)[: RATE * 16 // 10]])
    speech += level * np.random.default_rng(3).standard_normal(speech.size).astype(np.float32)
    listening = asr.listen()
    listening.push(speech)
    await listening.transcribe()
    listening.close()
    before, behind = mels[0][:, 2:45].mean(axis=1), mels[0][:, 212:].mean(axis=1)
    assert mels[0].shape[1] == 250
    assert np.abs(before - behind).max() < 0.15  # 6 dB in a band


async def test_a_closed_segment_is_heard_once_and_ahead(asr: WhisperAsr) -> None:
    asr._phrase = None  # segments close at the window alone
    counting = Counting(asr.hearing.graph)
    listening = asr.listen()
    for _ in range(3):
        listening.push(voiced(5.6))
    await until_idle(asr)
    ahead = len(counting.lengths)
    assert ahead >= 1
    first = await listening.transcribe()
    assert counting.lengths[ahead] < 1_000  # the open segment only
    assert await listening.transcribe() == first
    assert first.stable <= len(first.text)
    listening.close()


async def test_more_words_than_the_cache_holds_are_heard_in_halves(asr: WhisperAsr) -> None:
    asr._phrase = None  # segments close at the window alone
    counting = Counting(asr.hearing.graph)
    asr.hearing.text.end = -1  # it never comes to an end …
    asr.hearing.graph.tokens = 8  # … and has room for four tokens
    listening = asr.listen()
    listening.push(voiced(5.6))
    await listening.transcribe()
    whole, *halves = counting.lengths
    assert whole == 640
    assert min(halves) < 400
    # What is too short to be cut is heard in a whole window at last.
    assert 1_000 in halves
    listening.close()


async def test_a_failure_is_told_and_what_was_pushed_is_kept(asr: WhisperAsr) -> None:
    counting = Counting(asr.hearing.graph)
    listening = asr.listen()
    listening.push(voiced(1.0))
    counting.fails = True
    with pytest.raises(EngineError, match="failed"):
        await listening.transcribe()
    counting.fails = False
    await listening.transcribe()
    assert len(counting.lengths) >= 1
    listening.close()


async def test_a_failure_ahead_is_told_when_somebody_waits(asr: WhisperAsr) -> None:
    counting = Counting(asr.hearing.graph)
    counting.fails = True
    listening = asr.listen()
    listening.push(voiced(14.6))
    listening.push(voiced(0.1))
    await until_idle(asr)
    with pytest.raises(EngineError):
        await listening.transcribe(Priority.AHEAD)
    counting.fails = False
    await listening.transcribe()
    assert len(counting.lengths) >= 2  # both segments
    listening.close()


async def test_closing_stops_what_runs_ahead(asr: WhisperAsr) -> None:
    listening = asr.listen()
    listening.push(voiced(29.6))
    listening.close()
    await until_idle(asr)
    assert asr.active == 0


def test_a_run_in_flight_is_stopped() -> None:
    graph = WhisperGraph(HEARING, threads=1)
    mel = log_mel(voiced(9.6), graph.mels)

    async def go() -> float:
        stop = Stop()
        work = asyncio.create_task(asyncio.to_thread(graph.encode, mel, stop), name="encode")
        await asyncio.sleep(0.003)
        stopped_at = time.perf_counter()
        stop.stop()
        with pytest.raises(Stopped):
            await work
        return time.perf_counter() - stopped_at

    assert min(asyncio.run(go()) for _ in range(3)) < 0.1
    graph.encode(mel, Stop())  # the session can be used again
    stopped = Stop()
    stopped.stop()
    with pytest.raises(Stopped):
        graph.encode(mel, stopped)


def test_caches_are_used_again() -> None:
    graph = WhisperGraph(HEARING, threads=1)
    one, two = graph.take_cache(), graph.take_cache()
    assert one is not two
    graph.give_back(one)
    assert graph.take_cache() is one


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "hearing"
    shutil.copytree(HEARING, folder)
    graph = folder / "decoder.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match="damaged"):
        WhisperAsr(folder)
    (folder / MANIFEST_NAME).write_text((folder / MANIFEST_NAME).read_text().replace('"asr"', '"tts"'))
    shutil.copyfile(HEARING / "decoder.onnx", graph)
    with pytest.raises(ModelError, match="not asr/whisper"):
        WhisperAsr(folder)
