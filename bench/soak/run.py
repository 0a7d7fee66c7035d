"""One profile's soak: serve it, let everything be done to it, and look at its size before and after."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from collections import Counter

import aiohttp
import msgspec

from bench.material import Sentences, utterances
from bench.server import ServerProcess, serving
from bench.soak.flat import Trend, trend
from bench.soak.gauge import Sample, children, sample, watch
from bench.soak.line import Broken
from bench.soak.talker import Talker
from riposte.audio import to_s16
from riposte.backends.fake import fake_speech

TALKERS = {"fake": 24, "pico": 6}
UTTERANCES = 12
WARM_SHARE = 0.3  # of a profile's time: caches fill, allocators and onnxruntime's arenas reach their size
# What may come on top after that. Heaps breathe by a few MiB; a leak of 1 KiB a turn is 20 MiB in the full
# run's half of fakes.
GROWTH_MIB = 6.0
SETTLE_S = 20.0
MIN_SAMPLES = 20
KILL_EVERY_S = (4.0, 12.0)
# Sessions that nobody comes back to are forgotten soon, so that their number is steady after the warm-up.
# The disk of a busy machine may take its time; nobody is refused for others; and all these clients have
# one address.
SETTINGS = {
    "RIPOSTE_LIMITS_SESSION_KEPT_S": "5",
    "RIPOSTE_LIMITS_REQUESTS_PER_MINUTE": "1000000",
    "RIPOSTE_LIMITS_FIRST_CLAUSE_WAIT_MS": "0",
    "RIPOSTE_HISTORY_DEADLINE_MS": "10000",
    "RIPOSTE_LOG_LEVEL": "warning",
}
# A killed voice breaks the turns that it was speaking, and so do the texts that no model has an answer to.
_MISHAPS = {"error engine", "turn error", "status 503"}
# What must be zero with nobody there.
_GAUGES = re.compile(
    r"^riposte_(?:sessions|sessions_connected|turns_in_progress|turns_waiting|outbox_bytes|held_audio_seconds"
    r"|model_streams_open(?:{[^}]*})?) (?!0\.0$).*$",
    re.MULTILINE,
)
_NEVER = ("error internal", "error no_hello", "error bad_value", "status 500", "status 400")


class Soaked(msgspec.Struct, frozen=True):
    """What a profile's part of the soak showed; `failures` says what grew or broke."""

    profile: str
    minutes: float
    talkers: int
    helper_kills: int
    done: dict[str, int]
    rss_mib: Trend
    fds: Trend
    threads: Trend
    fds_before: int
    fds_after: int
    failures: tuple[str, ...]
    samples: tuple[Sample, ...]


async def soak(profile: str, minutes: float, seed: int) -> Soaked:
    """Serve a profile, do everything to it, and look at its size."""
    tally: Counter[str] = Counter()
    samples: list[Sample] = []
    failures: list[str] = []
    helper_kills = 0
    async with serving(profile, SETTINGS) as server:
        sentences = Sentences(seed)
        texts = [next(sentences) for _ in range(200)]
        speech = await _speech(server, profile, sentences)
        talkers = [
            Talker(f"{seed}-{number}", server.url, texts, speech, tally) for number in range(TALKERS[profile])
        ]
        await talkers[0].try_everything()
        # A model's cache is touched as far as conversations have become long: while they grow, it looks
        # like a leak. Twice, so that no row of it is left out.
        for _ in range(2):
            await asyncio.gather(*(talker.fill() for talker in talkers))
        before = await _at_rest(server)
        stop = asyncio.Event()
        tasks = [asyncio.create_task(talker.talk(stop)) for talker in talkers]
        watching = asyncio.create_task(watch(server.pid, samples))
        killing = asyncio.create_task(_kill_helpers(server.pid, random.Random(seed), tally))
        try:
            await _pass(minutes * 60, [*tasks, watching], samples, tally, profile)
        finally:
            stop.set()
            killing.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            watching.cancel()
            await asyncio.wait({killing, watching})
        failures += sorted({f"{type(exc).__name__}: {exc}" for exc in ended if isinstance(exc, Exception)})
        after = await _at_rest(server, before)
        said = [line.rstrip() for line in server.said if "ERROR" in line or "Traceback" in line]
    helper_kills = tally.pop("helper killed", 0)
    failures += _broken(tally, helper_kills, said)
    if len(samples) < MIN_SAMPLES:
        raise Broken("; ".join(failures) or "it was too short to tell anything")
    trends = _trends(samples)
    failures += _grown(trends, before, after, minutes)
    if server.status != 0:
        failures.append(f"the server ended with status {server.status}")
    return Soaked(
        profile=profile,
        minutes=minutes,
        talkers=len(talkers),
        helper_kills=helper_kills,
        done=dict(sorted(tally.items())),
        rss_mib=trends["rss_mib"],
        fds=trends["fds"],
        threads=trends["threads"],
        fds_before=before.fds,
        fds_after=after.fds,
        failures=tuple(failures),
        samples=tuple(samples),
    )


async def _speech(server: ServerProcess, profile: str, sentences: Sentences) -> list[bytes]:
    if profile == "fake":
        return [to_s16(fake_speech(next(sentences))).tobytes() for _ in range(UTTERANCES)]
    async with aiohttp.ClientSession() as http:
        return await utterances(http, server.url, sentences, UTTERANCES)


async def _pass(
    seconds: float, tasks: list[asyncio.Task[None]], samples: list[Sample], tally: Counter[str], profile: str
) -> None:
    """Let the time pass, a line every ten seconds; end early when a task does."""
    began = time.monotonic()
    while (left_s := began + seconds - time.monotonic()) > 0:
        done, _ = await asyncio.wait(tasks, timeout=min(10.0, left_s), return_when=asyncio.FIRST_COMPLETED)
        turns = sum(count for name, count in tally.items() if name.startswith("turn "))
        passed_s = time.monotonic() - began
        size = f"{samples[-1].rss_mib:.1f} MiB, {samples[-1].fds} fds" if samples else ""
        print(f"{profile} {passed_s:4.0f} of {seconds:.0f} s: {turns} turns, {size}", flush=True)
        if done:
            return


async def _kill_helpers(pid: int, rng: random.Random, tally: Counter[str]) -> None:
    """Kill a process that the server started, now and then."""
    while True:
        await asyncio.sleep(rng.uniform(*KILL_EVERY_S))
        for child in children(pid):
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
            tally["helper killed"] += 1


async def _at_rest(server: ServerProcess, before: Sample | None = None) -> Sample:
    """Return the server's size with nobody there, once it is what it was `before`, or after SETTLE_S.

    Raises Broken when sessions, turns, streams or whatever else a client brings are left.
    """
    began = time.monotonic()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        while True:
            async with http.get(f"{server.url}/metrics") as answer:
                left = _GAUGES.findall(await answer.text())
            await asyncio.sleep(0.5)  # for the connection of that question to be gone
            now = sample(server.pid, began)
            same = before is None or (now.fds <= before.fds and now.threads <= before.threads)
            if (same and not left) or time.monotonic() - began > SETTLE_S:
                if left:
                    raise Broken(f"left with nobody there: {', '.join(left)}")
                return now


def _broken(tally: Counter[str], helper_kills: int, said: list[str]) -> list[str]:
    bad = {name: tally[name] for name in (*_NEVER, *(_MISHAPS if not helper_kills else ())) if tally[name]}
    broken = [f"{count} × {name}" for name, count in bad.items()]
    return broken + [line for line in said if "espeak" not in line]


def _trends(samples: list[Sample]) -> dict[str, Trend]:
    warm = [each for each in samples if each.at_s >= samples[-1].at_s * WARM_SHARE]
    at_s = [each.at_s for each in warm]
    return {
        name: trend(at_s, [getattr(each, name) for each in warm]) for name in ("rss_mib", "fds", "threads")
    }


def _grown(trends: dict[str, Trend], before: Sample, after: Sample, minutes: float) -> list[str]:
    memory, warm_minutes = trends["rss_mib"], minutes * (1 - WARM_SHARE)
    grown = []
    if memory.grew(GROWTH_MIB, warm_minutes):
        grown.append(f"memory grew from {memory.first:g} to {memory.last:g} MiB")
    if after.fds > before.fds:
        grown.append(f"{after.fds} file descriptors with nobody there, {before.fds} before")
    if after.threads > before.threads:
        grown.append(f"{after.threads} threads with nobody there, {before.threads} before")
    return grown
