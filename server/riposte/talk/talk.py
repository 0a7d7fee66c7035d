"""The talk itself: what is heard goes out, what comes back is played and shown, both at once."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from riposte.client import Client, Closed, Playout, connect
from riposte.errors import UnknownSession
from riposte.talk.device import Device
from riposte.talk.files import SoundFiles
from riposte.terminal import lines_of_stdin, note
from riposte.wire.frames import Cancel, ClientFrame, Done, End, Error, ServerFrame, Token, Transcript

REPORT_S = 0.1  # between reports of what was heard
TAIL_S = 0.5  # after a file's end, without a frame
DRAIN_S = 5.0  # for what is still to be played then


async def talk(
    url: str,
    device: Device,
    *,
    key: str | None = None,
    ca: str | Path | ssl.SSLContext | None = None,
    session: str | None = None,
    voice: str | None = None,
    push_to_talk: bool = False,
) -> int:
    """Talk until the microphone ends (a file does) or the connection; return the exit status.

    Takes the device over, and closes it. Raises CannotConnect, NoDevice and what a hello raises.
    """
    try:
        async with connect(
            url,
            key=key,
            ca=ca,
            session=session,
            audio_in_hz=device.rate_in_hz,
            turn_detection="none" if push_to_talk else "server",
            voice=voice,
        ) as client:
            return await _converse(client, device, push_to_talk=push_to_talk)
    except UnknownSession as exc:
        raise UnknownSession("that session is not kept here; leave out --session for a new one") from exc
    finally:
        await device.aclose()


async def _converse(client: Client, device: Device, *, push_to_talk: bool) -> int:
    playout = Playout(client.ready.audio_out_hz, device_ms=device.holds_ms)
    device.play(playout, client.ready.audio_out_hz)
    how = "Enter begins, Enter ends what you say; " if push_to_talk else "speak; "
    note(f"{client.ready.models.asr} listens: {how}Ctrl-C ends. To come back: --session {client.session}")
    sound = _pushed(device) if push_to_talk else device.microphone()
    reporting = asyncio.create_task(_report(client, playout), name="talk-report")
    screen = Screen()
    try:
        async with aclosing(client.listen(sound, tail_s=TAIL_S)) as frames:
            async for frame in frames:
                playout.take(frame)
                screen.show(frame)
        await _drained(playout)
    except Closed as exc:
        note(str(exc))
        return 1
    finally:
        reporting.cancel()
        await asyncio.wait({reporting})
    await _tell(client, playout)
    return 0


async def _pushed(device: Device) -> AsyncIterator[bytes | ClientFrame]:
    """Yield what is heard between one Enter and the next; Ctrl-D ends the talk. A file is pushed whole."""
    whole = isinstance(device, SoundFiles)
    lines = asyncio.Queue[str | None]() if whole else lines_of_stdin()
    pushed = whole
    async with aclosing(device.microphone()) as microphone:
        async for pcm in microphone:
            while not lines.empty():
                if lines.get_nowait() is None:
                    return
                pushed = not pushed
                yield Cancel() if pushed else End()
            if pushed:
                yield pcm
    yield End()


async def _report(client: Client, playout: Playout) -> None:
    """Tell the server what the device has played, so that an interrupted reply is remembered as heard."""
    while True:
        await asyncio.sleep(REPORT_S)
        try:
            await _tell(client, playout)
        except Closed:
            return  # the one who receives says so


async def _tell(client: Client, playout: Playout) -> None:
    for turn, ms in playout.news():
        await client.played(turn, ms)


async def _drained(playout: Playout) -> None:
    """Let the device play what it was given and what waits."""
    await asyncio.sleep(min(DRAIN_S, playout.buffered_ms / 1000 + REPORT_S))


class Screen:
    """Words as they come: what was heard, what is answered, what went wrong."""

    def __init__(self) -> None:
        self._turn: int | None = None  # whose tokens the open line holds

    def show(self, frame: ServerFrame) -> None:
        """Show what a person wants to know of a frame."""
        match frame:
            case Transcript(final=True, text=text) if text:
                self._line(f"you: {text}\n")
            case Token():
                if self._turn is None:
                    self._turn = frame.turn
                    sys.stdout.write("riposte: ")
                sys.stdout.write(frame.text)
                sys.stdout.flush()
            case Done():
                if self._turn == frame.turn:
                    self._line("" if frame.reason in ("stop", "length") else " —")
            case Error():
                self._line("")
                note(frame.message)

    def _line(self, text: str) -> None:
        if self._turn is not None:
            sys.stdout.write(f"{text}\n" if not text.endswith("\n") else f"\n{text}")
            self._turn = None
        else:
            sys.stdout.write(text)
        sys.stdout.flush()
