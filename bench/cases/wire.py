"""What a frame costs the server, and a turn the wire, beside three other ways to serve the same turn.

The servers of bench/beside/wire take turns, one client for all. Processor time is the server process's
own (getrusage); bytes are what the client received, WebSocket headers included. "at once": the turn's
frames are there together; "one by one": the event loop turns, and writes, before every frame.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import msgspec
from tqdm import tqdm

from bench.beside.wire import AUDIO, AUDIO_BYTES, FRAMES, NEEDS, STEPPED, TOKENS, script
from bench.report import ROOT, CaseReport, Row, Target, spread
from bench.server import Broken
from bench.yardstick import Yardstick
from riposte.wire import codec
from riposte.wire.frames import Hello, Text

SHAPES = {"at once": "at once", "one by one": STEPPED}  # → what the client asks for
TARGETS = {"aiohttp": (Target("at once", "p50", 1.25),), "fastapi": (Target("at once", "p50", 0.4),)}
TURNS = 60  # between two looks at the processor time
ANSWER_S = 30.0
INSTALL = "`make bench` installs it (pip install -e '.[bench]')"

_MASK = b"\x01\x02\x03\x04"  # a client must mask; to the server any mask costs the same


def main() -> None:
    """Run the case and print its report as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pico", help="taken and not used: no model speaks here")
    parser.add_argument("--turns", type=int, default=40, help="as many, times 15, a server and shape")
    options = parser.parse_args()
    report = asyncio.run(run(rounds=max(1, options.turns // 4), turns=TURNS))
    print(msgspec.json.encode(report).decode())


async def run(rounds: int, turns: int) -> CaseReport:
    """Measure `rounds` times, each server in turn, `turns` turns of both shapes."""
    yardstick = Yardstick()
    missing = {name: INSTALL for name, needs in NEEDS.items() if not all(map(find_spec, needs))}
    names = [name for name in NEEDS if name not in missing]
    with ExitStack() as stack:
        contenders = [stack.enter_context(serving(name)) for name in names]
        await asyncio.to_thread(_warm_up, contenders)
        before = await asyncio.to_thread(yardstick.measure)
        cpu_us = await asyncio.to_thread(_measure, contenders, rounds, turns)
        after = await asyncio.to_thread(yardstick.measure)
    noise = round(yardstick.off(before, after), 3)
    rows = []
    for one in contenders:
        figures = {f"CPU a frame, {shape}": spread(cpu_us[one.name, shape]) for shape in SHAPES}
        rows.append(Row(f"{one.name} →", 1, rounds, figures, noise, unit="µs"))
    for name in names[1:]:
        figures = {
            shape: spread([a / b for a, b in zip(cpu_us["riposte", shape], cpu_us[name, shape], strict=True)])
            for shape in SHAPES
        }
        rows.append(Row(f"riposte ÷ {name},", 1, rounds, figures, noise, TARGETS.get(name, ()), unit="×"))
    for one in contenders:
        rows.append(Row(f"{one.name} →", 1, 1, {"a turn": spread([one.turn_bytes])}, noise, unit="bytes"))
    sound_ms = AUDIO_BYTES // 48
    notes = (
        f"a turn: {TOKENS} tokens, {AUDIO} frames of {sound_ms} ms (16 bit, 24 kHz), and `done`; no model",
        "riposte: its own socket, session, outbox, metrics and deadlines; the others do the bare minimum",
        f"each figure is of {turns} turns; the servers take turns, and a ratio is of two neighbours",
    )
    return CaseReport("wire", tuple(rows), notes=notes, missing=missing)


def _warm_up(contenders: list[Contender]) -> None:
    for one in contenders:
        one.check()
        for words in SHAPES.values():
            for _ in range(3):
                one.turn_bytes = one.turn(words)


def _measure(contenders: list[Contender], rounds: int, turns: int) -> dict[tuple[str, str], list[float]]:
    """Return microseconds of processor time a frame, by server and shape, one figure a round."""
    found: dict[tuple[str, str], list[float]] = {}
    with tqdm(total=rounds * len(SHAPES) * len(contenders), desc="wire", file=sys.stderr) as bar:
        for _ in range(rounds):
            for shape, words in SHAPES.items():
                for one in contenders:
                    before = one.cpu_s()
                    for _ in range(turns):
                        one.turn(words)
                    used_us = (one.cpu_s() - before) * 1e6
                    found.setdefault((one.name, shape), []).append(used_us / turns / FRAMES)
                    bar.update()
    return found


class Contender:
    """One server process and the one connection to it."""

    def __init__(self, name: str, process: subprocess.Popen[str], sock: socket.socket) -> None:
        self.name = name
        self.turn_bytes = 0
        self._process = process
        self._sock = sock
        self._last: list[bytes] = []
        if name == "riposte":
            self._send(codec.encode(Hello()))
            self._receive(1)

    def cpu_s(self) -> float:
        """Return the processor seconds that the server has used."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def turn(self, words: str) -> int:
        """Ask for a turn, read it to its end, and return how many bytes it had."""
        if self.name == "fastapi":
            self._send(words.encode(), text=True)
        else:
            self._send(codec.encode(Text(words)) if self.name == "riposte" else words.encode())
        # The kernel wakes this process once a turn, not at every frame: waking it is the server's work.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, max(1, self.turn_bytes * 9 // 10))
        return self._receive(FRAMES)

    def check(self) -> None:
        """Take one turn and raise Broken unless every frame of it is what the others' are."""
        self.turn("at once")
        got = [_told(message, json=self.name == "fastapi") for message in self._last]
        turn = got[-1]["turn"]
        expected = [msgspec.to_builtins(frame, builtin_types=(bytes,)) for frame in script(turn)]
        if got[:-1] != expected or got[-1]["type"] != "done":
            raise Broken(f"{self.name} did not say the turn that it should")

    def _send(self, payload: bytes, *, text: bool = False) -> None:
        assert len(payload) < 126
        masked = bytes(byte ^ _MASK[at % 4] for at, byte in enumerate(payload))
        self._sock.sendall(bytes((0x81 if text else 0x82, 0x80 | len(payload))) + _MASK + masked)

    def _receive(self, messages: int) -> int:
        """Read so many messages; return their bytes with headers."""
        buffer, have, at = bytearray(1 << 20), 0, 0
        self._last = []
        while len(self._last) < messages:
            got = self._sock.recv_into(memoryview(buffer)[have:])
            if not got:
                raise Broken(f"{self.name} closed the connection")
            if not have:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            have += got
            while (payload := _payload(buffer, at, have)) is not None:
                self._last.append(bytes(buffer[payload]))
                at = payload.stop
        return at


def _payload(buffer: bytearray, at: int, have: int) -> slice | None:
    """Return where the message that begins at `at` has its payload; None while it is not all there."""
    if have - at < 4:
        return None
    size, begin = buffer[at + 1], at + 2
    if size == 126:
        size, begin = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
    if size > 126 and begin == at + 2:
        raise Broken("a message of 64 KiB or more, or a masked one")
    return slice(begin, begin + size) if begin + size <= have else None


def _told(message: bytes, *, json: bool) -> dict[str, Any]:
    if not json:
        told: dict[str, Any] = msgspec.msgpack.decode(message)
        return told
    told = msgspec.json.decode(message)
    if "pcm" in told:
        told["pcm"] = base64.b64decode(told["pcm"])
    return told


@contextmanager
def serving(name: str) -> Iterator[Contender]:
    """Start a server and connect to it. Raises Broken with what it said when it does not come up."""
    command = [sys.executable, "-m", "bench.beside.wire", name]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("RIPOSTE_")}
    with tempfile.TemporaryFile("w+") as said:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, stderr=said, text=True
        )
        try:
            assert process.stdout is not None
            url = urlsplit(process.stdout.readline().removeprefix("ready on ").strip())
            if url.port is None:
                said.seek(0)
                raise Broken(f"{name} did not start:\n{said.read()[-2000:]}")
            with socket.create_connection((url.hostname, url.port), timeout=ANSWER_S) as sock:
                _upgrade(sock, url.netloc)
                yield Contender(name, process, sock)
        finally:
            process.terminate()
            process.communicate()


def _upgrade(sock: socket.socket, host: str) -> None:
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    sock.sendall(
        f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)  # not a byte of the first message
    if not answer.startswith(b"HTTP/1.1 101"):
        raise Broken(f"no WebSocket: {answer[:200]!r}")


if __name__ == "__main__":
    main()
