"""Turns over the native socket, at 1, 4 and 8 sessions: typed (clock "text") and spoken (clock "end").

Spoken turns are push to talk: about 3 s of speech arrive at the speed of speech, then `end`. Each
conversation has ten turns; the server's very first turn belongs to the cold start and to no row.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

import aiohttp
import msgspec
from tqdm import tqdm

from bench.material import MICROPHONE_HZ, Sentences, microphone, utterances
from bench.report import CaseReport, Row, Target, spread
from bench.server import ServerProcess, serving
from bench.stopwatch import BUSY, TurnSeen, watch
from bench.yardstick import Yardstick
from riposte.client.client import Client, connect
from riposte.wire.frames import AudioIn, End, Text

CLOCKS = ("text", "end")
LEVELS = (1, 4, 8)
CONVERSATION_TURNS = 10
PAUSE_S = 0.05  # between two turns; a person takes longer, and the server has that time for itself

# From the project's latency targets for pico on two cores. The last of each clock is the whole way, by the
# client's watch.
TARGETS = {
    "text": (
        Target("first token", "p95", 15.0),
        Target("first audio", "p95", 60.0),
        Target("first audio, client's watch", "p95", 200.0),
    ),
    "end": (
        Target("first audio", "p95", 100.0),
        Target("first audio, client's watch", "p95", 200.0),
    ),
}
NOTES = (
    "each turn is ended with `cancel` once it sounds and its tokens have ceased: playback is not waited for",
    "every input is unique; conversations of ten turns; the first turn of the server is in no row",
)

Ask = Callable[[Client], Awaitable[float]]


def main() -> None:
    """Run the case and print its report as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pico")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clock", action="append", choices=CLOCKS, help="this one alone")
    options = parser.parse_args()
    clocks = tuple(options.clock or CLOCKS)
    report = asyncio.run(run(options.profile, options.turns, options.seed, clocks))
    print(msgspec.json.encode(report).decode())


async def run(profile: str, turns: int, seed: int, clocks: Sequence[str]) -> CaseReport:
    """Measure these clocks at every level against one server."""
    yardstick = Yardstick()
    sentences = Sentences(seed)
    rows = []
    async with serving(profile) as server, aiohttp.ClientSession() as http:
        first = await _first_turn(server, next(sentences))
        for clock in clocks:
            for sessions in LEVELS:
                asks = await _asks(clock, http, server, sentences, turns)
                row = await _row(clock, sessions, asks, server, yardstick)
                rows.append(row if profile != "fake" else msgspec.structs.replace(row, targets=()))
        start = {
            "process start to ready": server.start_ms,
            "first turn after it, to first audio": first.first_audio_ms or 0.0,
        }
        memory = f"the server holds {server.rss_mib():.0f} MiB at the end"
    return CaseReport("turn", tuple(rows), start, (*NOTES, memory))


async def _first_turn(server: ServerProcess, text: str) -> TurnSeen:
    async with connect(server.ws_url) as client:
        return await watch(client, await typed(text)(client))


async def _asks(
    clock: str, http: aiohttp.ClientSession, server: ServerProcess, sentences: Sentences, turns: int
) -> list[Ask]:
    if clock == "text":
        return [typed(next(sentences)) for _ in range(turns)]
    return [spoken(pcm) for pcm in await utterances(http, server.url, sentences, turns)]


def typed(text: str) -> Ask:
    """Return what types a turn; it returns perf_counter as of the asking frame."""

    async def ask(client: Client) -> float:
        started = time.perf_counter()
        await client.send(Text(text))
        return started

    return ask


def spoken(pcm: bytes) -> Ask:
    """Return what speaks a turn, as fast as one speaks, and ends it."""

    async def ask(client: Client) -> float:
        async with aclosing(microphone(pcm)) as pieces:
            async for piece in pieces:
                await client.send(AudioIn(piece))
        started = time.perf_counter()
        await client.send(End())
        return started

    return ask


async def _row(
    clock: str, sessions: int, asks: list[Ask], server: ServerProcess, yardstick: Yardstick
) -> Row:
    before = await asyncio.to_thread(yardstick.measure)
    seen: list[TurnSeen] = []
    with tqdm(total=len(asks), desc=f"{clock}, {sessions} sessions", file=sys.stderr) as bar:
        async with asyncio.TaskGroup() as group:
            for number in range(sessions):
                mine = asks[number::sessions]
                group.create_task(_converse(server, mine, seen, bar), name=f"session-{number}")
    after = await asyncio.to_thread(yardstick.measure)
    readings: dict[str, list[float]] = {}
    for turn in seen:
        for name, value in turn.readings().items():
            readings.setdefault(name, []).append(value)
    counts = {
        "without a word heard": sum(not turn.words and turn.reason != BUSY for turn in seen)
        if clock == "end"
        else 0
    }
    counts["refused as busy"] = sum(turn.reason == BUSY for turn in seen)
    counts["without sound"] = sum(turn.first_audio_ms is None and turn.reason != BUSY for turn in seen)
    counts["ended in an error"] = sum(turn.reason == "error" for turn in seen)
    return Row(
        name=f"{clock} →",
        sessions=sessions,
        turns=len(seen),
        figures={name: spread(values) for name, values in readings.items()},
        noise=round(yardstick.off(before, after), 3),
        targets=TARGETS[clock] if sessions == 1 else (),
        counts=counts,
    )


async def _converse(server: ServerProcess, asks: list[Ask], seen: list[TurnSeen], bar: tqdm) -> None:
    for begin in range(0, len(asks), CONVERSATION_TURNS):
        async with connect(server.ws_url, turn_detection="none", audio_in_hz=MICROPHONE_HZ) as client:
            for ask in asks[begin : begin + CONVERSATION_TURNS]:
                seen.append(await watch(client, await ask(client)))
                bar.update()
                await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
