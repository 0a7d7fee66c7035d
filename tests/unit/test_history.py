"""The history on disk: what is stored, what goes, what a broken disk does. The database is a real one."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from disk import fill, holds

from riposte import history_db
from riposte.conversation import Exchange
from riposte.errors import ClientError
from riposte.history import FILE, History
from riposte.history_db import HistoryUnusable, SessionRow
from riposte.interfaces import Message, ToolUse

STEPS = (
    Message("assistant", "", (ToolUse("call_1", "set_light", '{"room":"kitchen"}'),)),
    Message("tool", '{"ok":true}'),
)


def row(
    session: str = "s", *, turn: int = 1, used_at: float = 1.0, name: str = "", prompt_from: int = 1
) -> SessionRow:
    kind = "chat" if name else "native"
    return SessionRow(session, kind, name, {"voice": "deep"}, turn, prompt_from, 0.5, used_at)


def exchange(turn: int = 1, user: str = "hello", reply: str = "Good day.") -> Exchange:
    return Exchange(turn, user, reply, STEPS)


async def opened(folder: Path, *, required: bool = True) -> History:
    history = History(folder, required=required, deadline_ms=10_000)
    await history.open()
    return history


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    history = await opened(tmp_path)
    yield history
    await history.aclose()


LONG = "x" * 50_000  # does not fit into the pages that there are


async def test_what_is_kept_is_read_back_by_another_server(tmp_path: Path) -> None:
    history = await opened(tmp_path)
    assert await history.keep(row(turn=2), exchange(2)) is None
    await history.aclose()
    history = await opened(tmp_path)
    stored = await history.load("native", "s")
    await history.aclose()
    assert stored is not None
    assert stored.session == row(turn=2)
    assert stored.exchanges() == [exchange(2)]


async def test_the_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    history = await opened(folder)
    await history.keep(row(), exchange())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    await history.aclose()
    assert modes == dict.fromkeys((FILE, f"{FILE}-wal", f"{FILE}-shm"), 0o600)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_looser_mode_of_an_old_file_is_mended(tmp_path: Path) -> None:
    await (await opened(tmp_path)).aclose()
    (tmp_path / FILE).chmod(0o644)
    await (await opened(tmp_path)).aclose()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


async def test_a_turn_is_replaced_by_what_was_heard_of_it_in_the_end(history: History) -> None:
    await history.keep(row(), exchange(reply="One two three."))
    await history.keep(row(), exchange(reply="One two"))
    stored = await history.export("s")
    assert stored is not None
    assert [turn.reply for turn in stored.turns] == ["One two"]


async def test_a_turn_that_is_forgotten_is_written_nowhere(history: History, tmp_path: Path) -> None:
    for turn, user in ((1, "weather"), (2, "the secret word is xylophone")):
        await history.keep(row(turn=turn), exchange(turn, user))
    await history.keep(row("other"), exchange(2))
    assert await history.keep(row(turn=3), exchange(3), forgotten=2) is None
    stored, other = await history.export("s"), await history.export("other")
    assert stored is not None
    assert other is not None
    assert [turn.turn for turn in stored.turns] == [1, 3]
    assert [turn.turn for turn in other.turns] == [2]


async def test_turns_out_of_the_prompt_are_exported_all_the_same(history: History) -> None:
    for turn in (1, 2, 3):
        await history.keep(row(turn=turn, prompt_from=1 if turn < 3 else 3), exchange(turn))
    stored = await history.load("native", "s")
    assert stored is not None
    assert [turn.turn for turn in stored.turns] == [1, 2, 3]
    assert [kept.turn for kept in stored.exchanges()] == [3]


async def test_a_number_is_kept_for_a_turn_that_left_no_words(history: History) -> None:
    await history.keep(row(turn=7), None)
    stored = await history.load("native", "s")
    assert stored is not None
    assert (stored.session.turn, stored.turns) == (7, [])


async def test_chats_are_found_by_name_and_never_by_a_native_id(history: History) -> None:
    await history.keep(row("chat-1", name="kitchen"), exchange())
    found = await history.load("chat", "kitchen")
    assert found is not None
    assert found.session.id == "chat-1"
    assert await history.load("native", "chat-1") is None
    assert await history.load("chat", "") is None


async def test_many_turns_at_once_share_transactions(history: History, tmp_path: Path) -> None:
    kept = [history.keep(row(f"s{number}", used_at=number), exchange()) for number in range(200)]
    assert await asyncio.gather(*kept) == [None] * 200
    listed = await history.sessions()
    assert [row.session.id for row in listed] == [f"s{number}" for number in reversed(range(200))]


async def test_deleting_leaves_no_word_in_any_file(history: History, tmp_path: Path) -> None:
    await history.keep(row(), exchange(user="the secret word is xylophone"))
    await history.keep(row("other"), exchange(user="weather"))
    assert holds(tmp_path, "xylophone")
    assert await history.delete("s")
    assert not await history.delete("s")
    assert not holds(tmp_path, "xylophone")
    assert [row.session.id for row in await history.sessions()] == ["other"]


async def test_a_reader_keeps_deleted_words_in_the_log_while_it_reads_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_db, "BUSY_S", 3600.0)  # who waits for the reader waits too long
    history = await opened(tmp_path)
    await history.keep(row(), exchange(user="the secret word is xylophone"))
    reader = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM turns").fetchall() == [(1,)]
    history.expire(older_than=0.0, count=10, spared=())
    assert await history.delete("s")
    assert await history.keep(row("other"), exchange()) is None
    assert holds(tmp_path, "xylophone")
    reader.close()
    assert await history.keep(row("other", turn=2), exchange(2)) is None
    assert not holds(tmp_path, "xylophone")
    await history.aclose()


async def test_sessions_expire_by_age_and_by_count_but_for_those_in_use(history: History) -> None:
    for number in range(6):
        await history.keep(row(f"s{number}", used_at=float(number)), exchange())
    history.expire(older_than=2.0, count=3, spared={"s0"})
    assert [row.session.id for row in await history.sessions()] == ["s5", "s4", "s3", "s0"]
    assert await history.export("s1") is None


@pytest.mark.parametrize("required", [True, False])
async def test_a_full_disk_is_told_and_loses_nothing_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: bool
) -> None:
    await (await opened(tmp_path)).aclose()
    with monkeypatch.context() as patch:
        fill(patch)
        history = await opened(tmp_path, required=required)
        error = await history.keep(row(), exchange(user=LONG))
        assert history.problem == "database or disk is full"
        if required:
            assert isinstance(error, ClientError)
            assert error.code == "engine"
            assert "database or disk is full" in str(error)
            assert isinstance(history.refusal, ClientError)
        else:
            assert error is None
            assert history.refusal is None
    stored = await history.export("s")
    assert history.problem is None
    assert history.refusal is None
    await history.aclose()
    assert stored is not None
    assert stored.turns[0].user == LONG


async def test_what_a_disk_refused_is_written_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await opened(tmp_path)).aclose()
    with monkeypatch.context() as patch:
        fill(patch)
        history = await opened(tmp_path, required=False)
        await history.keep(row(), exchange(user=LONG))
    await history.aclose()
    history = await opened(tmp_path)
    assert await history.export("s") is not None
    await history.aclose()


@pytest.mark.parametrize(("required", "told"), [(True, "engine"), (False, None)])
async def test_a_disk_that_does_not_answer_holds_a_turn_up_for_its_deadline_alone(
    tmp_path: Path, required: bool, told: str | None
) -> None:
    history = History(tmp_path, required=required, deadline_ms=1)
    await history.open()
    blocker = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # another program holds the lock
    kept = history.keep(row(), exchange())
    error = await kept
    assert getattr(error, "code", None) == told
    blocker.execute("COMMIT")
    blocker.close()
    assert await history.export("s") is not None  # late, and not lost
    await history.aclose()


async def test_a_folder_that_cannot_be_made_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryUnusable, match=r"cannot be used: (File exists|Not a directory)"):
        await opened(tmp_path / "file")
    history = await opened(tmp_path / "file", required=False)
    assert history.problem is not None
    await history.aclose()


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"dear diary, " * 100)
    with pytest.raises(HistoryUnusable, match="not a database"):
        await opened(tmp_path)
    assert (tmp_path / FILE).read_bytes() == b"dear diary, " * 100


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    await (await opened(tmp_path)).aclose()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for required in (True, False):  # going on without would hide it
        with pytest.raises(HistoryUnusable, match="a newer Riposte"):
            await opened(tmp_path, required=required)


async def test_a_migration_keeps_what_is_there_and_each_step_is_whole_or_not_at_all(tmp_path: Path) -> None:
    history = await opened(tmp_path)
    await history.keep(row(), exchange())
    await history.aclose()
    path = tmp_path / FILE
    connection = sqlite3.connect(path, isolation_level=None)
    good = "ALTER TABLE turns ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'"
    bad = "ALTER TABLE turns ADD COLUMN half TEXT; ALTER TABLE nothing ADD COLUMN other TEXT"
    with pytest.raises(sqlite3.OperationalError):
        history_db.migrate(connection, path, (*history_db.MIGRATIONS, good, bad))
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    assert version == len(history_db.MIGRATIONS) + 1
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(turns)")]
    assert "mood" in columns
    assert "half" not in columns
    assert connection.execute("SELECT user, mood FROM turns").fetchall() == [("hello", "calm")]
    history_db.migrate(connection, path, (*history_db.MIGRATIONS, good))  # again: nothing to do
    connection.close()


async def test_a_damaged_session_concerns_itself_alone(history: History, tmp_path: Path) -> None:
    await history.keep(row(), exchange())
    await history.keep(row("other"), exchange())
    connection = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    connection.execute("UPDATE turns SET steps = 'nonsense' WHERE session = 's'")
    connection.close()
    with pytest.raises(ClientError, match="damaged"):
        await history.export("s")
    assert history.problem is None
    assert await history.export("other") is not None
    assert await history.delete("s")


async def test_after_the_end_nothing_is_taken_and_nobody_waits(tmp_path: Path) -> None:
    history = await opened(tmp_path)
    await history.aclose()
    await history.aclose()
    error = await history.keep(row(), exchange())
    assert isinstance(error, ClientError)
