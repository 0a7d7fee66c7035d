"""`riposte chat`: lines from a terminal or a pipe become turns, tokens appear as they come."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
import threading
from pathlib import Path

from riposte.client import Client, Closed, connect
from riposte.errors import ClientError, UnknownSession
from riposte.wire.frames import Error, Token

_READ_BYTES = 65_536


async def chat(url: str, *, key: str | None, session: str | None, ca: Path | None = None) -> int:
    """Chat until the input ends; return the exit status. Raises CannotConnect and what a hello raises.

    A person sees what went wrong; a script is told with status 1 that a line was not answered.
    """
    try:
        async with connect(url, key=key, session=session, ca=ca, modalities=["text"]) as client:
            return await _converse(client)
    except UnknownSession as exc:
        raise UnknownSession("that session is not kept here; leave out --session for a new one") from exc


async def _converse(client: Client) -> int:
    person = sys.stdin.isatty()
    if person:
        note(f"{client.ready.models.llm} listens; Ctrl-D ends. To come back: --session {client.session}")
    lines = lines_of_stdin()
    status = 0
    while True:
        if person:
            sys.stdout.write("> ")
            sys.stdout.flush()
        line = await lines.get()
        if line is None:
            return status
        if not line.strip():
            continue
        try:
            answered = await _turn(client, line)
        except Closed as exc:
            note(str(exc))
            return 1
        except ClientError as exc:
            note(str(exc))
            answered = False
        if not answered and not person:
            status = 1


async def _turn(client: Client, line: str) -> bool:
    """Print the reply as it comes; tell whether it came without an error."""
    answered = True
    async with client.turn(line) as frames:
        async for frame in frames:
            if isinstance(frame, Token):
                sys.stdout.write(frame.text)
                sys.stdout.flush()
            elif isinstance(frame, Error):
                note(frame.message)
                answered = False
    sys.stdout.write("\n")
    sys.stdout.flush()
    return answered


def lines_of_stdin() -> asyncio.Queue[str | None]:
    """Read lines in a thread that nobody waits for, so that Ctrl-C ends at once; None is the end.

    Not through sys.stdin: a thread that is blocked inside of it holds a lock that Python needs to exit.
    Not on the loop: epoll refuses files.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while block := os.read(0, _READ_BYTES):
            *whole, rest = (rest + decoder.decode(block)).split("\n")
            for line in whole:
                loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\r"))
        if rest:
            loop.call_soon_threadsafe(lines.put_nowait, rest)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return lines


def note(sentence: str) -> None:
    """Say something that is not part of the reply."""
    sys.stderr.write(f"riposte: {sentence}\n")
    sys.stderr.flush()
