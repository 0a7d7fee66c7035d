"""The database of the history: its schema, and what is read from and written to it. Blocks; for one thread.

Every function takes the connection inside a transaction of its caller's, unless it says otherwise.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from riposte.conversation import Exchange
from riposte.errors import RiposteError
from riposte.interfaces import Message

log = logging.getLogger(__name__)

BUSY_S = 1.0  # another program may look into the database meanwhile

Kind = Literal["native", "chat"]

# Each entry leads from the version of its index to the next; `user_version` says where a file stands.
# What has been released is never changed: a change is a new entry at the end.
MIGRATIONS = (
    """
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, settings TEXT NOT NULL,
        turn INTEGER NOT NULL, prompt_from INTEGER NOT NULL, created_at REAL NOT NULL, used_at REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX sessions_by_name ON sessions (kind, name);
    CREATE INDEX sessions_by_use ON sessions (used_at);
    CREATE TABLE turns (
        session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE, turn INTEGER NOT NULL,
        user TEXT NOT NULL, reply TEXT NOT NULL, steps TEXT NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (session, turn)
    ) WITHOUT ROWID;
    """,
)


class HistoryUnusable(RiposteError):
    """The database cannot be opened; the text says which file and why."""


class SessionRow(msgspec.Struct, frozen=True):
    """A session as it stands after a turn. Times are seconds since 1970."""

    id: str
    kind: Kind
    name: str  # the client's own word for it; "" for native ones
    settings: dict[str, Any]  # those that its client chose
    turn: int  # the last number given
    prompt_from: int  # older turns are kept, and no longer part of the prompt
    created_at: float
    used_at: float


class StoredTurn(msgspec.Struct, frozen=True):
    """One turn of the conversation; `reply` is what was heard of it."""

    turn: int
    at: float
    user: str
    reply: str
    steps: tuple[Message, ...]


class Stored(msgspec.Struct, frozen=True):
    """A session and its turns, oldest first."""

    session: SessionRow
    turns: list[StoredTurn]

    def exchanges(self) -> list[Exchange]:
        """Return the conversation as the next prompt needs it."""
        return [
            Exchange(turn.turn, turn.user, turn.reply, turn.steps)
            for turn in self.turns
            if turn.turn >= self.session.prompt_from
        ]


class Listed(msgspec.Struct, frozen=True):
    """A line of the list of sessions."""

    session: SessionRow
    turns: int


def opened(path: Path) -> sqlite3.Connection:
    """Open or make the file, for its owner alone, with this version's schema.

    Raises HistoryUnusable for a file of a newer version, sqlite3.Error, OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its -wal and -shm files the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # Also a power cut loses no turn that was told of. 0.2 ms here (docs/log.md).
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # what a user deletes is overwritten
        migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, path: Path, migrations: Iterable[str] = MIGRATIONS) -> None:
    """Bring the schema to the latest version, step by step, each step whole or not at all."""
    steps = tuple(migrations)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise HistoryUnusable(
            f"{path} was written by a newer Riposte (schema {version}, this one knows {len(steps)});"
            " use that one, or another folder with --data"
        )
    for number, script in enumerate(steps[version:], version + 1):
        log.info("bringing %s to schema %d", path, number)
        # Another server may have taken this step since the version was read.
        connection.execute("BEGIN IMMEDIATE")
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] < number:
                for statement in script.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def write(
    connection: sqlite3.Connection, row: SessionRow, turn: StoredTurn | None, forgotten: int | None = None
) -> None:
    """Store a session as it stands, and a turn of it; what is stored already is replaced."""
    settings = msgspec.json.encode(row.settings).decode()
    connection.execute(
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " settings = excluded.settings, turn = excluded.turn, prompt_from = excluded.prompt_from,"
        " used_at = excluded.used_at",
        (row.id, row.kind, row.name, settings, row.turn, row.prompt_from, row.created_at, row.used_at),
    )
    if forgotten is not None:
        connection.execute("DELETE FROM turns WHERE session = ? AND turn = ?", (row.id, forgotten))
    if turn is not None:
        steps = msgspec.json.encode(turn.steps).decode()
        connection.execute(
            "INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (session, turn) DO UPDATE SET"
            " reply = excluded.reply, steps = excluded.steps",
            (row.id, turn.turn, turn.user, turn.reply, steps, turn.at),
        )


def write_nothing(connection: sqlite3.Connection) -> None:
    """Write without changing anything: does the disk take it?"""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


_COLUMNS = "id, kind, name, settings, turn, prompt_from, created_at, used_at"


def _row(values: Any) -> SessionRow:
    identity, kind, name, settings, turn, prompt_from, created_at, used_at = values
    return SessionRow(
        identity, kind, name, msgspec.json.decode(settings), turn, prompt_from, created_at, used_at
    )


def _turn(values: Any) -> StoredTurn:
    turn, at, user, reply, steps = values
    return StoredTurn(turn, at, user, reply, msgspec.json.decode(steps, type=tuple[Message, ...]))


def read(connection: sqlite3.Connection, where: str, *values: str) -> Stored | None:
    """Return the session that a condition finds, the latest used where there are several."""
    query = f"SELECT {_COLUMNS} FROM sessions WHERE {where} ORDER BY used_at DESC LIMIT 1"
    found = connection.execute(query, values).fetchone()
    if found is None:
        return None
    turns = connection.execute(
        "SELECT turn, at, user, reply, steps FROM turns WHERE session = ? ORDER BY turn", (found[0],)
    )
    return Stored(
        _row(found),
        [_turn(values) for values in turns],
    )


def listed(connection: sqlite3.Connection) -> list[Listed]:
    """Return every session, the latest used first; their settings are left out."""
    columns = _COLUMNS.replace("settings", "'{}'")
    rows = connection.execute(
        f"SELECT {columns}, (SELECT count(*) FROM turns WHERE session = id) FROM sessions"
        " ORDER BY used_at DESC, id"
    )
    return [Listed(_row(row[:8]), row[8]) for row in rows]


def deleted(connection: sqlite3.Connection, ids: Collection[str]) -> int:
    """Delete these sessions with their turns; return how many there were."""
    rows = connection.executemany("DELETE FROM sessions WHERE id = ?", [(one,) for one in ids])
    return rows.rowcount


def scrubbed(connection: sqlite3.Connection) -> bool:
    """Empty the log, where what was overwritten in the pages still stands; False: a reader is in the way.

    Outside of a transaction. Waits for nobody: turns wait behind it.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error:
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")
    return not busy


def expired(connection: sqlite3.Connection, older_than: float, count: int, spared: Collection[str]) -> int:
    """Delete what was not used since then and what is beyond the `count` latest; return how many went."""
    old = connection.execute(
        "SELECT id FROM sessions WHERE used_at < ? UNION"
        " SELECT id FROM (SELECT id FROM sessions ORDER BY used_at DESC, id LIMIT -1 OFFSET ?)",
        (older_than, count),
    )
    going = [one for (one,) in old.fetchall() if one not in spared]
    return deleted(connection, going) if going else 0
