"""Logging set-up. The commands call it; importing Riposte never touches logging.

A server that is made, also inside another program, calls `guard_aiohttp`: what its clients send must not
reach a log through the library.

Callers' side of the bargain: turns are logged and frames are counted, ids come first, and what a user
said appears at DEBUG only.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import msgspec
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

from riposte.wire.frames import KEY_SUBPROTOCOL_PREFIX, Done, Timing, Usage

log = logging.getLogger(__name__)
turns = logging.getLogger("riposte.turns")

Level = Literal["debug", "info", "warning", "error"]


PACE_TOKENS = 8  # in a shorter reply the pace is chance: tokens reach the event loop in bunches
_FIELDS = "fields"  # of a record: what a program reads of it
_WORD = re.compile(r"[\w.+-]+")
_OFFERED_KEY = re.compile(re.escape(KEY_SUBPROTOCOL_PREFIX) + r"[^,\]]*", re.IGNORECASE)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, its fields, and trace where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in _fields_of(record).items():
            # Half a surrogate pair, which JSON can carry, is nothing that a line can hold.
            line.setdefault(
                name, value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            )
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextLines(logging.Formatter):
    """Time, level where it is above INFO, logger, message, its fields as name=value: for a terminal."""

    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; a trace follows on lines of its own."""
        level = f"{record.levelname}: " if record.levelno != logging.INFO else ""
        # A message that spans lines could pass for other records.
        message = record.getMessage().replace("\n", "\\n").replace("\r", "\\r")
        message += "".join(f" {name}={_shown(value)}" for name, value in _fields_of(record).items())
        text = f"{self.formatTime(record, self.datefmt)} {level}{record.name}: {message}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def log_turn(session: str, done: Done, tool_calls: Mapping[str, int] | None = None, **said: str) -> None:
    """Log a turn's end as one line of figures, and what was `said` in it at DEBUG alone.

    `tool_calls`: how many, by what came of them.
    """
    calls = sum((tool_calls or {}).values())
    timing, usage = done.timing, done.usage
    figures: dict[str, Any] = {
        "session": session[-6:],  # the whole id would let its reader in
        "turn": done.turn,
        "clock": timing.clock,
        "reason": done.reason,
        "heard_ms": done.heard_ms,
        **{f"{name}_ms": getattr(timing, name) for name in timing.__struct_fields__ if name != "clock"},
        **msgspec.structs.asdict(usage),
        "tool_calls": calls or None,
        # The tokens of a call are no text, and the wait for its result is no token's.
        "tokens_per_s": None if calls else _pace(timing, usage),
    }
    fields = {name: value for name, value in figures.items() if value is not None}
    turns.info("turn ended", extra={_FIELDS: fields})
    if said and turns.isEnabledFor(logging.DEBUG):
        turns.debug("turn said", extra={_FIELDS: {"session": session[-6:], "turn": done.turn, **said}})


def _pace(timing: Timing, usage: Usage) -> float | None:
    """Return the reply's tokens a second, the first one's wait left out; None where there is no pace."""
    first, last = timing.llm_first_token, timing.last_token
    if first is None or last is None or last <= first or usage.completion_tokens < PACE_TOKENS:
        return None
    return round((usage.completion_tokens - 1) * 1000 / (last - first), 1)


def _shown(value: object) -> str:
    """Return a field as one word, or in quotation marks with everything unusual escaped."""
    return json.dumps(value) if isinstance(value, str) and not _WORD.fullmatch(value) else str(value)


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, _FIELDS, {})
    return fields


def set_up(level: Level = "info", *, json: bool = False, stream: TextIO | None = None) -> None:
    """Send every log record to stderr (or `stream`) and nowhere else. May be called again."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonLines() if json else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # One line a request would drown the turns; its warnings still come through.
    logging.getLogger("aiohttp.access").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


def guard_aiohttp() -> None:
    """Keep what clients send out of what aiohttp logs: keys, and requests that are no HTTP.

    For every server that is made, whoever sets up logging. May be called again.
    """
    # The functions are the same ones each time, so that the logger keeps one of each.
    logging.getLogger("aiohttp.websocket").addFilter(_without_keys)
    logging.getLogger("aiohttp.server").addFilter(_without_requests)


def _without_keys(record: logging.LogRecord) -> bool:
    """Cut keys out of a warning that lists the subprotocols of a client with none of ours."""
    message = record.getMessage()
    if _OFFERED_KEY.search(message):
        record.msg, record.args = _OFFERED_KEY.sub(f"{KEY_SUBPROTOCOL_PREFIX}…", message), ()
    return True


def _without_requests(record: logging.LogRecord) -> bool:
    """Replace the trace of a request that cannot be read, which shows its bytes, with a line."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError | RequestPayloadError):
        return True
    log.info("refused a request that is no HTTP (%s)", type(error).__name__)
    return False
