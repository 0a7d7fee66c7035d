"""Pauses inside what somebody says: taken for an end, and what happens then; at every patience.

At unfinished places ("turn on the … kitchen lights") no sound may be released; at places that sound finished
("turn on the lights … in the kitchen") it may, and then the reply stops when the user goes on, and all the
words are answered together. The price of patience, voice to voice without a pause, is measured beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence

import aiohttp
import msgspec

from bench.exchange import ANSWER_S, WATCH, Exchange, at_a_time, failed, readings, words_wrong
from bench.material import MICROPHONE_HZ
from bench.open_mic import TurnHeard
from bench.report import CaseReport, Row, Share, Target, spread
from bench.server import ServerProcess, serving
from bench.speech import Paused, Samples, Speakers, Spoken, split, users_sentences
from bench.words import has_both
from bench.yardstick import Yardstick
from engine_build.pico.grammar.pauses import finished_split, unfinished_split
from riposte.client.client import connect
from riposte.wire.frames import AudioIn, End, Transcript

PATIENCE = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0)
DEFAULT = 0.3
CURVE_FROM = 100  # turns; a curve of fewer would be drawn by chance, and takes 20 minutes
LEAST = 50  # trials at the default: one of so many is 2 %
PAUSE_MS = (200, 600)
TOGETHER = 6  # sessions where only decisions count; what is timed runs alone

TAKEN, NOT_JOINED, STOP = "taken for an end", "not answered as a whole", "new speech to stop"
UNFINISHED_TARGETS = (Target(TAKEN, "share", 2.0),)
STOP_TARGETS = (Target(STOP, "p95", 400.0), Target(NOT_JOINED, "share", 0.0))
NOTES = (
    "unfinished: in front of a word that is needed; finished: where the sentence could have ended",
    "a sentence with a pause is spoken in one breath: espeak-ng says it with a comma (unfinished: the voice"
    " does not fall) or a full stop (finished: it falls) at the place, and the silence there is replaced by a"
    f" pause of {PAUSE_MS[0]} to {PAUSE_MS[1]} ms, from the last voiced sample before it to the first behind",
    "taken for an end: a frame of sound came before the last word was said",
    "answered as a whole: the turn that was cut short ended as `interrupted`, and the transcript of the one"
    " behind it has both halves, misheard words aside (words wrong counts these), or what push to talk hears",
    f"decisions at {TOGETHER} sessions at a time, what is timed at one; no sentence twice",
)


def main() -> None:
    """Run the case and print its report as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pico")
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--patience", type=float, action="append", help="this one alone")
    options = parser.parse_args()
    profile = "pico" if options.profile == "fake" else options.profile  # fakes hear no voice
    levels = options.patience or (PATIENCE if options.turns >= CURVE_FROM else (DEFAULT,))
    report = asyncio.run(run(profile, options.turns, options.seed, levels))
    print(msgspec.json.encode(report).decode())


async def run(profile: str, turns: int, seed: int, levels: Sequence[float], least: int = LEAST) -> CaseReport:
    """Measure each patience against one server; the default with the most turns."""
    case = _Case(seed)
    rows: list[Row] = []
    async with serving(profile) as server, aiohttp.ClientSession() as http:
        speakers = await Speakers.of(http, server.url, seed)
        for patience in levels:
            at_default = patience == DEFAULT
            count = turns if at_default else max(1, turns // 4)
            many = max(least, count) if at_default else count
            rows.append(await case.unfinished(server, speakers, patience, many))
            rows += await case.finished(server, speakers, patience, max(1, count // 3), timed=at_default)
            if len(levels) > 1:
                rows.append(await case.unpaused(server, speakers, patience, max(1, turns // 5)))
    return CaseReport("pauses", tuple(rows), notes=NOTES)


class _Case:
    """The sentences, which are said once in the whole case, and the yardstick beside everything."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self._sentences = users_sentences(seed)
        self._unfinished = split(self._sentences, rng, unfinished_split)
        self._finished = split(self._sentences, rng, finished_split)
        self._yardstick = Yardstick()

    async def unfinished(self, server: ServerProcess, speakers: Speakers, patience: float, count: int) -> Row:
        """Pause where nobody could have finished."""
        spoken = await speakers.pause(self._unfinished, count, PAUSE_MS, falls=False)
        seen, noise = await self._say(
            server, spoken, TOGETHER, f"unfinished, patience {patience:g}", patience
        )
        cut = [one for one in seen if released(one)]
        for one in cut:
            print(f"  taken for an end: {shown(one)}", file=sys.stderr)
        return Row(
            name=f"unfinished, patience {patience:g}:",
            sessions=TOGETHER,
            turns=len(seen),
            figures={},
            noise=noise,
            targets=UNFINISHED_TARGETS if patience == DEFAULT else (),
            counts=failed(seen),
            shares={TAKEN: Share(len(cut), len(seen)), "words wrong": words_wrong(seen)},
        )

    async def finished(
        self, server: ServerProcess, speakers: Speakers, patience: float, count: int, *, timed: bool
    ) -> list[Row]:
        """Pause where it sounds finished; what was cut short and goes on is a row of its own."""
        spoken = await speakers.pause(self._finished, count, PAUSE_MS, falls=True)
        sessions = 1 if timed else TOGETHER
        seen, noise = await self._say(server, spoken, sessions, f"finished, patience {patience:g}", patience)
        cut = [one for one in seen if released(one)]
        apart = [one for one in cut if not await joined(one, server.ws_url)]
        for one in apart:
            print(f"  not joined: {shown(one)}", file=sys.stderr)
        row = Row(
            name=f"finished, patience {patience:g}:",
            sessions=sessions,
            turns=len(seen),
            figures={},
            noise=noise,
            counts=failed(seen),
            shares={TAKEN: Share(len(cut), len(seen)), "words wrong": words_wrong(seen)},
        )
        if not cut:
            return [row]
        stops = [ms for one in cut if (ms := stop_ms(one)) is not None]
        went_on = Row(
            name=f"finished and gone on, patience {patience:g}:",
            sessions=sessions,
            turns=len(cut),
            figures={STOP: spread(stops)} if stops else {},
            noise=noise,
            targets=STOP_TARGETS if timed else (),
            shares={NOT_JOINED: Share(len(apart), len(cut))},
        )
        return [row, went_on]

    async def unpaused(self, server: ServerProcess, speakers: Speakers, patience: float, count: int) -> Row:
        """Say whole sentences: what patience costs."""
        spoken = await speakers.say([next(self._sentences) for _ in range(count)])
        seen, noise = await self._say(server, spoken, 1, f"unpaused, patience {patience:g}", patience)
        figures = {name: each for name, each in readings(seen).items() if name in ("audible", WATCH)}
        return Row(f"unpaused, patience {patience:g} →", 1, len(seen), figures, noise, counts=failed(seen))

    async def _say(
        self,
        server: ServerProcess,
        spoken: Sequence[Spoken | Paused],
        sessions: int,
        title: str,
        patience: float,
    ) -> tuple[list[Exchange], float]:
        before = await asyncio.to_thread(self._yardstick.measure)
        seen = await at_a_time(server, spoken, sessions, title, patience)
        after = await asyncio.to_thread(self._yardstick.measure)
        return seen, round(self._yardstick.off(before, after), 3)


def released(one: Exchange) -> TurnHeard | None:
    """Return the first turn that sounded before all was said; None where there was none."""
    early = (turn for turn in one.turns if turn.sound_at is not None and turn.sound_at < one.said.ends_at)
    return next(early, None)


async def joined(one: Exchange, url: str) -> bool:
    """Tell whether what was cut short gave way to a turn with all words, or all that these ears can tell."""
    cut = released(one)
    if cut is None or cut.done is None or not isinstance(one.spoken, Paused):
        return False
    if cut.done.reason != "interrupted":
        return False
    return has_both(one.words, *one.spoken.halves) or one.words == await pushed(url, one.spoken.pcm)


async def pushed(url: str, pcm: Samples) -> str:
    """Return what is heard of a sound when a key is held all the while: no end to find, nothing to join."""
    async with connect(url, turn_detection="none", modalities=["text"]) as client:
        async with asyncio.timeout(ANSWER_S):
            for at in range(0, pcm.size, MICROPHONE_HZ):
                await client.send(AudioIn(pcm[at : at + MICROPHONE_HZ].astype("<i2").tobytes()))
            await client.send(End())
            async for frame in client:
                if isinstance(frame, Transcript) and frame.final:
                    return frame.text
    return ""


def stop_ms(one: Exchange) -> float | None:
    """From the first voiced sample behind the pause to the reply's stop, by the client's watch."""
    cut = released(one)
    if cut is None or cut.interrupted_at is None or not isinstance(one.spoken, Paused):
        return None
    return (cut.interrupted_at - one.said.at(one.spoken.resumes)) * 1000


def shown(one: Exchange) -> str:
    """Return the sentence with its pause, and what was made of it."""
    assert isinstance(one.spoken, Paused)
    (before, after), voice = one.spoken.halves, one.spoken.voice
    pause_ms = (one.spoken.resumes - one.spoken.stops) // 16
    turns = []
    for turn in one.turns:
        at = "" if turn.sound_at is None else f" {1000 * (turn.sound_at - one.said.ends_at):+.0f} ms"
        turns.append(f"{turn.words!r}{at}")
    return f"{before} … {pause_ms} ms … {after} ({voice}): {', then '.join(turns)}"


if __name__ == "__main__":
    main()
