"""Conversations on disk, in SQLite: a turn whose `done` was sent survives a restart and a `kill -9`.

One thread owns the database. What arrives while it writes goes into its next transaction together, so that
many sessions cost one sync. A write that failed is kept in memory and tried again with the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from riposte import history_db
from riposte.conversation import Exchange
from riposte.errors import ClientError, EngineError
from riposte.history_db import HistoryUnusable, Kind, Listed, SessionRow, Stored, StoredTurn

log = logging.getLogger(__name__)
T = TypeVar("T")

_FAILURES = (sqlite3.Error, OSError, HistoryUnusable)  # of the file, not of one job

FILE = "history.sqlite3"
READ_S = 5.0  # for whoever waits for what is stored
CLOSE_S = 5.0  # for what is still to be written at the end
UNWRITTEN = 10_000  # turns kept in memory while the disk refuses them; the oldest goes first
PROBE_S = 2.0  # how often a broken disk is tried again while somebody asks


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]
    again: bool = False  # try it again when it fails
    scrub: bool = False  # leave nothing of what it deletes in the file


class History:
    """The conversations in one data folder. Used on one event loop; `aclose` ends its thread.

    `required`: what cannot be kept is an error of its turn, and `refusal` says that new ones are refused.
    Else it is logged, and the server goes on without. A write has `deadline_ms`.
    """

    def __init__(self, folder: Path, *, required: bool = True, deadline_ms: int = 100) -> None:
        self.path = folder / FILE
        self.problem: str | None = None  # why nothing can be kept at present
        self.required = required
        self._deadline_s = deadline_ms / 1000
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._connection: sqlite3.Connection | None = None  # the thread's own
        self._scrub = False  # likewise: what was deleted still stands in the log
        self._jobs: deque[_Job] = deque()
        self._unwritten: deque[_Job] = deque(maxlen=UNWRITTEN)
        self._running: asyncio.Task[None] | None = None
        self._tried_at = float("-inf")
        self._closed = False

    async def open(self) -> None:
        """Open or make the database and bring it to this version's schema.

        Raises HistoryUnusable if it is required and cannot be used, or is of a newer version.
        """
        try:
            async with asyncio.timeout(READ_S):
                await self._in_thread(self._connected)
        except (sqlite3.Error, OSError) as exc:  # TimeoutError is an OSError
            self._broken(exc)
            if self.required:
                await self.aclose()
                raise HistoryUnusable(f"{self.path} cannot be used: {_reason(exc)}") from exc
        except HistoryUnusable:
            await self.aclose()
            raise

    @property
    def refusal(self) -> EngineError | None:
        """Return why a new turn cannot be taken, if so. Asking tries the disk again now and then."""
        if self.problem is None:
            return None
        self.probe()
        return EngineError(self._sentence()) if self.required else None

    def probe(self) -> None:
        """Try a broken disk again, in the background and not too often."""
        if self.problem is not None and not self._closed and self._running is None:
            if time.monotonic() - self._tried_at < PROBE_S:
                return
            self._submit(history_db.write_nothing)

    def keep(
        self, row: SessionRow, exchange: Exchange | None, forgotten: int | None = None
    ) -> asyncio.Future[ClientError | None]:
        """Write a session as it stands, with a turn of it, or without one that is forgotten.

        The future is done when that is on disk. It never raises: its result is what the client is
        to be told, None for nothing. It is done within the deadline in any case.
        """
        turn = None if exchange is None else _turn_of(exchange)
        loop = asyncio.get_running_loop()
        told: asyncio.Future[ClientError | None] = loop.create_future()
        written = self._submit(
            lambda connection: history_db.write(connection, row, turn, forgotten), again=True
        )
        late = loop.call_later(self._deadline_s, self._late, told)

        def settle(done: asyncio.Future[Any]) -> None:
            late.cancel()
            if not told.done():
                told.set_result(self._told() if done.exception() is not None else None)

        written.add_done_callback(settle)
        return told

    async def load(self, kind: Kind, key: str) -> Stored | None:
        """Return a native session by its id, or a chat by its client's name. Raises EngineError."""
        column = "id" if kind == "native" else "name"
        return await self._answer(
            lambda connection: history_db.read(connection, f"kind = ? AND {column} = ?", kind, key)
        )

    async def export(self, session: str) -> Stored | None:
        """Return any session by its id, with every turn. Raises EngineError."""
        return await self._answer(lambda connection: history_db.read(connection, "id = ?", session))

    async def sessions(self) -> list[Listed]:
        """List all sessions, the latest used first. Raises EngineError."""
        return await self._answer(history_db.listed)

    async def delete(self, session: str) -> bool:
        """Delete a session, leaving nothing of it in the file; False if there is none. Raises EngineError."""
        return await self._answer(
            lambda connection: history_db.deleted(connection, [session]) > 0, scrub=True
        )

    def expire(self, *, older_than: float, count: int, spared: Collection[str]) -> None:
        """Delete sessions not used since then, and all but the `count` latest, in the background.

        `spared` are those that have a client now.
        """
        spared = frozenset(spared)
        self._submit(lambda connection: history_db.expired(connection, older_than, count, spared), scrub=True)

    async def aclose(self) -> None:
        """Write what is left, close the database and end the thread. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=CLOSE_S)
        try:
            async with asyncio.timeout(CLOSE_S):
                if self._unwritten:
                    await self._in_thread(self._transact, list(self._unwritten))
                    self._unwritten.clear()
                await self._in_thread(self._disconnect)
        except _FAILURES as exc:
            log.warning("the history did not close well: %s", _reason(exc))
        if lost := len(self._unwritten):
            log.error("%d turns could not be kept: %s", lost, self.problem)
        self._thread.shutdown(wait=False)

    # -- the loop's side

    def _submit(
        self, work: Callable[[sqlite3.Connection], T], *, again: bool = False, scrub: bool = False
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._closed:
            done.set_exception(EngineError("the server is shutting down; the history is closed"))
            return done
        self._jobs.append(_Job(work, done, again, scrub))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="history")
        return done

    async def _answer(self, work: Callable[[sqlite3.Connection], T], *, scrub: bool = False) -> T:
        try:
            async with asyncio.timeout(READ_S):
                return await self._submit(work, scrub=scrub)
        except TimeoutError:
            raise EngineError(f"the history did not answer within {READ_S:g} s") from None
        except _FAILURES as exc:
            raise EngineError(self._sentence()) from exc
        except msgspec.MsgspecError as exc:
            raise EngineError("that session is damaged on disk; delete it") from exc

    async def _run(self) -> None:
        """Give the thread all that waits, again and again until nothing does."""
        try:
            while self._jobs:
                batch = [*self._unwritten, *self._jobs]
                self._unwritten.clear()
                self._jobs.clear()
                self._tried_at = time.monotonic()
                try:
                    results = await self._in_thread(self._transact, batch)
                except _FAILURES as exc:
                    self._broken(exc)
                    for job in batch:
                        if job.again:
                            self._unwritten.append(job)
                        if not job.done.done():
                            job.done.set_exception(exc)
                            job.done.exception()  # whoever was cancelled meanwhile does not ask
                    continue
                if self.problem is not None:
                    log.warning("conversations are kept again in %s", self.path)
                    self.problem = None
                for job, result in zip(batch, results, strict=True):
                    if job.done.done():
                        continue
                    if isinstance(result, Exception):
                        log.error("the history cannot be read", exc_info=result)
                        job.done.set_exception(result)
                    else:
                        job.done.set_result(result)
        finally:
            self._running = None

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _broken(self, exc: Exception) -> None:
        if self.problem is None:
            log.error("conversations cannot be kept in %s: %s", self.path, _reason(exc))
        self.problem = _reason(exc)

    def _late(self, told: asyncio.Future[ClientError | None]) -> None:
        log.warning("a turn was not on disk after %g ms", self._deadline_s * 1000)
        if not told.done():
            sentence = f"the turn could not be kept within {self._deadline_s * 1000:g} ms; it may be lost"
            told.set_result(EngineError(sentence) if self.required else None)

    def _told(self) -> EngineError | None:
        return EngineError(self._sentence()) if self.required else None

    def _sentence(self) -> str:
        return f"conversations cannot be kept on this server's disk ({self.problem}); see its /health"

    # -- the thread's side

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = history_db.opened(self.path)
        return self._connection

    def _transact(self, batch: list[_Job]) -> list[Any]:
        """Do these jobs, all or none."""
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            results = [_result(job, connection) for job in batch]
            connection.execute("COMMIT")
        except _FAILURES:
            self._disconnect()  # nobody knows what state it is in; closing rolls back
            raise
        # An expiry that deleted nothing left nothing. Where a reader is in the way, the next time will do.
        self._scrub |= any(job.scrub and result for job, result in zip(batch, results, strict=True))
        if self._scrub:
            self._scrub = not history_db.scrubbed(connection)
        return results

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _result(job: _Job, connection: sqlite3.Connection) -> Any:
    """Return what a job gives, or the exception that concerns it alone."""
    try:
        return job.work(connection)
    except (sqlite3.Error, OSError):
        raise
    except Exception as exc:
        return exc


def _turn_of(exchange: Exchange) -> StoredTurn:
    # Copied now: a late `played` changes the exchange, and is kept as a write of its own.
    return StoredTurn(exchange.turn, time.time(), exchange.user, exchange.reply, exchange.steps)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc) or type(exc).__name__
