"""What a turn is given, and what it leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from riposte.interfaces import Heard, Message, Pcm16, Sampling
from riposte.turn.clock import Clock as Timer
from riposte.turn.playback import Playback
from riposte.wire.frames import Clock, Done, Modality


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a stage may stay silent before its turn ends in an error, in seconds."""

    asr_s: float
    llm_s: float  # without a token
    tts_s: float  # without a piece of sound
    tool_s: float  # without the results of the tools that a round asks for
    stop_s: float  # for a model that was told to stop; then the turn ends without it


@dataclass(frozen=True, slots=True)
class TurnSpec:
    """What a turn answers, and how. Times are the timer's."""

    number: int
    clock: Clock
    text: str | None  # typed, or to be said
    words: Callable[[], Awaitable[Heard]] | None  # spoken: what was heard
    release: Callable[[], None] | None  # called at the turn's end: what was heard can go
    say: bool
    modalities: frozenset[Modality]
    voice: str
    audio_out_hz: int
    sampling: Sampling
    conversation_key: str
    tools: Sequence[dict[str, Any]]
    tool_rounds: int  # in how many the model may ask for tools
    ahead_ms: int | None  # None: sound leaves as fast as it is made
    deadlines: Deadlines
    timer: Timer
    # Told of each piece of sound, and in how many seconds it begins to be played, if not later.
    sounding: Callable[[Pcm16, float], None] | None
    prompt: Callable[[str], list[Message]]  # the conversation, with these words of the user added
    # Drop the conversation's oldest half for the sake of the turn's own messages; False: that would not help.
    shorten: Callable[[list[Message]], bool]


@dataclass(slots=True)
class Stages:
    """When each stage came, in seconds of `time.monotonic`."""

    endpoint: float | None = None
    asr: float | None = None
    llm_first_token: float | None = None
    tools: float | None = None  # the client was asked for the last time
    tts_first_audio: float | None = None
    first_audio_sent: float | None = None
    audible: float | None = None
    last_token: float | None = None


@dataclass(slots=True)
class TurnEnd:
    """How a turn ended: what the conversation keeps, and the frame that says so."""

    user: str
    steps: tuple[Message, ...]  # what was asked of tools and answered, before the reply
    reply: str  # as generated
    heard: str  # as far as the user heard it
    context_tokens: int  # how much of the model's context the conversation fills
    tool_calls: Mapping[str, int]  # by what came of them
    done: Done
    playback: Playback | None
    unseen: bool  # no frame of it ever left
