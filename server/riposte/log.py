"""Logging set-up. The commands call it; importing Riposte never touches logging.

Callers' side of the bargain: turns are logged and frames are counted, ids come first, and what a user
said appears at DEBUG only.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import msgspec

Level = Literal["debug", "info", "warning", "error"]


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
