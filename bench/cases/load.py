"""How many people one server answers in time: more and more sessions, until p95 of first audio breaks.

Every session types a turn, then speaks one (push to talk, about 3 s), and so on; it hears each reply to its
end and thinks for 0.5 to 2 s before the next. Sessions begin at moments of their own. The client's work,
every microphone included, is done on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys

import aiohttp
import msgspec
from tqdm import tqdm

from bench.cases.turn import TARGETS, Ask, spoken, typed
from bench.material import MICROPHONE_HZ, Sentences, utterances
from bench.report import ANSWERED, CaseReport, Row, spread
from bench.server import ServerProcess, serving
from bench.stopwatch import BUSY, TurnSeen, watch
from bench.yardstick import Yardstick
from riposte.client.client import connect

LEVELS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)  # 64 is what a server takes by default
FEW_LEVELS = (1, 16, 64)  # where there is no time for all
ALL_FROM = 100  # turns
THINK_S = (0.5, 2.0)
FIGURE = "first audio"
JUDGED = 20  # turns of a clock and level: p95 of fewer is one unlucky turn
JUDGED_FROM = 4  # sessions; `turn` judges one, and few sessions take long for so many turns
LIMITS_MS = {
    clock: next(t.at_most for t in targets if t.figure == FIGURE) for clock, targets in TARGETS.items()
}


def main() -> None:
    """Run the case and print its report as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pico")
    parser.add_argument("--turns", type=int, default=40, help="a tenth of it a session and level, 4 at least")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    levels = LEVELS if options.turns >= ALL_FROM else FEW_LEVELS
    report = asyncio.run(run(options.profile, max(4, options.turns // 10), options.seed, levels))
    print(msgspec.json.encode(report).decode())


async def run(
    profile: str,
    turns: int,
    seed: int,
    levels: tuple[int, ...] = LEVELS,
    think_s: tuple[float, float] = THINK_S,
) -> CaseReport:
    """Measure level after level, `turns` turns a session, up to the first that breaks a target."""
    yardstick = Yardstick()
    rng = random.Random(seed)
    sentences = Sentences(seed)
    rows: list[Row] = []
    holds, broke = 0, ""
    async with serving(profile) as server, aiohttp.ClientSession() as http:
        for sessions in levels:
            most = turns if sessions < JUDGED_FROM else max(turns, 2 * math.ceil(JUDGED / sessions))
            asks = [await _asks(http, server, sentences, most) for _ in range(sessions)]
            pauses = [[rng.uniform(*think_s) for _ in mine] for mine in asks]
            for mine in pauses:
                mine[0] = rng.uniform(0, 2 * think_s[1])  # nobody begins with anybody else
            level = await _level(server, asks, pauses, yardstick)
            rows += level
            late = [said for row in level if (said := _late(row)) is not None]
            if late:
                broke = f"; at {sessions} no more: {', '.join(late)}"
                break
            holds = sessions
    limits = ", ".join(f"{clock} {limit:g} ms" for clock, limit in LIMITS_MS.items())
    noisy = (
        " (measured beside other work: the real number may be larger)" if any(r.noisy for r in rows) else ""
    )
    notes = (
        f"p95 of first audio is within its target ({limits}) for up to {holds} sessions{broke}{noisy}",
        f"a session types and speaks in turn, hears each reply to its end and thinks {think_s[0]:g} to"
        f" {think_s[1]:g} s; at least {turns} turns a session, every input unique",
        "client and server share the machine",
    )
    return CaseReport("load", tuple(rows), notes=notes)


def _late(row: Row) -> str | None:
    clock = row.name.split()[0]
    if row.counts["ended in an error"]:
        return f"{row.counts['ended in an error']} turns of {clock} failed"
    first = row.figures.get(FIGURE)
    if first is None or first.n < ANSWERED * row.turns:
        refused = row.counts["refused as busy"]
        return f"too few turns of {clock} had sound, {refused} of {row.turns} were refused as busy"
    return f"{clock} {first.p95:g} ms" if first.n >= JUDGED and first.p95 > LIMITS_MS[clock] else None


async def _asks(
    http: aiohttp.ClientSession, server: ServerProcess, sentences: Sentences, turns: int
) -> list[tuple[str, Ask]]:
    sound = iter(await utterances(http, server.url, sentences, turns // 2))
    return [("end", spoken(next(sound))) if n % 2 else ("text", typed(next(sentences))) for n in range(turns)]


async def _level(
    server: ServerProcess,
    asks: list[list[tuple[str, Ask]]],
    pauses: list[list[float]],
    yardstick: Yardstick,
) -> list[Row]:
    before = await asyncio.to_thread(yardstick.measure)
    seen: list[tuple[str, TurnSeen]] = []
    total = sum(map(len, asks))
    with tqdm(total=total, desc=f"load, {len(asks)} sessions", file=sys.stderr) as bar:
        async with asyncio.TaskGroup() as group:
            for number, (mine, waits) in enumerate(zip(asks, pauses, strict=True)):
                group.create_task(_person(server, mine, waits, seen, bar), name=f"session-{number}")
    after = await asyncio.to_thread(yardstick.measure)
    noise = round(yardstick.off(before, after), 3)
    return [
        _row(clock, len(asks), [turn for kind, turn in seen if kind == clock], noise) for clock in TARGETS
    ]


async def _person(
    server: ServerProcess,
    asks: list[tuple[str, Ask]],
    pauses: list[float],
    seen: list[tuple[str, TurnSeen]],
    bar: tqdm,
) -> None:
    async with connect(server.ws_url, turn_detection="none", audio_in_hz=MICROPHONE_HZ) as client:
        for (clock, ask), pause_s in zip(asks, pauses, strict=True):
            await asyncio.sleep(pause_s)
            seen.append((clock, await watch(client, await ask(client), to_the_end=True)))
            bar.update()


def _row(clock: str, sessions: int, turns: list[TurnSeen], noise: float) -> Row:
    readings: dict[str, list[float]] = {}
    for turn in turns:
        for name, value in turn.readings().items():
            if name.startswith(FIGURE):
                readings.setdefault(name, []).append(value)
    counts = {
        "refused as busy": sum(turn.reason == BUSY for turn in turns),
        "ended in an error": sum(turn.reason == "error" for turn in turns),
        "without sound": sum(turn.first_audio_ms is None and turn.reason != BUSY for turn in turns),
    }
    figures = {name: spread(values) for name, values in readings.items()}
    return Row(f"{clock} →", sessions, len(turns), figures, noise, counts=counts)


if __name__ == "__main__":
    main()
