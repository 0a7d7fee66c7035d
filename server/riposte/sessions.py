"""Every session there is: opened, found again, expired, drained."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from riposte.config import Config
from riposte.errors import Busy, Draining, EngineError, UnknownSession, UnsupportedVersion
from riposte.history import History
from riposte.history_db import Kind, Stored
from riposte.interfaces import Models
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.recording import Recorder
from riposte.session import Session
from riposte.turn.admission import Admission
from riposte.turn.held import HeldAudio
from riposte.wire.frames import PROTOCOL_VERSION, ClientFrame, Done, Hello, Say, ServerFrame, Text

log = logging.getLogger(__name__)

SESSION_BYTES = 16  # 128 random bits
FAREWELL_S = 2.0  # for the last frames and the closing handshake, when the time to drain is over
CHAT_WAIT_S = 30.0  # for the turn before in a conversation of `/chat`
KEPT = 1_000  # conversations kept in memory for a client that may come back; the oldest goes first
LOAD_S = 10.0  # for a session to be read from disk, and those before it
EXPIRE_EVERY_S = 60.0  # how often the disk is asked for what is too old


@dataclass(slots=True)
class _Kept:
    """A session that may be found again, and whose turn it is in it."""

    session: Session
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def idle(self) -> bool:
        """Nobody is connected to it or waits for a turn in it, and its last turn has left what it leaves."""
        return not (self.session.attached or self.session.in_turn or self.turn.locked())


class SessionTable:
    """The sessions of a server.

    Native sessions have ids of the server's making. `/chat` names its conversations itself; those
    are kept apart, so that nobody reaches a native session by guessing a name. With a history, what is no
    longer in memory is read from disk.
    """

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self.models: Models | None = None  # None: still loading
        self.history: History | None = None  # None: switched off
        self.recorder: Recorder | None = None  # likewise
        self.held_audio = HeldAudio(config.limits.audio_total_s)
        self.admission = Admission(config.limits.first_clause_wait_ms / 1000, metrics.count_refused)
        self.hurry = asyncio.Event()  # set: drain no longer than it takes to say so
        self._config = config
        self._metrics = metrics
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()  # least recently used first
        self._passing: set[Session] = set()  # of one `say` each
        self._draining = False
        self._loading = asyncio.Lock()  # else two connections might load the same session twice
        self._deleting: set[str] = set()  # not to be found on disk any more, where they may still be
        self._expired_at = float("-inf")

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Session]:
        yield from [kept.session for kept in self._kept.values()]
        yield from list(self._passing)

    @property
    def connected(self) -> int:
        """How many sessions have a client right now."""
        return sum(session.attached for session in self)

    async def open(self, hello: Hello) -> tuple[Session, bool]:
        """Return the session that a `hello` asks for, and whether it was resumed.

        Raises UnsupportedVersion, UnknownSession when it names none that is kept, Busy when no slot is free,
        EngineError when the history does not answer. Attach before the next await: the slot is not held.
        """
        if hello.version != PROTOCOL_VERSION:
            raise UnsupportedVersion(
                f"version {hello.version} is not spoken here; this server speaks {PROTOCOL_VERSION}"
            )
        self._expire()
        if hello.session is not None:
            kept = await self._found("native", hello.session)
            if kept is None:
                raise UnknownSession("that session is not kept here; say hello without one for a new one")
            if not kept.session.attached:
                self._take_slot()
            self._kept.move_to_end(("native", hello.session))
            return kept.session, True
        self._take_slot()
        session = self._new(secrets.token_urlsafe(SESSION_BYTES))
        self._add(("native", session.id), session)
        return session, False

    async def discard(self, session: Session) -> None:
        """Forget a session that was opened in vain."""
        self._kept.pop(("native", session.id), None)
        await session.aclose()

    async def chat_turn(
        self, name: str, text: str, *, passing: bool = False
    ) -> AsyncGenerator[ServerFrame, None]:
        """Run one typed turn, without sound, in the conversation that the client calls `name`.

        Yields frames up to the turn's Done. Turns of one conversation come one after the other. Closing
        cancels the turn. `passing`: the conversation is not kept on disk. Raises Busy, also when the one
        before takes too long, TooLarge, RateLimited, Draining or EngineError before the first frame.
        """
        self._expire()
        while True:
            kept = self._kept.get(("chat", name)) if passing else await self._found_chat(name)
            if kept is None:
                kept = self._new_chat(name, passing)
            async with _its_turn(kept):
                if self._kept.get(("chat", name)) is not kept:
                    continue  # deleted while this turn waited for the one before
                self._take_slot()  # others may have taken them all meanwhile
                self._kept.move_to_end(("chat", name))
                async with aclosing(_one_turn(kept.session, _TEXT_ONLY, Text(text))) as frames:
                    async for frame in frames:
                        yield frame
                return

    async def forget_chat(self, name: str) -> None:
        """Forget a conversation of `chat_turn`; nothing happens when there is none."""
        kept = self._kept.pop(("chat", name), None)
        if kept is not None:
            await kept.session.aclose()

    async def say(self, text: str, voice: str | None) -> AsyncGenerator[ServerFrame, None]:
        """Speak a text as fast as it can be made: Clause and AudioOut frames, then Done.

        Closing cancels it. Raises UnknownVoice, TooLarge, Busy or Draining before the first frame.
        """
        self._take_slot()
        session = self._new(f"say-{secrets.token_urlsafe(SESSION_BYTES)}", paced=False, passing=True)
        self._passing.add(session)
        try:
            async with aclosing(_one_turn(session, Hello(), Say(text, voice))) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self._passing.discard(session)
            await session.aclose()

    async def delete(self, session_id: str) -> bool:
        """Forget a session, in memory and on disk; False when there is none.

        A client that is connected is hung up on, and its reply cancelled. Raises EngineError.
        """
        self._deleting.add(session_id)
        try:
            key = next((key for key, kept in self._kept.items() if kept.session.id == session_id), None)
            if key is not None:
                session = self._kept.pop(key).session
                session.keep_nothing()
                session.hang_up(1000, "the session was deleted")
                await session.aclose()
            stored = self.history is not None and await self.history.delete(session_id)
        finally:
            self._deleting.discard(session_id)
        return stored or key is not None

    async def drain(self, within_s: float) -> None:
        """Take no new turn, let those in progress finish and be sent, then close with 1001.

        What is not over in time is cancelled, and each turn still gets its `done`.
        """
        self._draining = True
        sessions = list(self)
        for session in sessions:
            session.draining = True
        deadline, stop_s = time.monotonic() + within_s, self._config.turn.stop_deadline_s
        turns = [session.turns_over() for session in sessions]
        if not await self._done(turns, within_s, self.hurry):  # out of time: each still gets its `done`
            for session in sessions:
                session.cancel()
            # A model that does not stop is noticed within twice its time.
            await self._done([session.turns_over() for session in sessions], 2 * stop_s)
        for session in sessions:
            session.bid_farewell(1001, Draining("the server is shutting down"))
        # A turn is over when all of it is queued: who reads slowly has the rest of the time.
        await self._done([session.left() for session in sessions], deadline - time.monotonic(), self.hurry)
        await self._done([session.left() for session in sessions], FAREWELL_S)

    @staticmethod
    async def _done(
        waits: list[Coroutine[None, None, None]], within_s: float, unless: asyncio.Event | None = None
    ) -> bool:
        """Wait for all of these, no longer than this, and not at all once `unless` is set."""
        work = asyncio.gather(*waits)
        ends: set[asyncio.Future[Any]] = {work}
        if unless is not None:
            ends.add(asyncio.create_task(unless.wait(), name="hurry"))
        try:
            timeout = max(0.0, within_s)
            await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            return work.done()
        finally:
            for end in ends:
                end.cancel()
            await asyncio.wait(ends)

    async def aclose(self) -> None:
        """End every session and what it started."""
        sessions = list(self)
        self._kept.clear()
        await asyncio.gather(*(session.aclose() for session in sessions))

    def ready_models(self) -> Models:
        """Return the models. Raises Busy while they are loading."""
        if self.models is None:
            raise Busy("the models are still loading; try again in a few seconds")
        return self.models

    def _new(
        self,
        session_id: str,
        *,
        paced: bool = True,
        kind: Kind = "native",
        name: str = "",
        passing: bool = False,
        stored: Stored | None = None,
    ) -> Session:
        models = self.ready_models()
        history = None if passing else self.history
        memory = Memory(session_id, models.llm, kind=kind, name=name, history=history, stored=stored)
        session = Session(
            session_id,
            models,
            self._config,
            self._metrics,
            self.held_audio,
            memory,
            paced=paced,
            admission=self.admission,
            recorder=self.recorder if kind == "native" and not passing else None,
        )
        session.draining = self._draining  # one read from disk meanwhile takes no turn either
        return session

    def _new_chat(self, name: str, passing: bool) -> _Kept:
        self._take_slot()
        session_id = f"chat-{secrets.token_urlsafe(SESSION_BYTES)}"
        return self._add(("chat", name), self._new(session_id, kind="chat", name=name, passing=passing))

    async def _found_chat(self, name: str) -> _Kept | None:
        """Return a conversation; None also when the disk cannot tell and the server goes on without."""
        try:
            return await self._found("chat", name)
        except EngineError:
            if self.history is None or self.history.required:
                raise
            return None

    async def _found(self, kind: Kind, key: str) -> _Kept | None:
        """Return a session from memory, or from disk; `key` is a native one's id, a chat's name."""
        if (kept := self._kept.get((kind, key))) is not None or self.history is None:
            return kept
        try:
            async with asyncio.timeout(LOAD_S), self._loading:
                if (kept := self._kept.get((kind, key))) is not None:
                    return kept
                stored = await self.history.load(kind, key)
                if stored is None or stored.session.id in self._deleting:
                    return None
                session = self._new(stored.session.id, kind=kind, name=stored.session.name, stored=stored)
                return self._add((kind, key), session)
        except TimeoutError:
            raise EngineError(f"the history did not answer within {LOAD_S:g} s") from None

    def _take_slot(self) -> None:
        """Raise when no more clients can be served."""
        if self._draining:
            raise Draining("the server is shutting down; try again in a few seconds")
        if self.connected >= self._config.limits.sessions:
            raise Busy(f"all {self._config.limits.sessions} sessions are in use; try again in a few seconds")

    def _add(self, key: tuple[Kind, str], session: Session) -> _Kept:
        """Keep one more session, in the place of those unused for longest."""
        idle = [known for known, kept in self._kept.items() if kept.idle]
        for gone in idle[: max(0, len(self) + 1 - KEPT)]:
            self._forget(gone)
        self._kept[key] = kept = _Kept(session)
        return kept

    def _expire(self) -> None:
        """Forget sessions whose client has been gone for longer than configured."""
        now = time.monotonic()
        oldest = now - self._config.limits.session_kept_s
        for key, kept in list(self._kept.items()):
            if kept.idle and kept.session.used_at < oldest:
                self._forget(key)
        if self.history is not None and now - self._expired_at >= EXPIRE_EVERY_S:
            self._expired_at = now
            limits = self._config.history
            self.history.expire(
                older_than=time.time() - limits.kept_days * 86_400,
                count=limits.sessions,
                spared=[kept.session.id for kept in self._kept.values() if not kept.idle],
            )

    def _forget(self, key: tuple[str, str]) -> None:
        self.ready_models().llm.forget(self._kept.pop(key).session.id)


@asynccontextmanager
async def _its_turn(kept: _Kept) -> AsyncIterator[None]:
    """Wait for the turn before in a conversation of `/chat`. Raises Busy when it takes too long."""
    try:
        async with asyncio.timeout(CHAT_WAIT_S):
            await kept.turn.acquire()
    except TimeoutError:
        raise Busy("an earlier message of this conversation is being answered; try again") from None
    try:
        yield
    finally:
        kept.turn.release()


_TEXT_ONLY = Hello(modalities=["text"])


async def _one_turn(session: Session, hello: Hello, frame: ClientFrame) -> AsyncGenerator[ServerFrame, None]:
    """Attach, let the session act on one frame, and pass on what it answers until the turn is over."""
    outbox = session.attach()
    try:
        session.configure(hello)
        await session.receive(frame)
        async for answer in outbox:
            yield answer
            if isinstance(answer, Done):
                return
    finally:
        session.detach(outbox)
