"""Recordings into files, for `server.record_dir`: written by a thread, bounded in memory and on disk.

A recording never holds a turn up. What the disk does not take in time, or has no room for, ends that
recording with a warning; what was written until then stays, and can be replayed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import msgspec

from riposte.errors import ConfigError
from riposte.recording import MAGIC, End, Entry, Header, encode
from riposte.wire.frames import AudioIn, AudioOut

log = logging.getLogger(__name__)

SUFFIX = ".riposte"
WRITE_S = 0.5  # what a kill -9 loses at most
WRITE_BYTES = 256 << 10  # written at once, also before that
WAITING_BYTES = 16 << 20  # of all recordings together: what a slow disk may owe
CLOSE_S = 5.0  # for what is still to be written at the end
_ENTRY_BYTES = 128  # what an entry weighs beside its sound; a rough figure is enough


class _NoRoom(OSError):
    """All recordings together have reached their bound."""


class FileRecorder:
    """The recordings of one server in one folder. Used on one event loop; `aclose` ends its thread.

    `max_bytes` bounds all files there together, those of earlier servers among them.
    """

    def __init__(self, folder: Path, profile: str, *, max_bytes: int) -> None:
        """Make the folder, where it is not there. Raises ConfigError."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            there = sum(path.stat().st_size for path in folder.glob(f"*{SUFFIX}"))
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(None, "no permission")
        except OSError as exc:
            reason = exc.strerror or exc
            raise ConfigError(f"server.record_dir {folder} cannot be used: {reason}; a folder fits") from exc
        self._folder = folder
        self._profile = profile
        self._room = max_bytes - there  # the thread's own
        self._waiting_bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._open: set[_File] = set()
        self._writes: set[asyncio.Future[None]] = set()

    def open(self, header: Header) -> Callable[[Entry], None]:
        """Begin a file. What is returned takes its entries on the loop."""
        file = _File(self, msgspec.structs.replace(header, profile=self._profile))
        self._open.add(file)
        return file.keep

    async def aclose(self) -> None:
        """Write what is left, at most for `CLOSE_S`, and end the thread."""
        for file in list(self._open):
            file.finish()
        try:
            async with asyncio.timeout(CLOSE_S):
                while self._writes:  # one that fails has its file closed, which is another
                    await asyncio.wait(self._writes)
        except TimeoutError:
            log.warning("not all recordings could be finished: the disk does not keep up")
        self._thread.shutdown(wait=False)


class _File:
    """One file: entries gather on the loop and are written together in the thread."""

    def __init__(self, recorder: FileRecorder, header: Header) -> None:
        self._recorder = recorder
        self._session = header.stored.session.id
        self._name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(header.begun_at))}-{self._session}"
        self._entries: list[Header | Entry] = [header]
        self._bytes = 0  # of them
        self._later: asyncio.TimerHandle | None = None
        self._over = False
        self._given_up = False
        self._file: BinaryIO | None = None  # the thread's own, like what follows

    def keep(self, entry: Entry) -> None:
        """Take an entry; the thread gets it soon."""
        if self._over:
            return
        weight, recorder = _weight(entry), self._recorder
        if recorder._waiting_bytes + weight > WAITING_BYTES:
            self._give_up("the disk does not keep up")
            return
        self._entries.append(entry)
        self._bytes += weight
        recorder._waiting_bytes += weight
        if isinstance(entry, End):
            self.finish()
        elif self._bytes >= WRITE_BYTES:
            self.flush()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(WRITE_S, self.flush)

    def finish(self) -> None:
        """Have what is there written, and take nothing more."""
        self._over = True
        self.flush()

    def flush(self) -> None:
        """Have what is there written."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        entries, size, last = self._entries, self._bytes, self._over
        self._entries, self._bytes = [], 0
        self._submit(lambda: self._write(entries, last=last), size)
        if last:
            self._recorder._open.discard(self)

    def _submit(self, work: Callable[[], None], size: int) -> None:
        recorder = self._recorder
        write = asyncio.get_running_loop().run_in_executor(recorder._thread, work)
        recorder._writes.add(write)

        def written(write: asyncio.Future[None]) -> None:
            recorder._writes.discard(write)
            recorder._waiting_bytes -= size
            if not write.cancelled() and (error := write.exception()) is not None:
                self._give_up(str(getattr(error, "strerror", None) or error))

        write.add_done_callback(written)

    def _give_up(self, why: str) -> None:
        if self._given_up:
            return  # what was under way behind the first failure fails as well
        self._given_up = True
        log.warning("the recording of session %s ends here: %s", self._session, why)
        if self._later is not None:
            self._later.cancel()
        self._over = True
        self._recorder._open.discard(self)
        self._recorder._waiting_bytes -= self._bytes
        self._entries, self._bytes = [], 0
        self._submit(self._close, 0)

    # -- the thread's side

    def _write(self, entries: list[Header | Entry], *, last: bool) -> None:
        data = b"".join(map(encode, entries))
        if self._file is None:
            self._file = _made(self._recorder._folder, self._name)
            data = MAGIC + data
        if len(data) > self._recorder._room:
            raise _NoRoom(None, "all recordings together are as big as server.record_mib allows")
        self._recorder._room -= len(data)
        self._file.write(data)
        self._file.flush()
        if last:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()


def _made(folder: Path, name: str) -> BinaryIO:
    """Make a file for its owner alone, under this name or one like it that is free."""
    number, tried = 1, folder / f"{name}{SUFFIX}"
    while True:
        try:
            return os.fdopen(os.open(tried, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        except FileExistsError:
            number += 1
            tried = folder / f"{name}-{number}{SUFFIX}"


def _weight(entry: Entry) -> int:
    frame = getattr(entry, "frame", None)
    return _ENTRY_BYTES + (len(frame.pcm) if isinstance(frame, AudioIn | AudioOut) else 0)
