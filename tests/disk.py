"""What tests of the history do to a disk, and see on it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from riposte import history, history_db


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on no connection has room for another page: SQLite's own answer to a full disk."""
    whole = history_db.opened

    def full(path: Path) -> sqlite3.Connection:
        connection = whole(path)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(history_db, "opened", full)
    monkeypatch.setattr(history, "PROBE_S", 0.0)


def holds(folder: Path, word: str) -> bool:
    """Tell whether the word stands in any file of the folder."""
    return any(word.encode() in path.read_bytes() for path in folder.iterdir())
