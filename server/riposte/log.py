"""Logging set-up. The commands call it; importing Riposte never touches logging.

A server that is made, also inside another program, calls `guard_aiohttp`: what its clients send must not
reach a log through the library.

Callers' side of the bargain: turns are logged and frames are counted, ids come first, and what a user
said appears at DEBUG only.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Literal, TextIO

import msgspec
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

from riposte.wire.frames import KEY_SUBPROTOCOL_PREFIX

log = logging.getLogger(__name__)

Level = Literal["debug", "info", "warning", "error"]


_OFFERED_KEY = re.compile(re.escape(KEY_SUBPROTOCOL_PREFIX) + r"[^,\]]*", re.IGNORECASE)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and trace where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextLines(logging.Formatter):
    """Time, level where it is above INFO, logger, message: for a terminal."""

    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; a trace follows on lines of its own."""
        level = f"{record.levelname}: " if record.levelno != logging.INFO else ""
        # A message that spans lines could pass for other records.
        message = record.getMessage().replace("\n", "\\n").replace("\r", "\\r")
        text = f"{self.formatTime(record, self.datefmt)} {level}{record.name}: {message}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


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
