"""Voice to voice, hands-free: from the last voiced sample of the user to the first audible one of the reply.

The microphone is never off: frames of 20 ms at the speed of speech, and after the last voiced sample faint
noise until the reply sounds. Then, with the same sentences to two servers, whether a turn has the same words
with speculation as without.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from bisect import bisect_right
from collections.abc import Sequence

import aiohttp
import msgspec
from tqdm import tqdm

from bench.exchange import QUIET_S, WATCH, at_a_time, failed, readings, words_wrong
from bench.material import MICROPHONE_HZ
from bench.open_mic import ROOM_DBFS, talking
from bench.report import CaseReport, Row, Share, Target
from bench.server import ServerProcess, serving
from bench.speech import MIX, Paused, Speakers, Spoken, split, users_sentences
from bench.yardstick import Yardstick
from engine_build.pico.grammar.pauses import unfinished_split

LEVELS = (1, 4, 8)
SPECULATE = "RIPOSTE_TURN_SPECULATE"
NO_DISK = {"RIPOSTE_HISTORY_ENABLED": "false"}  # a slow one fails a turn, and says nothing of its words
COMPARED = 4  # a quarter of the turns without a pause inside, a quarter with one
TOGETHER = 6  # sessions: nothing is timed there
REPLY_S = 4.5  # for a reply to be heard to its end
PAUSE_MS = (200, 350)  # drafts that are thrown away, where the turn goes on

VOICE_MS = 200.0
TARGETS = (Target("audible", "p95", VOICE_MS), Target(WATCH, "p95", VOICE_MS))
DIFFERENT = "turns with other words"
NOTES = (
    f"speech →: {MIX}; conversations of ten turns, no sentence twice",
    "the last voiced sample is the last one above 1 % of full scale in the sound that is played into the"
    f" microphone; behind it is noise of {ROOM_DBFS:g} dBFS; frames of 20 ms, each sent when its last sample"
    " was spoken, so that the client's watch holds up to 20 ms that the microphone keeps",
    "audible: arrival of the first audio frame and the silence at its head; a stage that ran ahead of the end"
    " of the turn may show less than that",
)


def main() -> None:
    """Run the case and print its report as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pico")
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sessions", type=int, action="append", help="this level alone (1, 4 and 8)")
    parser.add_argument("--alone", action="store_true", help="do not compare with a server without drafts")
    options = parser.parse_args()
    profile = "pico" if options.profile == "fake" else options.profile  # fakes hear no voice
    levels = tuple(options.sessions or LEVELS)
    report = asyncio.run(run(profile, options.turns, options.seed, levels, compare=not options.alone))
    print(msgspec.json.encode(report).decode())


async def run(
    profile: str, turns: int, seed: int, levels: Sequence[int] = LEVELS, *, compare: bool = True
) -> CaseReport:
    """Measure every level against one server; then `compare` with one that does not speculate."""
    yardstick = Yardstick()
    sentences = users_sentences(seed)
    rows = []
    async with serving(profile) as server, aiohttp.ClientSession() as http:
        speakers = await Speakers.of(http, server.url, seed)
        for sessions in levels:
            spoken = await speakers.say([next(sentences) for _ in range(turns)])
            rows.append(await _row(server, spoken, sessions, yardstick))
        alike: list[Spoken | Paused] = []
        if compare:
            half, halves = max(1, turns // COMPARED), split(sentences, random.Random(seed), unfinished_split)
            alike += await speakers.say([next(sentences) for _ in range(half)])
            alike += await speakers.pause(halves, half, PAUSE_MS, falls=False)
    if compare:
        rows.append(await _same_words(profile, alike, yardstick))
    return CaseReport("voice", tuple(rows), notes=NOTES)


async def _row(server: ServerProcess, spoken: Sequence[Spoken], sessions: int, yardstick: Yardstick) -> Row:
    before = await asyncio.to_thread(yardstick.measure)
    seen = await at_a_time(server, spoken, sessions, f"voice, {sessions} sessions")
    after = await asyncio.to_thread(yardstick.measure)
    for one in seen:
        if len(one.turns) != 1 or one.answer is None:
            heard = " | ".join(turn.words for turn in one.turns)
            print(f"  {len(one.turns)} turns: {one.spoken.text!r} was heard as {heard!r}", file=sys.stderr)
    return Row(
        name="speech →",
        sessions=sessions,
        turns=len(seen),
        figures=readings(seen),
        noise=round(yardstick.off(before, after), 3),
        targets=TARGETS if sessions == 1 else (),
        counts=failed(seen),
        shares={
            "cut in two": Share(sum(len(one.turns) > 1 for one in seen), len(seen)),
            "without a reply": Share(sum(one.answer is None for one in seen), len(seen)),
            "words wrong": words_wrong(seen),
        },
    )


async def _same_words(profile: str, spoken: Sequence[Spoken | Paused], yardstick: Yardstick) -> Row:
    """Say the same to a server that speculates and to one that does not; replies are heard to their end."""
    heard = {}
    for speculate in ("true", "false"):
        async with serving(profile, {SPECULATE: speculate} | NO_DISK) as server:
            heard[speculate] = await _told_all(server, spoken, f"speculation {speculate}")
    different = 0
    for each, ours, plain in zip(spoken, heard["true"], heard["false"], strict=True):
        if ours != plain:
            different += 1
            print(f"  {each.text!r}: {ours} with speculation, {plain} without", file=sys.stderr)
    noise = round(yardstick.off(await asyncio.to_thread(yardstick.measure)), 3)
    return Row(
        name="speech, with speculation and without:",
        sessions=TOGETHER,
        turns=len(spoken),
        figures={},
        noise=noise,
        targets=(Target(DIFFERENT, "share", 0.0),),
        shares={DIFFERENT: Share(different, len(spoken))},
    )


async def _told_all(
    server: ServerProcess, spoken: Sequence[Spoken | Paused], title: str
) -> list[list[tuple[str, str]]]:
    """Return (transcript, reply) of the turns that each utterance made, in order."""
    with tqdm(total=len(spoken), desc=title, file=sys.stderr) as bar:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_told(server, spoken[number::TOGETHER], number, bar))
                for number in range(min(TOGETHER, len(spoken)))
            ]
    return [tasks[at % TOGETHER].result()[at // TOGETHER] for at in range(len(spoken))]


async def _told(
    server: ServerProcess, spoken: Sequence[Spoken | Paused], number: int, bar: tqdm
) -> list[list[tuple[str, str]]]:
    """Say these at samples that are the same for every server, far enough apart for a reply to be heard."""
    async with talking(server.ws_url, number) as talk:
        at, said = round(QUIET_S * MICROPHONE_HZ), []
        for each in spoken:
            said.append(talk.microphone.say(each.pcm, at))
            at += each.pcm.size + round(REPLY_S * MICROPHONE_HZ)
        for one in said:
            await asyncio.sleep(one.ends_at + REPLY_S - time.perf_counter())
            bar.update()
        await talk.hush()
        turns = [turn for turn in talk.ears.since(0) if turn.taken and turn.interrupted_at is None]
    began = [one.starts_at for one in said]
    told: list[list[tuple[str, str]]] = [[] for _ in said]
    for turn in turns:
        whole = turn.done is not None and turn.done.reason in ("stop", "length")
        reply = turn.reply if whole else f"{turn.reply} ({turn.done and turn.done.reason})"
        told[max(0, bisect_right(began, turn.seen_at) - 1)].append((turn.words, reply))
    return told


if __name__ == "__main__":
    main()
