"""Words that the tests of the native protocol share: speak, collect frames, look at them."""

from __future__ import annotations

from riposte.audio import to_s16
from riposte.backends.fake import fake_speech
from riposte.client.client import Client, Closed
from riposte.wire import frames as wire

WAIT_S = 5.0


def pcm(text: str, *, tail_s: float = 0.0, lead_s: float = 0.0) -> bytes:
    return to_s16(fake_speech(text, lead_s=lead_s, tail_s=tail_s)).tobytes()


async def speak(client: Client, sound: bytes) -> None:
    for at in range(0, len(sound), 1280):  # 40 ms
        await client.send(wire.AudioIn(sound[at : at + 1280]))


async def until(client: Client, kind: type, turn: int | None = None) -> list[wire.ServerFrame]:
    """Collect frames up to the first of this kind (and turn)."""
    frames: list[wire.ServerFrame] = []
    while True:
        frames.append(await client.receive(WAIT_S))
        if isinstance(frames[-1], kind) and turn in (None, getattr(frames[-1], "turn", None)):
            return frames


async def until_closed(client: Client) -> tuple[list[wire.ServerFrame], int | None]:
    """Collect frames until the server hangs up; return them and its close code."""
    frames: list[wire.ServerFrame] = []
    try:
        while True:
            frames.append(await client.receive(WAIT_S))
    except Closed as closed:
        return frames, closed.close_code


async def heard_nothing_more(client: Client) -> list[wire.ServerFrame]:
    """A mark comes back after everything before it has been acted on."""
    await client.send(wire.Mark(99))
    return (await until(client, wire.Mark))[:-1]


def of(frames: list[wire.ServerFrame], kind: type) -> list:
    return [frame for frame in frames if isinstance(frame, kind)]


def tokens(frames: list[wire.ServerFrame]) -> str:
    return "".join(frame.text for frame in of(frames, wire.Token))
