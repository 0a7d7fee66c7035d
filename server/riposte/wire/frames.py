"""Every frame of the native protocol, version 1: what a client and the server may say to each other.

docs/protocol.md is the contract; tests/wire/ holds golden bytes of each frame. New fields get defaults,
types never change, unknown fields are skipped. All audio is signed 16-bit little-endian PCM, one channel.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

PROTOCOL_VERSION = 1
SUBPROTOCOL = "riposte.v1"
KEY_SUBPROTOCOL_PREFIX = "riposte.key."

# What MessagePack can carry back: JSON's integers have no bound of their own.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

Modality = Literal["text", "audio"]
TurnDetection = Literal["server", "none"]
EndReason = Literal["stop", "length", "cancelled", "interrupted", "dropped", "error"]
Clock = Literal["text", "end", "speech"]


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Open a connection, or patch its settings: absent keeps a value, null restores the default."""

    version: int = PROTOCOL_VERSION
    session: str | None = None
    audio_in_hz: int | None | UnsetType = UNSET
    audio_out_hz: int | None | UnsetType = UNSET  # null: the voice's own rate
    voice: str | None | UnsetType = UNSET
    language: str | None | UnsetType = UNSET
    instructions: str | None | UnsetType = UNSET
    modalities: list[Modality] | None | UnsetType = UNSET
    turn_detection: TurnDetection | None | UnsetType = UNSET
    patience: float | None | UnsetType = UNSET  # 0 eager … 1 patient
    max_tokens: int | None | UnsetType = UNSET
    temperature: float | None | UnsetType = UNSET
    tools: list[dict[str, Any]] | None | UnsetType = UNSET


class AudioIn(msgspec.Struct, frozen=True, tag="audio"):
    """Microphone audio, any length up to one second."""

    pcm: bytes


class End(msgspec.Struct, frozen=True, tag="end"):
    """The user has finished speaking (push to talk)."""


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A typed turn."""

    text: str


class Say(msgspec.Struct, frozen=True, tag="say"):
    """Speak this text as it stands: a turn without the language model, not part of the conversation."""

    text: str
    voice: str | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop the reply in progress; nothing happens when there is none."""


class Played(msgspec.Struct, frozen=True, tag="played"):
    """How much of that turn's audio the user has heard so far."""

    turn: int
    ms: int


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result"):
    """The answer to a `tool_call`; the turn goes on."""

    call: str
    content: str


class Clear(msgspec.Struct, frozen=True, tag="clear"):
    """Forget microphone audio that no turn has used yet."""


class Mark(msgspec.Struct, frozen=True, tag="mark"):
    """Echoed once all frames before it have been acted on. Both directions."""

    id: Int64


ClientFrame = Hello | AudioIn | End | Text | Say | Cancel | Played | ToolResult | Clear | Mark


class ModelNames(msgspec.Struct, frozen=True):
    asr: str
    llm: str
    tts: str
    vad: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The answer to every `hello`."""

    version: int
    session: str
    resumed: bool
    audio_in_hz: int
    audio_out_hz: int
    models: ModelNames
    voices: list[str]


class Speech(msgspec.Struct, frozen=True, tag="speech"):
    """Voice activity, in milliseconds of session audio."""

    state: Literal["started", "stopped"]
    at_ms: int


class Transcript(msgspec.Struct, frozen=True, tag="transcript"):
    """What was heard so far; the first `stable` code points will not change."""

    turn: int
    text: str
    stable: int
    final: bool


class Token(msgspec.Struct, frozen=True, tag="token"):
    """A piece of the reply, as it is generated."""

    turn: int
    text: str


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call"):
    """The model asks for a tool; the turn waits for `tool_result`."""

    turn: int
    call: str
    name: str
    arguments: str  # JSON


class Clause(msgspec.Struct, frozen=True, tag="clause"):
    """This stretch of the reply starts at `at_ms` of the turn's audio (captions)."""

    turn: int
    text: str
    at_ms: int


class AudioOut(msgspec.Struct, frozen=True, tag="audio"):
    """A piece of the reply's sound, in order, without gaps."""

    turn: int
    seq: int
    pcm: bytes


class Playback(msgspec.Struct, frozen=True, tag="playback"):
    """Play that turn's sound at this gain from now on, what is buffered included; 0 throws it away."""

    turn: int
    gain: float


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    audio_ms: int = 0


class Timing(msgspec.Struct, frozen=True):
    """Milliseconds after the turn's zero; null where a stage did not run."""

    clock: Clock
    endpoint: float | None = None
    asr: float | None = None
    llm_first_token: float | None = None
    tts_first_audio: float | None = None
    first_audio_sent: float | None = None
    audible: float | None = None
    last_token: float | None = None
    done: float | None = None


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The turn is over; no frame of it follows."""

    turn: int
    reason: EndReason
    heard_ms: int | None
    usage: Usage
    timing: Timing


class Error(msgspec.Struct, frozen=True, tag="error"):
    """A sentence for a person, a code for a program."""

    code: str
    message: str
    turn: int | None = None


ServerFrame = (
    Ready | Speech | Transcript | Token | ToolCall | Clause | AudioOut | Playback | Done | Error | Mark
)
