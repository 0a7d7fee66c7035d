"""An asynchronous client of the native protocol: turns typed, said, pushed to talk, and hands-free."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Unpack

import aiohttp

from riposte.client import link, microphone
from riposte.client.connection import Connection, Settings
from riposte.client.failures import Closed, TimedOut
from riposte.client.microphone import Sound
from riposte.client.tools import Function, Tool
from riposte.client.turns import Answer, Turn, turn_of
from riposte.errors import BadValue
from riposte.wire.frames import (
    Cancel,
    Clear,
    Done,
    End,
    Hello,
    Played,
    Say,
    ServerFrame,
    Speech,
    Text,
)

NATIVE_URL = "ws://127.0.0.1:8000/ws"
SILENCE_S = 60.0  # a turn that says nothing for longer is given up; the server's own deadlines are shorter
DUE_S = 10.0  # after speech was heard or ended; its turn may also have been noise, of which nothing comes


class Client(Connection):
    """One session: typed and spoken turns over a connection. Made by `connect`."""

    _asking = 0  # counts the turns that were asked for
    _unseen = 0  # turns that were left before a frame of theirs was seen

    def turn(self, text: str, *, silence_s: float = SILENCE_S) -> Turn:
        """Type a turn; iterate over its frames, or await its `reply()`.

        Raises what the server refused it with (Busy, TooLarge, …), Closed, and TimedOut when no frame
        came for `silence_s`. One turn at a time; frames left of earlier ones are dropped.
        """
        return self._turn(lambda: self.send(Text(text)), silence_s)

    def say(self, text: str, *, voice: str | None = None, silence_s: float = SILENCE_S) -> Turn:
        """Have this text spoken as it stands, outside of the conversation. Otherwise like `turn`."""
        return self._turn(lambda: self.send(Say(text, voice)), silence_s)

    def speak(self, sound: Sound, *, silence_s: float = SILENCE_S) -> Turn:
        """Push to talk: send sound (s16 mono at `ready.audio_in_hz`) up to its end, which ends the turn.

        For sessions with turn_detection="none"; otherwise BadValue. Sound may be bytes or any iterator of
        bytes; a microphone's is live. Frames come while it is being sent. Otherwise like `turn`.
        """
        if self._hello.turn_detection != "none":
            raise BadValue('`speak` is push to talk: connect with turn_detection="none", or use `listen`')

        async def ask() -> None:
            async for frame in microphone.frames(sound, self.ready.audio_in_hz):
                await self.send(frame)
            await self.send(End())

        return self._turn(ask, silence_s, live=True)

    async def listen(self, sound: Sound, *, tail_s: float = 1.0) -> AsyncGenerator[ServerFrame, None]:
        """Hands-free: send sound as it comes and yield every frame; the server says when turns begin.

        Client frames among the sound are sent in their place: with `End` it is push to talk, turn by turn.
        After the sound's end: until the server has acted on all of it, no turn is open or due, and no
        frame has come for `tail_s`. Raises Closed, TimedOut, and whatever the sound raises. Leaving it
        early stops the sending, not a reply.
        """
        fence, due = self.new_mark(), False

        async def send() -> None:
            nonlocal due
            async for frame in microphone.frames(sound, self.ready.audio_in_hz):
                due = due or isinstance(frame, End)
                await self.send(frame)
            await self.send(fence)

        sender = asyncio.create_task(send(), name="listen-send")
        open_turns, acted = set[int](), False
        try:
            while True:
                ending = acted and not open_turns
                wait_s = (DUE_S if due else tail_s) if ending else SILENCE_S
                try:
                    frame = await self._receive_beside(sender, wait_s)
                except TimedOut:
                    if ending:
                        return
                    raise
                turn = turn_of(frame)
                if frame == fence:
                    acted = True
                    continue
                if isinstance(frame, Done):
                    open_turns.discard(frame.turn)
                elif turn is not None:
                    open_turns.add(turn)
                due = isinstance(frame, Speech) or (due and turn is None)
                yield frame
        finally:
            await _end(sender)

    async def cancel(self) -> None:
        """Stop the reply in progress; its `done` follows. Nothing happens when there is none."""
        await self.send(Cancel())

    async def played(self, turn: int, ms: int) -> None:
        """Report how much of a turn's sound the user has heard so far (see `Playout`)."""
        await self.send(Played(turn, ms))

    async def _receive_beside(self, sender: asyncio.Task[None], silence_s: float) -> ServerFrame:
        """Receive while a task sends: without a deadline until it has ended, and not when it failed."""
        if not sender.done() and not self._kept:
            frame = asyncio.create_task(self.receive(), name="receive")
            try:
                await asyncio.wait({frame, sender}, return_when=asyncio.FIRST_COMPLETED)
                if frame.done():
                    return frame.result()
            finally:
                await _end(frame)
        failure = sender.exception() if sender.done() else None
        if failure is not None and not isinstance(failure, Closed):
            raise failure
        # Where it failed with Closed: why the server hung up stands in what it sent before.
        return await self.receive(silence_s)

    # -- one turn

    def _turn(
        self, ask: Callable[[], Coroutine[Any, Any, None]], silence_s: float, *, live: bool = False
    ) -> Turn:
        return Turn(self._follow(ask, silence_s, live), self.ready.audio_out_hz)

    async def _follow(
        self, ask: Callable[[], Coroutine[Any, Any, None]], silence_s: float, live: bool
    ) -> AsyncGenerator[ServerFrame, None]:
        """Ask, then yield the frames of the turn that is the answer."""
        self._asking += 1
        asked, sender = self._asking, None
        answer = Answer(self._latest_turn, self._unseen, self.new_mark() if self._unseen else None)
        if answer.fence is not None:
            await self.send(answer.fence)
        try:
            if live:
                sender = asyncio.create_task(ask(), name="speak")
            else:
                await ask()
            while not answer.over:
                if sender is not None:
                    frame = await self._receive_beside(sender, silence_s)
                else:
                    frame = await self.receive(silence_s)
                if answer.take(frame):
                    yield frame
        except Closed:
            answer.over = True
            raise
        finally:
            if sender is not None:
                await _end(sender)
            self._unseen = answer.unseen
            if not answer.over:
                self._unseen += answer.number is None
                await self._leave(asked, live=live)

    async def _leave(self, asked: int, *, live: bool) -> None:
        """Cancel a turn that its iterator was left of, unless a newer one has taken its place."""
        if asked != self._asking:
            return
        with contextlib.suppress(Closed, TimedOut):
            await self.send(Cancel(), link.CLOSE_S)
            if live:
                await self.send(Clear(), link.CLOSE_S)


@asynccontextmanager
async def connect(
    url: str = NATIVE_URL,
    *,
    key: str | None = None,
    session: str | None = None,
    ca: str | Path | ssl.SSLContext | None = None,
    tools: Sequence[Tool | Function | dict[str, Any]] = (),
    tool_s: float = 10.0,
    json: bool = False,
    ready_s: float = 10.0,
    **settings: Unpack[Settings],
) -> AsyncIterator[Client]:
    """Open a session, or resume the one named, and close the connection on the way out.

    `url` may also be the server's http address or a bare host. `ca` is the file of a private certificate,
    or an SSLContext. `tools` are functions that the model may call, answered within `tool_s`. `settings`
    are those of `hello` (voice=…, modalities=[…]). Raises CannotConnect when there is no server or no
    answer within `ready_s`, and the server's own error when it refuses the hello.
    """
    address, tls = link.native_url(url), link.trust(ca)
    async with aiohttp.ClientSession() as http:

        async def dial() -> aiohttp.ClientWebSocketResponse:
            return await link.dial(http, address, key=key, tls=tls, timeout_s=ready_s)

        client = Client(
            address, dial, json=json, hello=Hello(**settings), tools=tools, tool_s=tool_s, ready_s=ready_s
        )
        await client.open(session)
        try:
            yield client
        finally:
            await client.close()


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait for its end; what it raised is not news here."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
