"""Whatever a client does in whatever order: every turn ends once, and nothing of it follows."""

from __future__ import annotations

import asyncio
import random

import pytest
from conftest import fakes, serving

from riposte.audio import to_s16
from riposte.backends.fake import FAIL_LLM, FAIL_TTS, fake_speech
from riposte.client.client import Client, connect
from riposte.wire import frames as wire

WAIT_S = 10.0
TOOLS = [{"type": "function", "function": {"name": "light"}}]
CALLS = "one moment #tool light {} #tool light {}"
SPEECH = to_s16(fake_speech("some words", lead_s=0.05, tail_s=0.45)).tobytes()


async def misbehave(client: Client, rng: random.Random, steps: int) -> None:
    """Do what a client may do, in an order that no client would."""
    at = 0
    for _ in range(steps):
        choice = rng.random()
        if choice < 0.45:
            await client.send(wire.AudioIn(SPEECH[at : at + 3200]))
            at = (at + 3200) % len(SPEECH)
        elif choice < 0.65:
            text = rng.choice(["hello there", "count to 30", CALLS, FAIL_LLM, f"well {FAIL_TTS}"])
            await client.send(wire.Text(text))
        else:
            await client.send(
                rng.choice(
                    [
                        wire.Cancel(),
                        wire.End(),
                        wire.Clear(),
                        wire.Say("say this aloud"),
                        wire.ToolResult(f"call-{2 * rng.randrange(1, 5)}-{rng.randrange(2)}", "done"),
                        wire.Played(rng.randrange(1, 9), rng.randrange(500)),
                        wire.Hello(turn_detection=rng.choice(["none", "server"])),
                    ]
                )
            )
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.03)


def shown(frames: list[wire.ServerFrame]) -> set[int]:
    """The turns that the client has seen a frame of."""
    return {turn for frame in frames if (turn := getattr(frame, "turn", None)) is not None}


def ended(frames: list[wire.ServerFrame]) -> set[int]:
    """The turns that are over."""
    return {frame.turn for frame in frames if isinstance(frame, wire.Done)}


def check(frames: list[wire.ServerFrame]) -> None:
    """Hold every frame against the protocol's promises about turns."""
    over: set[int] = set()
    silenced: set[int] = set()
    seq: dict[int, int] = {}
    for frame in frames:
        turn = getattr(frame, "turn", None)
        if turn is None:
            continue
        assert turn not in over, f"{frame} came after the turn's done"
        match frame:
            case wire.AudioOut():
                assert turn not in silenced, f"sound of turn {turn} after it was silenced"
                assert frame.seq == seq.get(turn, -1) + 1
                seq[turn] = frame.seq
            case wire.Playback(gain=gain):
                assert turn not in silenced
                if gain == 0:
                    silenced.add(turn)
            case wire.Token() | wire.Clause() | wire.ToolCall():
                assert turn not in silenced
            case wire.Done():
                over.add(turn)


@pytest.mark.parametrize("seed", range(12))
async def test_every_turn_ends_once_and_nothing_follows(seed: int) -> None:
    rng = random.Random(seed)
    profile = fakes(llm={"token_s": 0.002}, asr={"step_s": 0.004}, tts={"piece_s": 0.002})
    async with serving(profile) as served, connect(served.ws_url, tools=TOOLS) as client:
        frames: list[wire.ServerFrame] = []

        async def listen() -> None:
            # A cancelled turn's end is no answer to a frame: it may come after the mark's echo.
            while wire.Mark(7) not in frames or ended(frames) != shown(frames):
                frames.append(await client.receive(WAIT_S))

        listening = asyncio.create_task(listen())
        await misbehave(client, rng, 60)
        for frame in (wire.Clear(), wire.Text("the last one"), wire.Cancel(), wire.Mark(7)):
            await client.send(frame)
        await listening
        check(frames)
        assert len(ended(frames)) > 3
