"""Models that are none: deterministic, without threads or files, for tests and `riposte serve --fake`.

They keep every promise of the Protocols. What goes wrong is asked for in the text: FAIL_ASR, FAIL_LLM
and FAIL_TTS make the model that meets them fail, HANG_… never answer again. A `deaf` one breaks a promise:
it does not let go when it is told to stop. What they were asked is kept (the last 1,000), so that a test
can look.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np

from riposte.backends.fake_speech import fake_speech, fake_words
from riposte.backends.fake_text import (
    TOOL_MARK,
    asked_for,
    call_token,
    in_common,
    rendered,
    said_back,
    token_id,
    until_stop,
    with_calls,
    words_of,
)
from riposte.errors import EngineError, TooLarge, UnknownVoice
from riposte.interfaces import (
    SPEECH_RATE_HZ,
    Heard,
    LlmUsage,
    Message,
    Pcm16,
    PcmF32,
    Piece,
    Priority,
    Sampling,
    ToolUse,
    Voice,
)

__all__ = [
    "FAIL_ASR",
    "FAIL_LLM",
    "FAIL_TTS",
    "HANG_ASR",
    "HANG_LLM",
    "HANG_TTS",
    "UNFINISHED",
    "FakeAsr",
    "FakeLlm",
    "FakeTts",
    "FakeTurn",
    "FakeVad",
    "fake_speech",
]

FAIL_ASR = "#fail-asr"
FAIL_LLM = "#fail-llm"  # after the first token, so that a reply has begun
FAIL_TTS = "#fail-tts"  # after the first piece
HANG_ASR, HANG_LLM, HANG_TTS = "#hang-asr", "#hang-llm", "#hang-tts"  # where FAIL_… fails

UNFINISHED = frozenset({"the", "and", "to", "my"})  # after these FakeLlm expects more

_KEPT = 1_000


class _Fake:
    def __init__(self, name: str, *, deaf: bool = False) -> None:
        self._name = name
        self._deaf = deaf
        self._open = 0
        self._closing = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    @property
    def active(self) -> int:
        return self._open

    async def warm_up(self) -> None:
        await self._pause(0)

    async def aclose(self) -> None:
        self._closing.set()
        await asyncio.sleep(0)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        self._open += 1
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            while self._deaf and not self._closing.is_set():
                with suppress(asyncio.CancelledError):
                    await self._closing.wait()
            raise
        finally:
            self._open -= 1

    async def _hang(self) -> None:
        """Wait until closed. Raises EngineError then."""
        await self._closing.wait()
        await self._pause(0)

    async def _pause(self, seconds: float) -> None:
        """Let the loop turn, for as long as a step takes. Raises EngineError when closed meanwhile."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._closing.wait()
        else:
            await asyncio.sleep(0)
        if self._closing.is_set():
            raise EngineError(f"the {self._name} model was shut down")


class FakeLlm(_Fake):
    """Says back what it was told, a word a token.

    "count to 20" counts, and tools' results are repeated. With tools offered, `#tool NAME {JSON}` asks for
    one, offered or not, well-formed or not; several may follow each other, and what stands before them is
    said. `reply` computes another answer; `token_s` is what a token takes, `load_s`
    what loading does.
    """

    def __init__(
        self,
        *,
        token_s: float = 0.0,
        context_tokens: int = 4_096,
        reply: Callable[[Sequence[Message]], str] | None = None,
        takes_tools: bool = True,
        deaf: bool = False,
        load_s: float = 0.0,
    ) -> None:
        super().__init__("fake-llm", deaf=deaf)
        time.sleep(load_s)
        self.prompts: deque[tuple[Message, ...]] = deque(maxlen=_KEPT)
        self.prefills: deque[str] = deque(maxlen=_KEPT)  # keys
        self.turn_ends: deque[str] = deque(maxlen=_KEPT)  # the words that were judged
        self.takes_tools = takes_tools
        self._token_s = token_s
        self._context_tokens = context_tokens
        self._reply = reply or said_back
        self._cache: dict[str, list[str]] = {}

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> int:
        return len(rendered(messages, tools))

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        key: str,
        sampling: Sampling,
        priority: Priority = Priority.FIRST,
        tools: Sequence[dict[str, Any]] = (),
    ) -> AsyncGenerator[Piece, None]:
        """Yield the reply word by word, then its calls, then one piece with `finish` and `usage`."""
        async with self._opened():
            prompt = rendered(messages, tools)
            room = self._context_tokens - len(prompt)
            if room <= 0:
                raise TooLarge(f"the conversation has {len(prompt)} tokens, {self._context_tokens} fit")
            self.prompts.append(tuple(messages))
            cached = in_common(self._cache.get(key, []), prompt)
            self._cache[key] = prompt
            await self._pause(self._token_s)
            asked = asked_for(messages)
            text = until_stop(self._reply(messages), sampling.stop)
            uses: list[ToolUse] = []
            if tools:
                text, uses = with_calls(asked if TOOL_MARK in asked else text, len(messages))
            said = words_of(text)
            made = [*said, *map(call_token, uses)]
            kept = made[: min(sampling.max_tokens, room)]
            for index, token in enumerate(kept):
                if FAIL_LLM in asked and index == 1:
                    raise EngineError(f"the {self._name} model failed")
                if HANG_LLM in asked and index == 1:
                    await self._hang()
                if index < len(said):
                    yield Piece(token, (token_id(token),))
                else:
                    yield Piece("", (token_id(token),), (uses[index - len(said)],))
                await self._pause(self._token_s)
            self._cache[key] = prompt + kept
            yield Piece(
                "",
                finish="stop" if kept == made else "length",
                usage=LlmUsage(len(prompt), cached, len(kept)),
            )

    async def prefill(
        self, messages: Sequence[Message], *, key: str, tools: Sequence[dict[str, Any]] = ()
    ) -> None:
        self.prefills.append(key)
        with suppress(EngineError):
            async with self._opened():
                await (self._hang() if HANG_LLM in asked_for(messages) else self._pause(0))
            self._cache[key] = rendered(messages, tools)[:-2]  # the generation prompt is not part of a prefix

    async def turn_end(
        self,
        messages: Sequence[Message],
        *,
        key: str,
        priority: Priority = Priority.AHEAD,
        tools: Sequence[dict[str, Any]] = (),
    ) -> float | None:
        """Find a turn over unless its last word is one of UNFINISHED."""
        self.turn_ends.append(messages[-1].content)
        try:
            async with self._opened():
                await (self._hang() if HANG_LLM in asked_for(messages) else self._pause(self._token_s))
        except EngineError:
            return None
        self._cache[key] = rendered(messages, tools)[:-3]
        return 0.02 if (messages[-1].content.split() or [""])[-1] in UNFINISHED else 0.98

    def forget(self, key: str) -> None:
        self._cache.pop(key, None)


class FakeAsr(_Fake):
    """Understands `fake_speech`. `step_s` is what a recognition takes."""

    def __init__(self, *, step_s: float = 0.0, window_s: float = 30.0, deaf: bool = False) -> None:
        super().__init__("fake-asr", deaf=deaf)
        self.heard: deque[str] = deque(maxlen=_KEPT)
        self.step_s = step_s
        self._window_s = window_s

    @property
    def languages(self) -> tuple[str, ...]:
        return ("en",)

    @property
    def window_s(self) -> float:
        return self._window_s

    def listen(self, *, language: str | None = None) -> _FakeListening:
        return _FakeListening(self)


class _FakeListening:
    def __init__(self, asr: FakeAsr) -> None:
        self._asr = asr
        self._pcm: list[PcmF32] = []
        self._promised: list[tuple[int, str]] = []  # by how many samples, and what
        self._closed = False
        asr._open += 1

    def push(self, pcm: PcmF32) -> None:
        if not self._closed:
            self._pcm.append(pcm.copy())

    async def transcribe(self, priority: Priority = Priority.FIRST, *, until: int | None = None) -> Heard:
        pcm = np.concatenate([np.zeros(0, np.float32), *self._pcm])
        heard = pcm[:until]
        text = fake_words(heard)
        async with self._asr._opened():
            await (self._asr._hang() if HANG_ASR in text else self._asr._pause(self._asr.step_s))
        if FAIL_ASR in text:
            raise EngineError(f"the {self._asr.name} model failed")
        self._asr.heard.append(text)
        # The last word may still grow; a promise once given is kept.
        self._promised.append((heard.size, text.rpartition(" ")[0]))
        stable = max((words for samples, words in self._promised if samples <= heard.size), key=len)
        return Heard(text, stable=len(stable))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pcm.clear()
            self._asr._open -= 1


class FakeTts(_Fake):
    """A tone for every clause: 20 ms of silence, then `char_ms` a character, in pieces of 100 ms."""

    rate_hz = 16_000
    voices = (Voice("low", "Low tone", "en"), Voice("high", "High tone", "en"))
    _TONES_HZ = {"low": 220.0, "high": 440.0}  # noqa: RUF012

    def __init__(self, *, piece_s: float = 0.0, char_ms: int = 50, deaf: bool = False) -> None:
        super().__init__("fake-tts", deaf=deaf)
        self.spoken: deque[str] = deque(maxlen=_KEPT)
        self._piece_s = piece_s
        self._char_ms = char_ms

    async def speak(
        self, text: str, *, voice: str, priority: Priority = Priority.FIRST
    ) -> AsyncGenerator[Pcm16, None]:
        """Yield s16 at 16 kHz; `piece_s` passes before each piece."""
        if voice not in self._TONES_HZ:
            raise UnknownVoice(f"no voice called {voice[:40]!r}; there are: {', '.join(self._TONES_HZ)}")
        async with self._opened():
            if not any(char.isalnum() for char in text):
                return
            self.spoken.append(text)
            time_s = np.arange(self.rate_hz * self._char_ms * len(text) // 1000) / self.rate_hz
            tone = 8_000 * np.sin(2 * np.pi * self._TONES_HZ[voice] * time_s)
            pcm = np.concatenate([np.zeros(self.rate_hz // 50), tone]).astype(np.int16)
            step = self.rate_hz // 10
            for start in range(0, len(pcm), step):
                if FAIL_TTS in text and start:
                    raise EngineError(f"the {self._name} model failed")
                if HANG_TTS in text and start:
                    await self._hang()
                await self._pause(self._piece_s)
                yield pcm[start : start + step]


class FakeVad(_Fake):
    """Voice is what is louder than -40 dBFS."""

    window = 512

    def __init__(self, *, hang: bool = False) -> None:
        super().__init__("fake-vad")
        self.hang = hang  # never answers

    def open(self) -> _FakeVadStream:
        return _FakeVadStream(self)


class _FakeVadStream:
    def __init__(self, vad: FakeVad) -> None:
        self._vad = vad
        self._closed = False
        vad._open += 1

    async def score(self, pcm: PcmF32) -> PcmF32:
        if len(pcm) % self._vad.window:
            raise ValueError(f"{len(pcm)} samples are not whole windows of {self._vad.window}")
        rms = np.sqrt(np.mean(pcm.reshape(-1, self._vad.window) ** 2, axis=1))
        await (self._vad._hang() if self._vad.hang else self._vad._pause(0))
        return np.where(rms > 0.01, 0.95, 0.02).astype(np.float32)

    def reset(self) -> None:
        """There is nothing to forget."""

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._vad._open -= 1


class FakeTurn(_Fake):
    """Finds a turn over unless the last word of `fake_speech` is one of UNFINISHED."""

    window_s = 8.0

    def __init__(self, *, run_s: float = 0.0, deaf: bool = False) -> None:
        super().__init__("fake-turn", deaf=deaf)
        self._run_s = run_s

    async def finished(self, pcm: PcmF32) -> float:
        text = fake_words(pcm[-int(self.window_s * SPEECH_RATE_HZ) :])
        async with self._opened():
            await self._pause(self._run_s)
        return 0.02 if (text.split() or [""])[-1] in UNFINISHED else 0.98
