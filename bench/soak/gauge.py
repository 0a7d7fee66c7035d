"""What a process holds, read from /proc once a second: memory, file descriptors, threads, children."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

import msgspec


class Sample(msgspec.Struct, frozen=True):
    """A process at one moment."""

    at_s: float
    rss_mib: float
    fds: int
    threads: int


def sample(pid: int, began: float) -> Sample:
    """Read it. Raises OSError when the process is gone."""
    status = Path(f"/proc/{pid}/status").read_text()
    figures = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
    fds = len(os.listdir(f"/proc/{pid}/fd"))
    rss_mib = round(int(figures["VmRSS"]) / 1024, 3)
    return Sample(round(time.monotonic() - began, 2), rss_mib, fds, int(figures["Threads"]))


def children(pid: int) -> list[int]:
    """List the processes that this one started, and its threads did."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in listing.read_text().split()]
        except OSError:
            continue  # that thread has ended
    return found


async def watch(pid: int, samples: list[Sample], every_s: float = 1.0) -> None:
    """Sample until cancelled."""
    began = time.monotonic()
    while True:
        samples.append(sample(pid, began))
        await asyncio.sleep(every_s)
