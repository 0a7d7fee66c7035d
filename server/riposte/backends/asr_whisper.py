"""Hearing with a Whisper model in ONNX: any checkpoint that `engine_build.whisper` built.

An utterance is heard as far as it goes, with a little silence behind it, not as a whole window of the
model: for a question of 3 s that is a third of the work at pico's window of 10 s, a tenth at 30 s.
Decoding is greedy. What Whispers are known to make up in silence and noise is guarded against; when a
guard finds that the model lost the thread, the segment is heard once more in a whole window.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from riposte.audio import loudest_dbfs, loudness_range_db
from riposte.backends.segments import Segments, pause_in
from riposte.backends.whisper_graph import Decoding, Stop, Stopped, WhisperGraph
from riposte.backends.whisper_text import WhisperText, budget, without_loop
from riposte.backends.worker import Worker
from riposte.errors import ModelError, RiposteError, Unavailable
from riposte.interfaces import SPEECH_RATE_HZ, Heard, PcmF32, Priority
from riposte.manifest import check_manifest
from riposte.mel import HOP, log_mel

_log = logging.getLogger(__name__)

# Quieter than this throughout is no microphone that somebody speaks into: a 16-bit one's own hiss is at
# -80 to -65 dBFS, a whisper across a room about -50.
_SILENCE_DBFS = -65.0
# Sound whose loudness never changes is a fan or a tone, to which small models put words. A syllable has
# a beginning and an end within this time.
_STEADY = SPEECH_RATE_HZ * 3 // 10
_STEADY_DB = 3.0
# openai/whisper's rule: no speech when the model thinks so and is unsure of its words too.
_NO_SPEECH = 0.6
_UNSURE = -1.0
_POSITION = 2 * HOP  # samples: 20 ms, one position of the encoder
_DIVISIBLE = 2 * SPEECH_RATE_HZ  # samples; nobody says more tokens in less than a cache holds

# A segment's number (None: the open one, heard so far) and its words.
_Words = tuple[int | None, str]


@dataclass(slots=True)
class _Decoded:
    tokens: Sequence[int]
    lost: Literal["circles", "budget", "cache"] | None  # what ended it, other than the end token
    no_speech: bool


class WhisperAsr:
    """Asr over one model folder. `threads` are onnxruntime's, beside the worker's one.

    Raises ModelError when the folder is not a Whisper that was built for this code.
    """

    def __init__(self, folder: Path, *, threads: int = 1, name: str | None = None) -> None:
        manifest = check_manifest(folder)
        if (manifest.kind, manifest.architecture) != ("asr", "whisper"):
            raise ModelError(f"{folder.name} is {manifest.kind}/{manifest.architecture}, not asr/whisper")
        self._name = name or manifest.id
        self._graph = WhisperGraph(folder, threads=threads)
        self._text = WhisperText(folder, self._graph.vocab)
        try:
            self._window: int = round(manifest.shapes["window_s"] * SPEECH_RATE_HZ)
            self._tail: int = round(manifest.shapes["tail_s"] * SPEECH_RATE_HZ)
            self._floor: int = round(manifest.shapes["floor_s"] * SPEECH_RATE_HZ)
            self._tokens_a_second: float = manifest.shapes["tokens_a_second"]
            phrase_s: float | None = manifest.shapes.get("phrase_s")
            self._phrase = None if phrase_s is None else round(phrase_s * SPEECH_RATE_HZ)
        except KeyError as exc:
            raise ModelError(f"{folder.name}: its manifest lacks {exc}; run `{manifest.rebuild}`") from exc
        self._worker = Worker(self._name)
        self._open: set[_WhisperListening] = set()

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
        return self._text.languages

    @property
    def window_s(self) -> float:
        """What the model hears at once, in seconds."""
        return self._window / SPEECH_RATE_HZ

    def listen(self, *, language: str | None = None) -> _WhisperListening:
        """Begin an utterance. Raises Unavailable for a language that the model does not know."""
        if language is not None and language not in self.languages:
            known = ", ".join(self.languages)
            raise Unavailable(f"{self._name} does not understand {language[:20]!r}, only: {known}")
        return _WhisperListening(self, language)

    async def warm_up(self) -> None:
        """Hear a second and a whole window of noise, twice each."""
        noise = np.random.default_rng(0).standard_normal(self._window - self._tail) * 0.1
        for seconds in (1, 1, None, None):
            pcm = noise[: None if seconds is None else seconds * SPEECH_RATE_HZ].astype(np.float32)
            async with aclosing(self._worker.stream(self._steps([(None, pcm)], None, Stop()))) as items:
                async for _ in items:
                    pass

    async def aclose(self) -> None:
        """End the model's thread; whoever still waits gets EngineError. May be called twice."""
        for listening in tuple(self._open):
            listening.close()
        await self._worker.aclose()

    # In the worker's thread

    def _steps(
        self, segments: Sequence[tuple[int | None, PcmF32]], language: str | None, stop: Stop
    ) -> Generator[_Words | None, None, None]:
        """Hear segments one after the other; yield None between steps, and each segment's words."""
        try:
            for number, pcm in segments:
                yield number, (yield from self._hear(pcm, language, stop))
        except Stopped:
            return  # nobody waits for it any more

    def _hear(self, pcm: PcmF32, language: str | None, stop: Stop) -> Generator[None, None, str]:
        """Return the words of one segment."""
        if loudest_dbfs(pcm, SPEECH_RATE_HZ) < _SILENCE_DBFS:
            return ""
        if pcm.size >= _STEADY and loudness_range_db(pcm, SPEECH_RATE_HZ) < _STEADY_DB:
            return ""
        most = budget(pcm.size / SPEECH_RATE_HZ, self._tokens_a_second)
        short = min(max(pcm.size + self._tail, self._floor), self._window)
        decoded: _Decoded | None = None
        for samples in (short, self._window):
            mel = self._mel(pcm, samples)
            yield
            cross = self._graph.encode(mel, stop)
            yield
            decoded = yield from self._decode(cross, language, most, stop)
            if decoded.lost == "cache" and pcm.size >= _DIVISIBLE:
                return (yield from self._hear_halves(pcm, language, stop))
            if decoded.lost is None or samples == self._window:
                break
            ms = pcm.size * 1000 // SPEECH_RATE_HZ
            _log.debug("%s: lost the thread in %d ms (%s), once more", self._name, ms, decoded.lost)
        assert decoded is not None
        return "" if decoded.no_speech else self._text.words(decoded.tokens)

    def _hear_halves(self, pcm: PcmF32, language: str | None, stop: Stop) -> Generator[None, None, str]:
        """Hear what has more tokens than the cache holds as two, cut at a pause near the middle."""
        cut = pause_in(pcm[: pcm.size * 3 // 4], pcm.size // 4)
        halves = []
        for half in (pcm[:cut], pcm[cut:]):
            halves.append((yield from self._hear(half, language, stop)))
        return self._text.joined(halves, language)

    def _mel(self, pcm: PcmF32, samples: int) -> PcmF32:
        """Return the spectrogram of the sound and the silence behind it: whole positions of the encoder."""
        whole = -(-samples // _POSITION) * _POSITION
        padded = np.zeros(min(whole, self._window), np.float32)
        padded[: pcm.size] = pcm[: padded.size]
        return log_mel(padded, self._graph.mels)

    def _decode(
        self, cross: dict[str, object], language: str | None, most: int, stop: Stop
    ) -> Generator[None, None, _Decoded]:
        """Choose the most probable token again and again, until the end token or a guard."""
        text = self._text
        cache = self._graph.take_cache()
        try:
            decoding = Decoding(self._graph, cross, cache)
            prompt = text.prompt(language or text.languages[0])
            no_speech: float | None = None
            if language is None and (start := text.start()):
                token, _ = decoding.step(start, text.language_bias, stop)
                yield
                no_speech = decoding.no_speech
                prompt = text.prompt(text.language_of(token))[len(start) :]
            token, logprob = decoding.step(prompt, text.first_bias, stop)
            if no_speech is None:
                no_speech = decoding.no_speech
            logprobs, tokens = [logprob], list[int]()

            def silent() -> bool:
                return no_speech > _NO_SPEECH and sum(logprobs) / len(logprobs) < _UNSURE

            full = decoding.room <= most
            most = min(most, decoding.room)
            while token != text.end:
                tokens.append(token)
                once = without_loop(tokens)
                if once is not None:
                    return _Decoded(once, "circles", silent())
                if len(tokens) == most:
                    return _Decoded(tokens, "cache" if full else "budget", silent())
                yield
                token, logprob = decoding.step((token,), text.bias, stop)
                logprobs.append(logprob)
            return _Decoded(tokens, None, silent())
        finally:
            self._graph.give_back(cache)


class _WhisperListening:
    """Listening of WhisperAsr. All but `_steps` runs on the loop, so nothing here needs a lock."""

    def __init__(self, asr: WhisperAsr, language: str | None) -> None:
        self._asr = asr
        self._language = language
        # A closed segment leaves room for its tail of silence.
        self._segments = Segments(asr._window - asr._tail, asr._phrase)
        self._waiting: dict[int, PcmF32] = {}  # closed and not heard yet, by number
        self._texts: list[str] = []  # of closed segments
        self._ahead: asyncio.Task[None] | None = None
        self._closed = False
        asr._open.add(self)

    def push(self, pcm: PcmF32) -> None:
        """Add samples at 16 kHz; after `close` they are dropped.

        A segment that is closed by them is heard in the background, so that at the end only the open one
        is left to do.
        """
        if self._closed:
            return
        for segment in self._segments.push(pcm):
            self._waiting[len(self._texts)] = segment
            self._texts.append("")
        if self._waiting and self._ahead is None:
            self._ahead = asyncio.create_task(self._hear_ahead(), name=f"{self._asr.name}-ahead")

    async def transcribe(self, priority: Priority = Priority.FIRST) -> Heard:
        """Return the words of everything pushed so far. Cancelling stops the model, within a run even.

        Raises EngineError when the model fails; everything pushed is kept, so it may be asked again.
        """
        # What runs at a low priority is stopped rather than waited for: it is a few milliseconds' work,
        # and behind another session's it could take long.
        self._stop_ahead()
        rest = self._segments.open()
        parts: list[tuple[int | None, PcmF32]] = list(self._waiting.items())
        closed = len(self._texts)
        last = await self._run([*parts, (None, rest)] if rest.size else parts, priority)
        stable = self._asr._text.joined(self._texts[:closed], self._language)
        return Heard(self._asr._text.joined((stable, last), self._language), len(stable))

    def close(self) -> None:
        """Drop the audio and stop what runs in the background. May be called twice."""
        self._closed = True
        self._stop_ahead()
        self._segments.clear()
        self._waiting.clear()
        self._asr._open.discard(self)

    async def _hear_ahead(self) -> None:
        try:
            while self._waiting:
                await self._run(list(self._waiting.items()), Priority.AHEAD)
        except RiposteError:
            return  # `transcribe` tries again, and tells; `_ahead` stays set, so that `push` does not
        self._ahead = None

    def _stop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    async def _run(self, parts: Sequence[tuple[int | None, PcmF32]], priority: Priority) -> str:
        """Hear the parts; keep the words of closed ones as they come, return those of the open one."""
        last, stop = "", Stop()
        steps = self._asr._steps(parts, self._language, stop)
        async with aclosing(self._asr._worker.stream(steps, priority)) as items:
            try:
                async for item in items:
                    if item is None:
                        continue
                    number, words = item
                    if number is None:
                        last = words
                    elif self._waiting.pop(number, None) is not None:
                        self._texts[number] = words
            except BaseException:
                stop.stop()
                raise
        return last
