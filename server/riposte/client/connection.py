"""One session's connection: frames out and in, settings, tools, and coming back to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Literal, TypedDict, Unpack

import aiohttp
import msgspec
from msgspec import UNSET

from riposte.client.failures import CannotConnect, Closed, TimedOut, error_of
from riposte.client.tools import Function, Tool, Toolbox
from riposte.client.turns import turn_of
from riposte.errors import RiposteError
from riposte.wire.codec import decode_server, encode, encode_json
from riposte.wire.frames import ClientFrame, Done, Error, Hello, Mark, Ready, ServerFrame, ToolCall

KEPT_FRAMES = 4_096


class Settings(TypedDict, total=False):
    """What a session may choose (`hello`); None restores the server's default."""

    audio_in_hz: int | None
    audio_out_hz: int | None
    voice: str | None
    language: str | None
    instructions: str | None
    modalities: list[Literal["text", "audio"]] | None
    turn_detection: Literal["server", "none"] | None
    patience: float | None
    max_tokens: int | None
    temperature: float | None


class Connection:
    """One session's connection, and the next one after `resume`. One task receives, any task may send.

    Frames that nobody receives hold the server back, in time: there is no task that reads ahead.
    """

    def __init__(
        self,
        url: str,
        dial: Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]],
        *,
        json: bool,
        hello: Hello,
        tools: Sequence[Tool | Function | dict[str, Any]],
        tool_s: float,
        ready_s: float,
    ) -> None:
        self._url = url
        self._dial = dial
        self._json = json
        self._hello = hello  # the settings as they are now, to resume with
        self._ready_s = ready_s
        self._socket: aiohttp.ClientWebSocketResponse
        self._toolbox = Toolbox(tools, self.send, deadline_s=tool_s)
        self._kept: deque[ServerFrame] = deque()  # came while something else was waited for
        self._receiving = False
        self._latest_turn = 0
        self._marks = 0
        self.ready: Ready  # the latest answer to a hello

    @property
    def session(self) -> str:
        """The session's id, to come back to it with."""
        return self.ready.session

    @property
    def close_code(self) -> int | None:
        """Why the server closed the connection; None while it is open, or when it broke."""
        return self._socket.close_code

    # -- frames

    async def send(self, frame: ClientFrame, timeout_s: float | None = None) -> None:
        """Send one frame. Waits while the server reads slowly. Raises Closed, TimedOut."""
        try:
            async with asyncio.timeout(timeout_s):
                if self._json:
                    await self._socket.send_str(encode_json(frame))
                else:
                    await self._socket.send_bytes(encode(frame))
        except (TimeoutError, ConnectionError, aiohttp.ClientError) as exc:
            if isinstance(exc, TimeoutError) and timeout_s is not None:
                raise TimedOut(f"the server took nothing for {timeout_s:g} s") from exc
            raise Closed(self.close_code) from exc

    async def receive(self, timeout_s: float | None = None) -> ServerFrame:
        """Return the next frame. Raises Closed, and TimedOut when none came in time.

        Calls of tools given as functions are answered on the way, and returned for information.
        """
        if self._kept:
            return self._kept.popleft()
        return await self._next(timeout_s)

    def __aiter__(self) -> AsyncIterator[ServerFrame]:
        return self

    async def __anext__(self) -> ServerFrame:
        try:
            return await self.receive()
        except Closed:
            raise StopAsyncIteration from None

    async def mark(self, timeout_s: float = 10.0) -> None:
        """Wait until the server has acted on everything sent so far. For the task that receives.

        Frames that come meanwhile are kept for `receive`. Raises Closed, TimedOut.
        """
        mark = self.new_mark()
        await self.send(mark, timeout_s)
        await self._await(lambda frame: frame == mark, timeout_s, "the mark")

    async def configure(
        self,
        *,
        tools: Sequence[Tool | Function | dict[str, Any]] | None = None,
        timeout_s: float = 10.0,
        **settings: Unpack[Settings],
    ) -> Ready:
        """Change settings from the next turn on. For the task that receives, between turns.

        Frames that come meanwhile are kept for `receive`. Raises what the server refuses it with, and
        then nothing is changed.
        """
        patch = Hello(**settings)
        if tools is not None:
            offered = Toolbox(tools, self.send, deadline_s=0)  # raises before anything is changed
            patch = msgspec.structs.replace(patch, tools=offered.schemas)
        await self.send(patch, timeout_s)
        answer = await self._await(_answers_hello, timeout_s, "`hello`")
        if isinstance(answer, Error):
            raise error_of(answer)
        assert isinstance(answer, Ready)
        if tools is not None:
            self._toolbox.replace(tools)
        chosen: dict[str, Any] = {**settings, **({} if tools is None else {"tools": patch.tools})}
        self._hello = msgspec.structs.replace(self._hello, **chosen)
        return answer

    # -- the connection

    async def resume(self, within_s: float = 30.0) -> Ready:
        """Connect again and go on with this session and its settings, after Closed. Tries for a while.

        What was under way is lost, what was said is kept. Raises CannotConnect, or the server's refusal:
        UnknownSession when it has forgotten.
        """
        await self._drop()
        loop = asyncio.get_running_loop()
        until, pause_s = loop.time() + within_s, 0.1
        while True:
            try:
                return await self.open(self.session)
            except CannotConnect:
                if loop.time() + pause_s > until:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 5.0)

    async def close(self) -> None:
        """Close the connection. May be called twice."""
        await self._drop()

    async def _drop(self) -> None:
        await self._toolbox.aclose()
        await self._socket.close()

    async def open(self, session: str | None) -> Ready:
        """Connect and say hello. Raises CannotConnect and the server's refusal."""
        self._socket = await self._dial()
        self._kept.clear()
        self._latest_turn = 0  # a server that was killed in mid-turn gives its number again
        where = f"the server at {self._url}"
        try:
            hello = msgspec.structs.replace(
                self._hello, session=session, tools=self._toolbox.schemas or UNSET
            )
            await self.send(hello, self._ready_s)
            answer = await self._await(_answers_hello, self._ready_s, "`hello`")
        except TimedOut as exc:
            await self._socket.close()
            raise CannotConnect(f"{where} did not answer `hello` within {self._ready_s:g} s") from exc
        except Closed as exc:
            raise CannotConnect(f"{where} closed before it was ready ({exc.close_code})") from exc
        if isinstance(answer, Error):
            await self._socket.close()
            raise error_of(answer)
        assert isinstance(answer, Ready)
        return answer

    # -- receiving

    async def _next(self, timeout_s: float | None) -> ServerFrame:
        if self._receiving:
            raise RiposteError("another task receives already; look for this frame there")
        self._receiving = True
        try:
            async with asyncio.timeout(timeout_s):
                message = await self._socket.receive()
        except TimeoutError as exc:
            if timeout_s is None:  # the kernel's: the server's machine is gone
                raise Closed(None) from exc
            raise TimedOut(f"no frame came for {timeout_s:g} s") from exc
        finally:
            self._receiving = False
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            # aiohttp forgets the server's code when its own answer to it finds the connection gone.
            told = message.data if message.type is aiohttp.WSMsgType.CLOSE else None
            raise Closed(told or self.close_code)
        frame = decode_server(message.data)
        self._latest_turn = max(self._latest_turn, turn_of(frame) or 0)
        match frame:
            case Ready():
                self.ready = frame
            case ToolCall():
                self._toolbox.take(frame)
            case Done():
                self._toolbox.end(frame.turn)
        return frame

    async def _await(self, wanted: Callable[[ServerFrame], bool], timeout_s: float, what: str) -> ServerFrame:
        """Receive up to the frame that is wanted; keep the others."""
        try:
            async with asyncio.timeout(timeout_s):
                while not wanted(frame := await self._next(None)):
                    if len(self._kept) >= KEPT_FRAMES:
                        raise RiposteError(f"{KEPT_FRAMES} frames wait for `receive`; read them first")
                    self._kept.append(frame)
        except TimeoutError as exc:
            raise TimedOut(f"the server did not answer {what} within {timeout_s:g} s") from exc
        return frame

    def new_mark(self) -> Mark:
        self._marks += 1
        return Mark(-self._marks)  # a user's own count up


def _answers_hello(frame: ServerFrame) -> bool:
    return isinstance(frame, Ready) or (isinstance(frame, Error) and frame.turn is None)
