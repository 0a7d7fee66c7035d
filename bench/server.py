"""A real server process, started for one case and stopped with it."""

from __future__ import annotations

import asyncio
import collections
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

START_S = 60.0
STOP_S = 20.0
_READY = re.compile(r"ready on (https?://\S+)")


class Broken(Exception):
    """The server did not come up, or went away; the text holds the last that it said."""


class ServerProcess:
    """Where the server is, and how long it took from nothing to ready."""

    def __init__(
        self, process: asyncio.subprocess.Process, url: str, start_ms: float, said: collections.deque[str]
    ) -> None:
        self._process = process
        self.url = url
        self.start_ms = start_ms
        self.said = said  # its last lines

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.returncode

    @property
    def ws_url(self) -> str:
        """The native socket."""
        return self.url.replace("http", "ws", 1) + "/ws"

    def rss_mib(self) -> float:
        """How much memory the process holds now; 0 where /proc is missing."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0.0
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0


@asynccontextmanager
async def serving(profile: str, settings: Mapping[str, str] | None = None) -> AsyncIterator[ServerProcess]:
    """Serve a profile ("fake": models that only pretend) on a free port, with an empty memory.

    With defaults, but for `settings`, which are named like environment variables.
    Raises Broken when it is not ready in time. The process has ended when this does.
    """
    command = [str(Path(sys.executable).with_name("riposte")), "serve", "--port", "0"]
    command += ["--fake"] if profile == "fake" else ["--profile", profile]
    # The figures are those of the defaults, whatever this shell has set.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RIPOSTE_")}
    environ |= settings or {}
    with tempfile.TemporaryDirectory(prefix="riposte-bench-") as data:
        started = time.perf_counter()
        pipe, same = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        process = await asyncio.create_subprocess_exec(
            *command, "--data", data, env=environ, stdout=pipe, stderr=same
        )
        said: collections.deque[str] = collections.deque(maxlen=20)
        try:
            url = await _ready(process, said)
            start_ms = (time.perf_counter() - started) * 1000
            reader = asyncio.create_task(_drain(process, said), name="server-output")
            try:
                yield ServerProcess(process, url, start_ms, said)
            except Exception as exc:
                raise Broken(f"{exc!r}; the server's last lines:\n{''.join(said)}") from exc
            finally:
                await _stop(process)
                await reader
        finally:
            await _stop(process)


async def _ready(process: asyncio.subprocess.Process, said: collections.deque[str]) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            while line := await process.stdout.readline():
                said.append(line.decode(errors="replace"))
                if found := _READY.search(said[-1]):
                    return found[1]
    except TimeoutError:
        raise Broken(f"not ready after {START_S:g} s:\n{''.join(said)}") from None
    raise Broken(f"ended before it was ready:\n{''.join(said)}")


async def _drain(process: asyncio.subprocess.Process, said: collections.deque[str]) -> None:
    # A pipe that nobody reads fills after 64 kB and then stops the server.
    assert process.stdout is not None
    while line := await process.stdout.readline():
        said.append(line.decode(errors="replace"))


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
