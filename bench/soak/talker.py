"""What clients do to a server, all of it, in an order that a seed decides."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp

from bench.report import ROOT
from bench.soak.line import Broken, Hung, Line
from riposte.wire import frames as wire
from riposte.wire.frames import SUBPROTOCOL

FRAME_BYTES = 1280  # 40 ms
RESUMED = 3  # times
FILLING_TURNS = 60  # some 1,200 tokens of pico's 1,024
CHAT_TURNS = 12
QUIET = bytes(2 * 16_000 * 6 // 10)  # longer than the silence that ends a turn
TOOLS = json.loads((ROOT / "examples" / "home_tools.json").read_text())
# A model calls a tool for the first, fakes for the second.
ORDERS = ("turn on the kitchen light", '#tool timer {"action":"start","seconds":5}')
MALFORMED = (b"", b"\xc1", b"\x93\x01", b"\x81\xa4type\xa4what", b"\x81\xa4type\xa4text", b"\xff" * 4000)


class Talker:
    """One client after the other, for as long as `talk` is let. `tally` counts what was done."""

    def __init__(
        self, seed: str, url: str, sentences: Sequence[str], speech: Sequence[bytes], tally: Counter[str]
    ) -> None:
        self._rng = random.Random(seed)
        self._url = url
        self._sentences = sentences
        self._speech = speech
        self._tally = tally
        self._seed = seed
        self._chats = 0
        self._session: str | None = None
        self._resumed = 0

    async def talk(self, stop: asyncio.Event) -> None:
        """Come and go until told to stop. Raises Broken when the server does not keep a promise."""
        visits, weights = zip(*self._visits(), strict=True)
        while not stop.is_set():
            visit = self._rng.choices(visits, weights)[0]
            await self._visit(visit)
            await asyncio.sleep(self._rng.random() * 0.1)

    async def try_everything(self) -> None:
        """Do each thing once."""
        for visit, _ in self._visits():
            await self._visit(visit)
        for step, _ in self._steps():
            async with self._line() as line:
                await step(line)
                await line.settle()

    async def fill(self) -> None:
        """Talk in one session until the model's context is full: its cache is then as large as it gets."""
        async with self._line() as line:
            await line.send(wire.Hello(modalities=["text"]))
            for _ in range(FILLING_TURNS):
                await line.send(wire.Text(self._sentence()))
                await line.until(wire.Done)
        self._session = None

    async def _visit(self, visit: Callable[[], Awaitable[None]]) -> None:
        try:
            await visit()
        except (Hung, aiohttp.ClientError, ConnectionError) as exc:
            self._tally[f"hung up: {type(exc).__name__}"] += 1
        self._tally[visit.__name__.strip("_")] += 1

    def _visits(self) -> list[tuple[Callable[[], Awaitable[None]], int]]:
        return [
            (self._conversation, 60),
            (self._chat, 8),
            (self._chat_stream, 8),
            (self._tts, 8),
            (self._chat_socket, 6),
            (self._look, 2),
        ]

    def _steps(self) -> list[tuple[Callable[[Line], Awaitable[None]], int]]:
        return [
            (self._text, 30),
            (self._spoken, 14),
            (self._pushed, 10),
            (self._barge_in_typed, 8),
            (self._barge_in_spoken, 8),
            (self._cancel, 8),
            (self._say, 8),
            (self._tool, 6),
            (self._change, 4),
            (self._malformed, 4),
            (self._slow, 2),
        ]

    # -- the native socket

    async def _conversation(self) -> None:
        steps, weights = zip(*self._steps(), strict=True)
        async with self._line() as line:
            for _ in range(self._rng.randrange(1, 7)):
                step = self._rng.choices(steps, weights)[0]
                await step(line)
                self._tally[step.__name__.strip("_")] += 1
                if self._rng.random() < 0.08:
                    line.vanish()  # in the middle of whatever is under way
                    self._tally["vanished"] += 1
                    return
                await line.settle()

    @asynccontextmanager
    async def _line(self) -> AsyncGenerator[Line, None]:
        session = self._session if self._resumed < RESUMED and self._rng.random() < 0.6 else None
        self._resumed = 0 if session is None else self._resumed + 1
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{self._url}/ws", protocols=(SUBPROTOCOL,)) as socket,
        ):
            line = Line(socket, self._tally, self._answer)
            modalities: list[wire.Modality] = ["text"] if self._rng.random() < 0.5 else ["text", "audio"]
            await line.send(wire.Hello(session=session, modalities=modalities, max_tokens=60))
            frame = await line.receive()
            if isinstance(frame, wire.Error):  # the session was forgotten meanwhile
                await line.send(wire.Hello(modalities=modalities, max_tokens=60))
                await line.until(wire.Ready)
            self._session = line.session
            yield line

    async def _text(self, line: Line) -> None:
        await line.send(wire.Text(self._sentence()))

    async def _say(self, line: Line) -> None:
        await line.send(wire.Say(self._sentence()))

    async def _tool(self, line: Line) -> None:
        """Offer tools to one turn; its calls are answered as they come."""
        await line.send(wire.Hello(tools=TOOLS))
        await line.send(wire.Text(self._rng.choice(ORDERS)))
        await line.send(wire.Hello(tools=None))
        while not isinstance(await line.receive(), wire.ToolCall | wire.Done | wire.Error):
            pass

    def _answer(self, call: wire.ToolCall) -> wire.ClientFrame:
        """Answer a call, or give its turn up while it waits."""
        answered = self._rng.random() < 0.8
        return wire.ToolResult(call.call, '{"ok": true}') if answered else wire.Cancel()

    async def _spoken(self, line: Line) -> None:
        await line.send(wire.Hello(turn_detection="server"))
        await self._speak(line, self._utterance() + QUIET)

    async def _pushed(self, line: Line) -> None:
        await line.send(wire.Hello(turn_detection="none"))
        await self._speak(line, self._utterance())
        await line.send(wire.End() if self._rng.random() < 0.8 else wire.Clear())

    async def _barge_in_typed(self, line: Line) -> None:
        for _ in range(self._rng.randrange(2, 4)):
            await line.send(wire.Text(self._sentence()))
            await line.receive()

    async def _barge_in_spoken(self, line: Line) -> None:
        await line.send(wire.Hello(turn_detection="server"))
        await line.send(wire.Text(self._sentence()))
        await line.receive()
        await self._speak(line, self._utterance() + QUIET)

    async def _cancel(self, line: Line) -> None:
        await line.send(wire.Text(self._sentence()))
        for _ in range(self._rng.randrange(3)):
            await line.receive()
        await line.send(wire.Played(1, self._rng.randrange(2000)))
        await line.send(wire.Cancel())

    async def _change(self, line: Line) -> None:
        rate_hz = self._rng.choice((8_000, 24_000, 48_000, None))
        await line.send(wire.Hello(audio_out_hz=rate_hz, modalities=["text", "audio"], patience=0.5))
        await line.send(wire.Say(self._sentence()))

    async def _malformed(self, line: Line) -> None:
        for _ in range(self._rng.randrange(1, 6)):
            await line.send_raw(self._rng.choice(MALFORMED))

    async def _slow(self, line: Line) -> None:
        line.hold(reading=False)
        for _ in range(3):
            await line.send(wire.Text(self._sentence()))
        await asyncio.sleep(self._rng.random())
        line.hold(reading=True)

    async def _speak(self, line: Line, sound: bytes) -> None:
        """Send sound some ten times faster than it was spoken."""
        for at in range(0, len(sound), FRAME_BYTES):
            await line.send(wire.AudioIn(sound[at : at + FRAME_BYTES]))
            if at % (8 * FRAME_BYTES) == 0:
                await asyncio.sleep(0.03)

    # -- the plain routes

    async def _chat(self) -> None:
        asked = {"message": self._sentence(), "session_id": self._chat_name()}
        async with aiohttp.ClientSession() as http, http.post(f"{self._url}/chat", json=asked) as answer:
            await self._answered(answer)

    async def _chat_stream(self) -> None:
        asked = {"message": self._sentence(), "session_id": self._chat_name()}
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self._url}/chat/stream", json=asked) as answer,
        ):
            await self._answered(answer)

    async def _tts(self) -> None:
        asked = {"text": self._sentence()}
        async with aiohttp.ClientSession() as http, http.post(f"{self._url}/tts", json=asked) as answer:
            await self._answered(answer)

    async def _answered(self, answer: aiohttp.ClientResponse) -> None:
        """Read an answer, or leave in the middle of it."""
        self._tally[f"status {answer.status}"] += 1
        if self._rng.random() < 0.2:
            await answer.content.readany()
            answer.close()
            return
        async with asyncio.timeout(60):
            await answer.read()

    async def _chat_socket(self) -> None:
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{self._url}/ws/chat") as socket:
            for _ in range(self._rng.randrange(1, 4)):
                await socket.send_str(self._sentence())
                while (message := await socket.receive(60)).type is aiohttp.WSMsgType.TEXT:
                    kind = message.json()["type"]
                    if kind == "error":
                        self._tally[f"error {message.json()['code']}"] += 1
                    if kind != "token":
                        break
                    if self._rng.random() < 0.02:
                        return

    async def _look(self) -> None:
        for path in ("/health", "/metrics", "/voices"):
            async with aiohttp.ClientSession() as http, http.get(f"{self._url}{path}") as answer:
                if answer.status >= 500 and path != "/health":  # which says that a killed voice is missing
                    raise Broken(f"{path} answers {answer.status}")
                await answer.read()

    def _chat_name(self) -> str:
        """Name a conversation, another one after CHAT_TURNS."""
        self._chats += 1
        return f"soak-{self._seed}-{self._chats // CHAT_TURNS}"

    def _sentence(self) -> str:
        return self._rng.choice(self._sentences)

    def _utterance(self) -> bytes:
        return self._rng.choice(self._speech)
