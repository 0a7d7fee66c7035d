"""Four servers that say the same turn over a WebSocket, and nothing else.

`python -m bench.beside.wire NAME`, each in a process of its own, on uvloop. It prints `ready on http://…`,
then answers every line on its standard input with the processor seconds it has used so far. A client's
message asks for a turn: 60 tokens and 75 frames of sound, then `done`. With "stepped" in it the event
loop turns before every frame.
"""

import asyncio
import base64
import logging
import resource
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec
import uvloop

from riposte.wire.frames import AudioOut, Done, EndReason, ServerFrame, Timing, Token, Usage

TOKENS, AUDIO = 60, 75
AUDIO_BYTES = 1_920  # 40 ms of 16-bit sound at 24 kHz
FRAMES = TOKENS + AUDIO + 1
STEPPED = "stepped"
_PCM = bytes(range(256)) * (AUDIO_BYTES // 256) + bytes(AUDIO_BYTES % 256)
_ROUNDS = 15  # of four tokens and five frames of sound: text and sound leave side by side


def script(turn: int) -> Iterator[ServerFrame]:
    """Yield the frames of a turn but its `done`, made anew as a pipeline makes them."""
    for part in range(_ROUNDS):
        for _ in range(TOKENS // _ROUNDS):
            yield Token(turn, " word")
        for number in range(AUDIO // _ROUNDS):
            yield AudioOut(turn, part * (AUDIO // _ROUNDS) + number, _PCM)


def done(turn: int) -> Done:
    """Return the frame that ends the turn."""
    return Done(turn, "stop", AUDIO * 40, Usage(40, 0, TOKENS, AUDIO * 40), Timing("text"))


async def riposte() -> None:
    """Serve the real socket, session and outbox; only the turn's pipeline is replaced by the script."""
    import riposte.turns
    from riposte.app import running
    from riposte.config import FAKE_PROFILE, Config, History, Limits, Server
    from riposte.turn.pipeline import Turn

    class Scripted(Turn):
        async def _answer(self) -> EndReason:
            stepped = self.spec.text == STEPPED
            for frame in script(self.spec.number):
                if stepped:
                    await asyncio.sleep(0)
                await self.gate.put(frame)
            return "stop"

    riposte.turns.Turn = Scripted  # type: ignore[attr-defined]
    config = Config(
        server=Server(port=0, fake=True),
        limits=Limits(turns_per_minute=10_000_000),
        history=History(enabled=False),  # a turn's write to disk is no part of the wire
    )
    async with running(config, FAKE_PROFILE) as url:
        _ready(url)
        await asyncio.Event().wait()


async def bare() -> None:
    """Serve with aiohttp and msgspec, the shortest way there is: no queue, no session, no deadline."""
    from aiohttp import web

    encode = msgspec.msgpack.Encoder().encode

    async def handle(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        turn = 0
        async for message in ws:
            turn += 1
            stepped = STEPPED in _text(message.data)
            for frame in script(turn):
                if stepped:
                    await asyncio.sleep(0)
                await ws.send_bytes(encode(frame))
            await ws.send_bytes(encode(done(turn)))
        return ws

    app = web.Application()
    app.router.add_get("/ws", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.SockSite(runner, _listening())
    await site.start()
    _ready("http://{}:{}".format(*runner.addresses[0][:2]))
    await asyncio.Event().wait()


async def fastapi() -> None:
    """Serve with FastAPI on uvicorn, JSON with the sound in base64: how such servers are mostly written."""
    import uvicorn
    from fastapi import FastAPI, WebSocket, WebSocketDisconnect

    app = FastAPI()

    @app.websocket("/ws")
    async def handle(ws: WebSocket) -> None:
        await ws.accept()
        turn = 0
        try:
            while True:
                stepped = STEPPED in await ws.receive_text()
                turn += 1
                for frame in script(turn):
                    if stepped:
                        await asyncio.sleep(0)
                    if isinstance(frame, AudioOut):
                        pcm = base64.b64encode(frame.pcm).decode()
                        await ws.send_json({"type": "audio", "turn": turn, "seq": frame.seq, "pcm": pcm})
                    elif isinstance(frame, Token):
                        await ws.send_json({"type": "token", "turn": turn, "text": frame.text})
                await ws.send_json(msgspec.to_builtins(done(turn)))
        except WebSocketDisconnect:
            return

    listening = _listening()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    _ready("http://{}:{}".format(*listening.getsockname()[:2]))
    await server.serve(sockets=[listening])


async def picows() -> None:
    """Serve with picows and msgspec: no streams, no tasks, frames straight to the transport."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

    encode = msgspec.msgpack.Encoder().encode

    class Listener(WSListener):
        turn = 0
        tasks: set[asyncio.Task[None]] = set()  # noqa: RUF012

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()
                return
            self.turn += 1
            if STEPPED in _text(frame.get_payload_as_bytes()):
                task = asyncio.create_task(self._stepped(transport, self.turn))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
                return
            for each in script(self.turn):
                transport.send(WSMsgType.BINARY, encode(each))
            transport.send(WSMsgType.BINARY, encode(done(self.turn)))

        async def _stepped(self, transport: WSTransport, turn: int) -> None:
            for each in script(turn):
                await asyncio.sleep(0)
                transport.send(WSMsgType.BINARY, encode(each))
            transport.send(WSMsgType.BINARY, encode(done(turn)))

    def listener(_: WSUpgradeRequest) -> WSListener:
        return Listener()

    listening = _listening()
    server = await ws_create_server(listener, sock=listening)
    _ready("http://{}:{}".format(*listening.getsockname()[:2]))
    await server.serve_forever()


# In the order in which they take turns; what each needs beside what Riposte needs.
NEEDS = {"riposte": (), "aiohttp": (), "fastapi": ("fastapi", "uvicorn"), "picows": ("picows",)}

SERVERS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "riposte": riposte,
    "aiohttp": bare,
    "fastapi": fastapi,
    "picows": picows,
}


def _text(data: Any) -> str:
    return data if isinstance(data, str) else bytes(data).decode(errors="replace")


def _listening() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    return listening


def _ready(url: str) -> None:
    print(f"ready on {url}", flush=True)


def _tell_cpu() -> None:
    # A thread that waits for a line costs nothing while turns are measured.
    for _ in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(used.ru_utime + used.ru_stime, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    threading.Thread(target=_tell_cpu, daemon=True).start()
    uvloop.run(SERVERS[sys.argv[1]]())
