"""Hearing with a Whisper model in ONNX: any checkpoint that `engine_build.whisper` built.

An utterance is heard as far as it goes, with a little silence behind it, not as a whole window of the
model: for a question of 3 s that is a third of the work at pico's window of 10 s, a tenth at 30 s.
Decoding is greedy. What Whispers are known to make up in silence and noise is guarded against; when a
guard finds that the model lost the thread, the segment is heard once more in a whole window.

While the user speaks it is heard again and again, a little more of it each time: `whisper_listening` keeps
what was heard before, `whisper_hearing` builds on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np

from riposte.backends.whisper_graph import Stop, Stopped, WhisperGraph
from riposte.backends.whisper_hearing import Hearing, Passage, Words
from riposte.backends.whisper_listening import WhisperListening
from riposte.backends.whisper_text import WhisperText
from riposte.backends.worker import Worker
from riposte.errors import ModelError, Unavailable
from riposte.interfaces import SPEECH_RATE_HZ, Priority
from riposte.manifest import check_manifest
from riposte.mel import GrowingMel


class WhisperAsr:
    """Asr over one model folder. `threads` are onnxruntime's, beside the worker's one.

    Raises ModelError when the folder is not a Whisper that was built for this code.
    """

    def __init__(self, folder: Path, *, threads: int = 1, name: str | None = None) -> None:
        manifest = check_manifest(folder)
        if (manifest.kind, manifest.architecture) != ("asr", "whisper"):
            raise ModelError(f"{folder.name} is {manifest.kind}/{manifest.architecture}, not asr/whisper")
        self._name = name or manifest.id
        graph = WhisperGraph(folder, threads=threads)
        shapes = manifest.shapes
        try:
            self.hearing = Hearing(
                graph,
                WhisperText(folder, graph.vocab),
                window=round(shapes["window_s"] * SPEECH_RATE_HZ),
                tail=round(shapes["tail_s"] * SPEECH_RATE_HZ),
                floor=round(shapes["floor_s"] * SPEECH_RATE_HZ),
                tokens_a_second=shapes["tokens_a_second"],
            )
        except KeyError as exc:
            raise ModelError(f"{folder.name}: its manifest lacks {exc}; run `{manifest.rebuild}`") from exc
        phrase_s: float | None = shapes.get("phrase_s")
        self._phrase = None if phrase_s is None else round(phrase_s * SPEECH_RATE_HZ)
        self._worker = Worker(self._name)
        self._open: set[WhisperListening] = set()
        self._going: dict[Stop, Priority] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self._name

    @property
    def active(self) -> int:
        """How many utterances are open now, and recognitions that outlived theirs."""
        return max(len(self._open), self._worker.active)

    @property
    def alive(self) -> bool:
        """Tell whether the model's thread runs; /health shows it."""
        return self._worker.alive

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes that `listen` takes."""
        return self.hearing.text.languages

    @property
    def window_s(self) -> float:
        """What the model hears at once, in seconds."""
        return self.hearing.window / SPEECH_RATE_HZ

    def listen(self, *, language: str | None = None) -> WhisperListening:
        """Begin an utterance. Raises Unavailable for a language that the model does not know."""
        if language is not None and language not in self.languages:
            known = ", ".join(self.languages)
            raise Unavailable(f"{self._name} does not understand {language[:20]!r}, only: {known}")
        listening = WhisperListening(self, language, phrase=self._phrase)
        self._open.add(listening)
        return listening

    def closed(self, listening: WhisperListening) -> None:
        """Note that an utterance is over."""
        self._open.discard(listening)

    async def hear(
        self, passages: Sequence[Passage], priority: Priority
    ) -> AsyncGenerator[tuple[int, Words], None]:
        """Yield the index and the words of each passage. Closing stops the model, within a run even.

        A run that is in flight for somebody of a lower priority is broken off, and begins again afterwards.
        """
        stop = Stop()
        self._going[stop] = priority
        # Not before this is in the worker's queue, or what gives way would go on at once.
        asyncio.get_running_loop().call_soon(self._overtake, priority)
        try:
            async with aclosing(self._worker.stream(self._steps(passages, stop), priority)) as items:
                async for item in items:
                    if item is not None:
                        yield item
        finally:
            stop.stop()
            del self._going[stop]

    async def warm_up(self) -> None:
        """Hear a second and a whole window of noise, twice each."""
        noise = np.random.default_rng(0).standard_normal(self.hearing.window - self.hearing.tail)
        swelling = noise * 0.1 * (1 + np.sin(np.arange(noise.size) / SPEECH_RATE_HZ * 20))
        for samples in (SPEECH_RATE_HZ, SPEECH_RATE_HZ, noise.size, noise.size):
            pcm = swelling[:samples].astype(np.float32)
            passage = Passage(pcm, GrowingMel(self.hearing.mels), None)
            async with aclosing(self.hear([passage], Priority.FIRST)) as items:
                async for _ in items:
                    pass

    async def aclose(self) -> None:
        """End the model's thread; whoever still waits gets EngineError. May be called twice."""
        for listening in tuple(self._open):
            listening.close()
        await self._worker.aclose()

    def _overtake(self, priority: Priority) -> None:
        for stop, theirs in self._going.items():
            if theirs > priority:
                stop.give_way()

    def _steps(
        self, passages: Sequence[Passage], stop: Stop
    ) -> Generator[tuple[int, Words] | None, None, None]:
        """Hear passages one after the other, in the worker's thread; yield None between steps."""
        try:
            for index, passage in enumerate(passages):
                yield index, (yield from self.hearing.hear(passage, stop))
        except Stopped:
            return  # nobody waits for it any more
