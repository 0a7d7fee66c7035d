"""espeak-ng as a voice: about a hundred languages, the first sound within milliseconds, small.

It is GPLv3, so it is an optional package and runs in a process of its own (`espeak_helper`). The whole
clause is fetched as fast as the helper makes it (some 700 times faster than it sounds), so that a
consumer that paces keeps nobody waiting; what that costs in memory is bounded by _PART_CHARS.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import logging
import struct
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np

from riposte.backends import espeak_helper as helper
from riposte.backends.espeak_text import VOICES, parts_of
from riposte.errors import EngineError, ModelError, UnknownVoice
from riposte.interfaces import Pcm16, Priority, Voice
from riposte.pauses import pause_after

_log = logging.getLogger(__name__)

_RATE_HZ = 22_050
_MISSING = 'the espeak voice needs a package: pip install "riposte-server[espeak]"'
_QUIET = 40  # of 32,767; espeak-ng's pauses are zeros, its faintest fricatives a few hundred
_LEAD = _RATE_HZ // 200  # 5 ms are kept of the silence before a sound, 12 to 120 ms with espeak-ng
_START_S = 10.0  # for a helper to load its library, which takes some 30 ms
_AGAIN_S = 10.0  # between two tries to start a helper that does not, while nobody asks for one
_KILL_S = 2.0  # for a helper that was killed to be gone
# So often a clause that nobody waits for in silence begins again for the sake of one that somebody waits for.
_GIVES_WAY = 3
_LIBRARIES = ("libespeak-ng.so", "libespeak-ng.dylib", "espeak-ng.dll")


class _Clause:
    """One request to the helper. `pieces` ends with None or with what went wrong."""

    __slots__ = ("closed", "gave_way", "pieces", "rank", "request", "stopped", "text", "voice", "whole")

    def __init__(self, text: str, voice: str, rank: tuple[int, int]) -> None:
        self.request: int | None = None  # its number, once it is sent
        self.rank = rank  # priority, then order of arrival
        self.text = text
        self.voice = voice
        self.pieces: asyncio.Queue[bytes | EngineError | None] = asyncio.Queue()
        # A clause that can be begun again is handed over when all of it is made, for espeak-ng never says
        # the same thing twice alike.
        self.whole: list[bytes] | None = [] if rank[0] > Priority.FIRST else None
        self.gave_way = 0
        self.stopped = False
        self.closed = False

    def take(self, sound: bytes) -> None:
        if self.closed or self.stopped:
            return
        if self.whole is None:
            self.pieces.put_nowait(sound)
        else:
            self.whole.append(sound)

    def finish(self) -> None:
        for sound in self.whole or ():
            self.pieces.put_nowait(sound)
        self.pieces.put_nowait(None)


class _Process:
    """The helper, running."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._in = process.stdin
        self._out = process.stdout

    @classmethod
    async def start(cls, library: Path) -> _Process:
        """Start the helper and wait until it can speak. Raises ModelError."""
        process = cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", helper.__file__, str(library)),
                cwd=library.parent,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        )
        try:
            async with asyncio.timeout(_START_S):
                kind, _, content = await process.receive()
            if kind != helper.READY or struct.unpack("<I", content)[0] != _RATE_HZ:
                raise ModelError(f"espeak-ng does not start; {_MISSING}")
        except BaseException as exc:
            await process.end(patience_s=0)
            if isinstance(exc, asyncio.IncompleteReadError):
                raise ModelError(f"espeak-ng does not start; {_MISSING}") from exc
            if isinstance(exc, TimeoutError):
                raise ModelError(f"espeak-ng does not start: no answer within {_START_S:g} s") from exc
            raise
        return process

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._out.at_eof()

    def send(self, kind: int, request: int, content: bytes = b"") -> None:
        # Never drained: the helper's reading thread does nothing but read, and a request is small.
        self._in.write(helper.HEADER.pack(kind, request, len(content)) + content)

    async def receive(self) -> tuple[int, int, bytes]:
        kind, request, length = helper.HEADER.unpack(await self._out.readexactly(helper.HEADER.size))
        return kind, request, await self._out.readexactly(length)

    async def end(self, *, patience_s: float = 1.0) -> None:
        """Close its stdin, at which it ends; kill it when it does not."""
        self._in.close()  # communicate() alone does so only where it was given something to write
        if patience_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._process.communicate()
                return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_S):  # the kernel may not let go of it
                await self._process.communicate()


class EspeakTts:
    """Speaks through one helper, a clause at a time, the most urgent first. Belongs to one event loop.

    A clause of priority FIRST stops a less urgent one in the middle, which is then made again.

    A clause that takes longer than `deadline_s` fails, and so does one during which the helper dies;
    the next one is spoken by a new helper. Raises ModelError when the package is missing.
    """

    def __init__(self, *, deadline_s: float = 10.0) -> None:
        self._library = _find_library()
        self._deadline_s = deadline_s
        self._voices = {voice.id: (voice, espeak_name) for voice, espeak_name in VOICES}
        self._order = itertools.count()  # among those that wait and are equally urgent
        self._requests = itertools.count(1)
        self._waiting: asyncio.PriorityQueue[tuple[tuple[int, int], _Clause]] = asyncio.PriorityQueue()
        self._current: _Clause | None = None
        self._process: _Process | None = None
        self._starting = asyncio.Lock()
        self._server: asyncio.Task[None] | None = None
        self._open = 0
        self._alive = True
        self._closed = False

    @property
    def name(self) -> str:
        return "espeak-ng"

    @property
    def active(self) -> int:
        return self._open

    @property
    def alive(self) -> bool:
        """Tell whether the last helper that was wanted could be started; /health shows it."""
        return self._alive

    @property
    def rate_hz(self) -> int:
        return _RATE_HZ

    @property
    def voices(self) -> tuple[Voice, ...]:
        return tuple(voice for voice, _ in self._voices.values())

    async def warm_up(self) -> None:
        """Start the helper and speak with every voice: a language's first use reads its dictionary.

        Raises ModelError when espeak-ng does not start.
        """
        await self._ready()
        for voice in self._voices:
            async for _ in self.speak("one, two", voice=voice, priority=Priority.AHEAD):
                pass

    async def aclose(self) -> None:
        """End the helper; whoever waits gets EngineError. May be called twice."""
        self._closed = True
        if self._server is not None:
            self._server.cancel()
            await asyncio.wait([self._server], timeout=_KILL_S)
        if self._current is not None:
            self._current.pieces.put_nowait(self._gone())
        while not self._waiting.empty():
            self._waiting.get_nowait()[1].pieces.put_nowait(self._gone())
        if self._process is not None:
            process, self._process = self._process, None
            await process.end()

    async def speak(
        self, text: str, *, voice: str, priority: Priority = Priority.FIRST
    ) -> AsyncGenerator[Pcm16, None]:
        """Yield s16 mono at 22,050 Hz in pieces of about 60 ms: a FIRST clause as it is made, others whole.

        Silence before the clause is taken away, the pause behind it is that of its punctuation.
        Closing stops espeak-ng in mid-clause.
        """
        if voice not in self._voices:
            raise UnknownVoice(f"no voice called {voice[:40]!r}; there are: {', '.join(self._voices)}")
        self._open += 1
        try:
            for part in parts_of(text):
                clause = self._submit(part, self._voices[voice][1], priority)
                try:
                    sounds = False
                    held = np.zeros(0, np.int16)  # silence, until a sound follows it
                    while (piece := await clause.pieces.get()) is not None:
                        if isinstance(piece, EngineError):
                            raise piece
                        pcm = np.concatenate([held, np.frombuffer(piece, np.int16)])
                        loud = np.flatnonzero((pcm > _QUIET) | (pcm < -_QUIET))
                        if not len(loud):
                            held = pcm
                            continue
                        first = 0 if sounds else max(0, int(loud[0]) - _LEAD)
                        end = int(loud[-1]) + 1
                        sounds, held = True, pcm[end:]
                        yield pcm[first:end]
                finally:
                    self._retire(clause)
                if sounds:
                    yield np.zeros(round(pause_after(part) * _RATE_HZ), np.int16)
        finally:
            self._open -= 1

    def _submit(self, text: str, espeak_name: str, priority: Priority) -> _Clause:
        if self._closed:
            raise self._gone()
        clause = _Clause(text, espeak_name, (int(priority), next(self._order)))
        self._waiting.put_nowait((clause.rank, clause))
        if priority is Priority.FIRST:
            self._make_way()
        if self._server is None:
            self._server = asyncio.create_task(self._serve(), name="espeak")
        return clause

    def _make_way(self) -> None:
        """Stop a clause that can wait; `_serve` puts it back into the queue."""
        current = self._current
        if current is None or current.whole is None or current.stopped or current.gave_way == _GIVES_WAY:
            return
        current.stopped = self._stop(current)

    def _retire(self, clause: _Clause) -> None:
        clause.closed = True
        if clause is self._current:
            self._stop(clause)

    def _stop(self, clause: _Clause) -> bool:
        """Tell the helper to leave off. False: it was not told of the clause yet, or is gone."""
        if clause.request is None or self._process is None or not self._process.alive:
            return False
        self._process.send(helper.CANCEL, clause.request)
        return True

    async def _serve(self) -> None:
        """Speak what waits, one clause after the other; the only reader of the helper's pipe."""
        while True:
            try:
                async with asyncio.timeout(None if self._alive else _AGAIN_S):
                    _, clause = await self._waiting.get()
            except TimeoutError:
                await self._restart()  # nobody asks a server that says it is unhealthy
                continue
            if clause.closed:
                continue
            self._current = clause
            began_s = time.monotonic()
            try:
                async with asyncio.timeout(self._deadline_s):
                    await self._say(clause)
                if clause.stopped and not clause.closed:
                    self._wait_again(clause)
                else:
                    clause.finish()
            except EngineError as exc:
                clause.pieces.put_nowait(exc)
            except Exception as exc:  # whatever it is: nobody may wait for ever
                after_ms = 1_000 * (time.monotonic() - began_s)
                _log.error("espeak: the helper failed after %.0f ms (%s)", after_ms, type(exc).__name__)
                clause.pieces.put_nowait(EngineError("the voice failed"))
                await self._restart()
            self._current = None

    def _wait_again(self, clause: _Clause) -> None:
        clause.request, clause.whole, clause.stopped = None, [], False
        clause.gave_way += 1
        self._waiting.put_nowait((clause.rank, clause))

    async def _say(self, clause: _Clause) -> None:
        process = await self._ready()
        if clause.closed:
            return
        # Numbered as it is sent, not as it is asked for: a CANCEL stops all that has a lower number, and
        # what is urgent overtakes.
        clause.request = next(self._requests)
        text = clause.text.encode(errors="replace")
        process.send(helper.SAY, clause.request, clause.voice.encode() + b"\0" + text)
        while True:
            kind, request, content = await process.receive()
            if request != clause.request:
                raise OSError("the helper answers another request")
            if kind == helper.DONE:
                return
            if kind == helper.FAILED:
                _log.error("espeak: %s", content.decode(errors="replace"))
                raise EngineError("the voice failed")
            clause.take(content)

    async def _ready(self) -> _Process:
        """Return a helper that runs; a new one when there is none. Raises ModelError."""
        async with self._starting:
            if self._process is None or not self._process.alive:
                await self._drop()
                try:
                    self._process = await _Process.start(self._library)
                except BaseException:  # a deadline of whoever asks, too
                    self._alive = False
                    raise
                self._alive = True
            return self._process

    async def _drop(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            await process.end(patience_s=0)

    async def _restart(self) -> None:
        # At once, so that the clause after a crash is not the one that waits for a new process.
        await self._drop()
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._ready()
        except (ModelError, OSError) as exc:
            _log.error("espeak: the helper does not start again (%s)", type(exc).__name__)

    def _gone(self) -> EngineError:
        return EngineError("the voice was shut down")


def _find_library() -> Path:
    spec = importlib.util.find_spec("espeakng_loader")  # found, not imported: it would be GPL code in here
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for name in _LIBRARIES:
            if (Path(folder) / name).is_file() and (Path(folder) / "espeak-ng-data" / "phontab").is_file():
                return Path(folder).resolve() / name
    raise ModelError(_MISSING)
