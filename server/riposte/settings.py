"""What a client may choose for its session, and how a `hello` changes it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta

from riposte.config import Limits
from riposte.errors import BadValue, ClientError, TooLarge, Unavailable, UnknownVoice
from riposte.interfaces import SPEECH_RATE_HZ, Models
from riposte.wire.frames import Hello, Modality, TurnDetection

log = logging.getLogger(__name__)

RATES_HZ = range(8_000, 48_001)
MAX_TOKENS = range(1, 8_193)
MAX_TOOLS = 64


class _Function(msgspec.Struct, omit_defaults=True):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    description: str | None = None
    parameters: dict[str, Any] | None = None  # JSON Schema, which the model alone reads


class _Tool(msgspec.Struct):
    type: Annotated[str, Meta(pattern=r"^function\Z")]
    function: _Function


class _Tools(msgspec.Struct):
    tools: list[_Tool]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One session's settings; null of the wire is already its default here."""

    audio_in_hz: int = SPEECH_RATE_HZ
    audio_out_hz: int
    voice: str
    language: str | None = None
    instructions: str
    modalities: frozenset[Modality] = frozenset({"text", "audio"})
    turn_detection: TurnDetection = "server"
    patience: float = 0.3
    max_tokens: int
    temperature: float
    tools: tuple[dict[str, Any], ...] = ()


def default_settings(models: Models, *, instructions: str, max_tokens: int, temperature: float) -> Settings:
    """Return what holds for a session whose client chose nothing."""
    return Settings(
        audio_out_hz=models.tts.rate_hz,
        voice=models.tts.voices[0].id,
        instructions=instructions,
        max_tokens=max_tokens,
        temperature=temperature,
    )


def patched(settings: Settings, hello: Hello, defaults: Settings, models: Models, limits: Limits) -> Settings:
    """Return the settings with a `hello` applied: absent keeps a value, null restores the default.

    Raises BadValue, TooLarge, UnknownVoice or Unavailable, and then nothing of the frame holds.
    """
    changes: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        value = getattr(hello, name)
        if value is not UNSET:
            changes[name] = getattr(defaults, name) if value is None else value
    if "modalities" in changes:
        changes["modalities"] = frozenset(changes["modalities"])
    if "tools" in changes:
        changes["tools"] = _known_tools(changes["tools"], limits.tools_chars)
    new = msgspec.structs.replace(settings, **changes)
    _check(new, models, limits.text_chars)
    return new


def chosen(settings: Settings, defaults: Settings) -> dict[str, Any]:
    """Return the settings that are not the defaults, as a stored session keeps them."""
    names = [
        name for name in Settings.__struct_fields__ if getattr(settings, name) != getattr(defaults, name)
    ]
    return {name: msgspec.to_builtins(getattr(settings, name)) for name in names}


def restored(stored: dict[str, Any], defaults: Settings, models: Models, limits: Limits) -> Settings:
    """Return the settings of a stored session; the defaults if this server cannot have them any more."""
    try:
        hello = msgspec.convert({"type": "hello", **stored}, Hello)
        return patched(defaults, hello, defaults, models, limits)
    except (msgspec.ValidationError, ClientError) as exc:
        log.warning("a stored session begins with default settings: %s", exc)
        return defaults


def known_voice(voice: str, models: Models) -> str:
    """Return the voice's id. Raises UnknownVoice that names some of those there are."""
    ids = [known.id for known in models.tts.voices]
    if voice not in ids:
        raise UnknownVoice(f"no voice {voice[:40]!r}; there are {_some(ids)}")
    return voice


def _check(new: Settings, models: Models, text_chars: int) -> None:
    for name in ("audio_in_hz", "audio_out_hz"):
        if getattr(new, name) not in RATES_HZ:
            raise BadValue(f"{name} is {getattr(new, name)}; it must be from 8000 to 48000")
    if new.max_tokens not in MAX_TOKENS:
        raise BadValue(f"max_tokens is {new.max_tokens}; it must be from 1 to {MAX_TOKENS[-1]}")
    if not (math.isfinite(new.temperature) and 0 <= new.temperature <= 5):
        raise BadValue(f"temperature is {new.temperature}; it must be from 0 to 5")
    if not (math.isfinite(new.patience) and 0 <= new.patience <= 1):
        raise BadValue(f"patience is {new.patience}; it must be from 0 (eager) to 1 (patient)")
    if not new.modalities:
        raise BadValue('modalities is empty; choose "text", "audio" or both')
    if len(new.instructions) > text_chars:
        raise TooLarge(f"instructions have {len(new.instructions)} characters; {text_chars} are allowed")
    if new.language is not None and new.language not in models.asr.languages:
        raise Unavailable(
            f"this profile does not hear {new.language[:20]!r}; it hears {_some(models.asr.languages)}"
        )
    if new.tools and not models.llm.takes_tools:
        raise Unavailable(f"{models.llm.name}, this profile's language model, takes no tools; leave them out")
    known_voice(new.voice, models)


def _known_tools(tools: Sequence[dict[str, Any]], chars: int) -> tuple[dict[str, Any], ...]:
    """Return the tools as the model is shown them: the fields that are known, in one order.

    Two spellings of a tool are then one prompt. Raises BadValue or TooLarge.
    """
    if len(tools) > MAX_TOOLS:
        raise TooLarge(f"there are {len(tools)} tools; {MAX_TOOLS} are allowed")
    try:
        # Through JSON, which the model reads: MessagePack holds more than that can say.
        plain = msgspec.json.decode(msgspec.json.encode({"tools": tools}))
        known = msgspec.to_builtins(msgspec.convert(plain, _Tools)).get("tools")
    except (msgspec.ValidationError, TypeError, RecursionError) as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise BadValue(f"a tool cannot be used: {reason}") from exc
    names = [tool["function"]["name"] for tool in known]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadValue(f"tools[{index}] is called {name!r}, as another is; each needs a name of its own")
    size = len(msgspec.json.encode(known).decode())
    if size > chars:
        raise TooLarge(f"the tools have {size} characters of JSON; {chars} are allowed")
    return tuple(known)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more (GET /voices)"
