"""What a recorded talk is made of, in memory and as a file.

A recording holds one connection of a session: how it began, then what came from the client, what went to
it, and what the turn machine decided, each with its session time (samples of session audio at 16 kHz heard
until then) and its milliseconds since the beginning. That is all that `riposte replay` needs.

A file is `MAGIC`, then records: the length as four bytes, the least first, and so many bytes of MessagePack.
The first is the `Header`, all others are entries, the last an `End`. One without an `End` was cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from riposte import __version__
from riposte.config import Config, Limits, LlmDefaults, Turn
from riposte.errors import RiposteError
from riposte.history_db import Stored
from riposte.interfaces import Models
from riposte.turn.clock import Clock
from riposte.turn.machine import Action
from riposte.wire.frames import PROTOCOL_VERSION, ClientFrame, Hello, ModelNames, Ready, ServerFrame

MAGIC = b"RIPOSTE\n"
FORMAT = 1
_LENGTH_BYTES = 4
_MAX_RECORD_BYTES = 64 << 20  # a header holds a conversation; anything longer is no record of ours


class Unreadable(RiposteError):
    """A file is no recording, or damaged. The text names no path: the caller does."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection began, and what decided: settings, models, the conversation until then."""

    format: int = FORMAT
    riposte: str = __version__
    protocol: int = PROTOCOL_VERSION
    profile: str = ""
    models: ModelNames
    begun_at: float  # seconds since 1970
    at: int  # samples heard before, of a session that was resumed
    stored: Stored  # its id is hidden
    turn: Turn
    limits: Limits
    llm: LlmDefaults


class In(msgspec.Struct, frozen=True, tag="in", array_like=True):
    """A frame of the client, when the session began to act on it."""

    at: int
    ms: float
    frame: ClientFrame


class Out(msgspec.Struct, frozen=True, tag="out", array_like=True):
    """A frame to the client, when it was handed over."""

    at: int
    ms: float
    frame: ServerFrame


class Decided(msgspec.Struct, frozen=True, tag="decided", array_like=True):
    """An action of the turn machine and its plain fields, or something else that was decided."""

    at: int
    ms: float
    action: str
    fields: dict[str, Any]


class End(msgspec.Struct, frozen=True, tag="end", array_like=True):
    """The connection was over."""

    at: int
    ms: float


Entry = In | Out | Decided | End


class Recorder(Protocol):
    """Keeps recordings somewhere."""

    def open(self, header: Header) -> Callable[[Entry], None]:
        """Begin another one; what is returned takes its entries, and never blocks or raises."""


class Recording:
    """One connection being recorded. `at` tells its session time."""

    def __init__(self, keep: Callable[[Entry], None], clock: Clock, at: Callable[[], int]) -> None:
        self._keep = keep
        self._clock = clock
        self._at = at
        self._begun = clock.now()

    def received(self, frame: ClientFrame) -> None:
        """Note a frame that the session is about to act on."""
        if isinstance(frame, Hello) and frame.session is not None:
            frame = msgspec.structs.replace(frame, session=hidden(frame.session))
        self._keep(In(self._at(), self._ms(), frame))

    def sent(self, frames: Sequence[ServerFrame]) -> None:
        """Note frames that were handed to the connection."""
        at, ms = self._at(), self._ms()
        for frame in frames:
            if isinstance(frame, Ready):
                frame = msgspec.structs.replace(frame, session=hidden(frame.session))
            self._keep(Out(at, ms, frame))

    def decided(self, actions: Sequence[Action]) -> None:
        """Note what the machine decided."""
        for action in actions:
            named = {field.name: getattr(action, field.name) for field in fields(action)}
            plain = {name: value for name, value in named.items() if isinstance(value, _PLAIN)}
            self.note(type(action).__name__, plain)

    def note(self, what: str, fields: dict[str, Any]) -> None:
        """Note something else that was decided."""
        self._keep(Decided(self._at(), self._ms(), what, fields))

    def end(self) -> None:
        """The connection is over: nothing follows."""
        self._keep(End(self._at(), self._ms()))

    def _ms(self) -> float:
        return round((self._clock.now() - self._begun) * 1000, 3)


_PLAIN = (bool, int, float, str)


def hidden(session: str) -> str:
    """Return what of a session's id may be read by others: all of it would let them in."""
    return session[-6:]


def begin_recording(
    recorder: Recorder, stored: Stored, models: Models, config: Config, clock: Clock, at: Callable[[], int]
) -> Recording:
    """Begin to record a connection of this session."""
    row = msgspec.structs.replace(stored.session, id=hidden(stored.session.id))
    header = Header(
        models=ModelNames(models.asr.name, models.llm.name, models.tts.name, models.vad.name),
        begun_at=time.time(),
        at=at(),
        stored=msgspec.structs.replace(stored, session=row),
        turn=config.turn,
        limits=config.limits,
        llm=config.llm,
    )
    return Recording(recorder.open(header), clock, at)


def encode(record: Header | Entry) -> bytes:
    """Return a record as it stands in a file."""
    body = _encoder.encode(record)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


class Recorded:
    """A recording in a file, read as it is gone through, as often as is wanted."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises Unreadable."""
        self._path = path
        try:
            with path.open("rb") as file:
                self.header = self._header(file)
        except OSError as exc:
            raise Unreadable(f"it cannot be read: {exc.strerror or exc}") from exc

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries; a record that was cut off is the end of them. Raises Unreadable."""
        with self._path.open("rb") as file:
            self._header(file)
            while (body := _next(file)) is not None:
                yield _decoded(_entries, body)

    def _header(self, file: BinaryIO) -> Header:
        if not is_recording(file.read(len(MAGIC))):
            raise Unreadable("it is no recording of `riposte serve --record`")
        if (body := _next(file)) is None:
            raise Unreadable("the recording is empty: it was cut off at once")
        if (format_ := _decoded(_formats, body).format) != FORMAT:
            raise Unreadable(
                f"the recording has format {format_}, and Riposte {__version__} reads {FORMAT};"
                " replay it with the version that made it"
            )
        header: Header = _decoded(_headers, body)
        return header


def is_recording(head: bytes) -> bool:
    """Tell by its first bytes whether a file is a recording."""
    return head[: len(MAGIC)] == MAGIC


class _Format(msgspec.Struct):
    format: int


_encoder = msgspec.msgpack.Encoder()
_formats = msgspec.msgpack.Decoder(_Format)
_headers = msgspec.msgpack.Decoder(Header)
_entries: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)


def _next(file: BinaryIO) -> bytes | None:
    """Return the next record's bytes; None at the end, be it in the middle of a record."""
    length = int.from_bytes(head, "little") if len(head := file.read(_LENGTH_BYTES)) == _LENGTH_BYTES else 0
    if length > _MAX_RECORD_BYTES:
        raise Unreadable(f"the recording is damaged: a record of {length} bytes")
    body = file.read(length)
    return body if length and len(body) == length else None


def _decoded(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise Unreadable(f"the recording is damaged: {exc}") from exc
