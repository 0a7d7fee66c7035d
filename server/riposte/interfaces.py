"""The roles a model can play, and what passes between them and a turn.

A back end is a class in riposte.backends that satisfies one of these Protocols; the suite in
tests/contract/ is what "satisfies" means. Turn logic knows the Protocols alone.

Shared rules: models run in threads or processes of their own, never on the event loop; closing a
stream stops the work within one step of the model; `active` counts streams open now, so a test can
see that nothing leaks; `warm_up` runs every shape that is served, before /health says healthy;
a model that fails raises EngineError to whoever waits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

SPEECH_RATE_HZ = 16_000  # what hearing and voice activity listen at

Pcm16 = NDArray[np.int16]
PcmF32 = NDArray[np.float32]  # -1 … 1


class Priority(IntEnum):
    """Who goes first at a model's queue; lower is sooner."""

    FIRST = 0  # somebody waits in silence: a final recognition, the first tokens, the first clause
    LATER = 1  # the rest of a reply that already sounds
    AHEAD = 2  # work that may turn out useless: partial recognition, prefill


class ToolUse(msgspec.Struct, frozen=True):
    """A tool the model asks for. `arguments` is a JSON object, compact.

    `error` says what keeps a call from being one, in words for the model: then `arguments` is whatever
    it wrote, and `name` may be empty.
    """

    call: str
    name: str
    arguments: str
    error: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation, as chat templates know it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolUse, ...] = ()


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is chosen. Temperature 0 is greedy, and then the rest but stop does nothing."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0  # 0: off
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class LlmUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    cached_tokens: int  # of the prompt, how many were in the model's cache already
    completion_tokens: int


class Piece(msgspec.Struct, frozen=True):
    """A step of a reply. `finish` and `usage` are set on the last piece alone.

    The text is what is said: it is empty while a tool call is written, which comes whole when it is.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    tool_calls: tuple[ToolUse, ...] = ()
    finish: Literal["stop", "length"] | None = None
    usage: LlmUsage | None = None


class Backend(Protocol):
    """What every model offers, whatever its role."""

    @property
    def name(self) -> str:
        """The model's name, for people: `ready.models` and /health show it."""

    @property
    def active(self) -> int:
        """How many streams are open now."""

    async def warm_up(self) -> None:
        """Run every shape that is served once or twice."""

    async def aclose(self) -> None:
        """Stop the threads and processes; whoever still waits gets EngineError."""


class Llm(Backend, Protocol):
    """Text for a conversation."""

    @property
    def context_tokens(self) -> int:
        """Prompt and reply together never exceed this many tokens."""

    @property
    def takes_tools(self) -> bool:
        """Is the model shown the tools that `generate` is given?"""

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> int:
        """Count the tokens of the rendered conversation, generation prompt included."""

    def generate(
        self,
        messages: Sequence[Message],
        *,
        key: str,
        sampling: Sampling,
        priority: Priority = Priority.FIRST,
        tools: Sequence[dict[str, Any]] = (),
    ) -> AsyncGenerator[Piece, None]:
        """Yield the reply as it is made.

        `key` names the conversation: what its last prompt and this one share is not computed again.
        Exactly one piece, the last, has `finish`. A piece's text never ends inside a character, nor
        holds a special token. With tools offered, a call that the model writes is no text but a
        ToolUse, malformed ones included; a call that the reply's end cuts off comes with the last piece.
        Closing stops the model within one step. Raises TooLarge when the prompt leaves no room for a
        reply, EngineError when the model fails.
        """

    async def prefill(
        self, messages: Sequence[Message], *, key: str, tools: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Bring the conversation's prefix into the cache ahead of time. A hint: failing is silent."""

    async def turn_end(
        self,
        messages: Sequence[Message],
        *,
        key: str,
        priority: Priority = Priority.AHEAD,
        tools: Sequence[dict[str, Any]] = (),
    ) -> float | None:
        """Return how probable the model finds it that the user's turn ends behind the last word of it.

        The last message is the user's, as far as it was heard. The conversation is in the cache afterwards
        up to that word, so that a reply to the same words begins almost at once, and one to more words or
        other words computes what differs. None: the model cannot tell, or was not left the time to; like
        `prefill` it fails silently. Cancelling stops the model within a step.
        """

    def forget(self, key: str) -> None:
        """Give up what is cached for this conversation."""


class Heard(msgspec.Struct, frozen=True):
    """The words of an utterance so far; the first `stable` code points will not change."""

    text: str
    stable: int = 0


class Listening(Protocol):
    """One utterance in progress. It owns its audio; the model's thread never touches it."""

    def push(self, pcm: PcmF32) -> None:
        """Add samples at 16 kHz. Never waits, never runs the model."""

    async def transcribe(self, priority: Priority = Priority.FIRST, *, until: int | None = None) -> Heard:
        """Return the words of the first `until` samples, or of everything pushed so far.

        More may be pushed and asked for later. What was promised as `stable` is the beginning of every later
        answer for as many samples or more; but for that, the same samples give the same words, whatever was
        asked for in between.
        Speech beyond the model's window is cut at pauses and its text carried on. Silence and noise
        have no words: the text is then empty. Cancelling drops the work at its next step.
        """

    def close(self) -> None:
        """Drop the audio. May be called twice."""


class Asr(Backend, Protocol):
    """Words for speech."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes ("en") that `listen` takes."""

    @property
    def window_s(self) -> float:
        """The longest stretch that the model hears at once, in seconds."""

    def listen(self, *, language: str | None = None) -> Listening:
        """Begin an utterance. None: the model's own choice of language."""


class Voice(msgspec.Struct, frozen=True):
    id: str
    name: str
    language: str


class Tts(Backend, Protocol):
    """Sound for text."""

    @property
    def rate_hz(self) -> int:
        """Samples a second of what `speak` yields."""

    @property
    def voices(self) -> tuple[Voice, ...]:
        """The voices that `speak` takes; the first is the default."""

    def speak(
        self, text: str, *, voice: str, priority: Priority = Priority.FIRST
    ) -> AsyncGenerator[Pcm16, None]:
        """Yield one clause's sound as it is made, in pieces of any length.

        Text without anything to pronounce yields nothing. Closing stops the work. Raises
        UnknownVoice before any sound, EngineError when the model fails.
        """


class VadStream(Protocol):
    """Voice activity of one microphone."""

    async def score(self, pcm: PcmF32) -> PcmF32:
        """Score whole windows, in order: n * window samples at 16 kHz give n probabilities of voice."""

    def reset(self) -> None:
        """Forget what was heard."""

    def close(self) -> None:
        """Give the stream back."""


class Vad(Backend, Protocol):
    """Is somebody speaking?"""

    @property
    def window(self) -> int:
        """Samples a window."""

    def open(self) -> VadStream:
        """Begin listening to one microphone."""


class TurnDetector(Backend, Protocol):
    """Has the user finished, by the sound of it? Beside the language model's opinion of the words."""

    @property
    def window_s(self) -> float:
        """How much of an utterance's end it hears, in seconds."""

    async def finished(self, pcm: PcmF32) -> float:
        """Return how probable it is that the turn ends here. `pcm`: up to `window_s` at 16 kHz."""


@dataclass(frozen=True, slots=True)
class Models:
    """The roles, filled; `turn` None: no model hears whether a turn is over."""

    asr: Asr
    llm: Llm
    tts: Tts
    vad: Vad
    turn: TurnDetector | None = None
