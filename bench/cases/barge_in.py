"""Voice over a reply: how soon it ducks and stops, and what must not stop it.

Somebody speaks while a reply plays. The reply is one that is spoken as it stands (`say`) or a real one; the
client plays it in real time, and where the microphone hears the loudspeaker it comes back later, softer and
through a room.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import aiohttp
import msgspec
import numpy as np
from tqdm import tqdm

from bench.exchange import QUIET_S, Exchange, exchange, failed, words_wrong
from bench.loudspeaker import Loudspeaker
from bench.material import MICROPHONE_HZ, Sentences
from bench.open_mic import Talk, TurnHeard, talking
from bench.report import CaseReport, Row, Share, Target, spread
from bench.server import ServerProcess, serving
from bench.speech import BACKCHANNELS, MIX, Samples, Speakers, users_sentences
from bench.stopwatch import Refused
from bench.yardstick import Sample, Yardstick
from engine_build.pico import noises
from riposte.wire.frames import Say, Text

TOGETHER = 4  # sessions where only decisions count; what is timed runs alone
ECHO_TRIALS = 100
LEADS = frozenset({"okay", "yes", "yeah", "right", "great", "thanks", "thank", "good", "fine", "sure", "all"})
REPLIES = 2  # a session of the echo trials: one spoken as it stands, one of the model's own
ECHO_DB = (-6.0, -12.0, -20.0)
ECHO_MS = (50, 300)
BEGINS_S = (0.3, 0.8)  # after the reply began to sound
JUDGED_S = 1.2  # after the last sample of what must not stop a reply
SOUNDS_S, PLAYED_S = 3.0, 30.0  # for a reply to begin, and to end
ASKED = 3  # times
LONG, SHORT = 12, 2  # sentences of a `say`: about 30 s, about 5 s
RENEWED_S = 20.0  # a long reply is replaced by another before it ends

DUCK, STOP = "onset to duck", "onset to stop"
NOT_STOPPED, STALE = "not stopped", "with a frame behind the stop"
STOPPED, DUCKED = "stopped the reply", "ducked it"
ITSELF = "interrupted itself"
TARGETS = (Target(DUCK, "p95", 100.0), Target(STOP, "p95", 400.0), Target(STALE, "share", 0.0))
NOTES = (
    f"somebody speaks 0.3 to 0.8 s after a reply began to sound: {MIX}; half the replies are spoken as they"
    " stand, half are pico's own; no sentence twice",
    "a session's first reply is heard to its end: from it the server learns whether any of it comes back",
    "what begins like a backchannel cannot be told from one before its second word: a row of its own",
    "onset: the first voiced sample, as the microphone hears it; a duck is `playback` with a gain under 1, a"
    " stop one with gain 0, by the client's watch",
    f"backchannels: {', '.join(BACKCHANNELS)}, in all English voices; noises: knocks, hum, tones, chords,"
    " breath and hiss of 0.1 to 0.6 s",
    "echo: two replies a session come back through a made-up room of its own, at −6, −12 or −20 dB and 50 to"
    " 300 ms later; over echo: at −12 dB while somebody speaks",
)
_NOISES: tuple[Callable[[np.random.Generator, int], noises.F32], ...] = (
    noises.clicks,
    noises.hum,
    noises.tone,
    noises.chords,
    noises.breath,
    lambda rng, samples: noises.coloured(rng, samples, 0.0),
)


def main() -> None:
    """Run the case and print its report as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pico")
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--seed", type=int, default=13)
    options = parser.parse_args()
    profile = "pico" if options.profile == "fake" else options.profile  # fakes hear no voice
    report = asyncio.run(run(profile, options.turns, options.seed))
    print(msgspec.json.encode(report).decode())


async def run(profile: str, turns: int, seed: int) -> CaseReport:
    """Measure everything against one server."""
    half = max(1, turns // 2)
    async with serving(profile) as server, aiohttp.ClientSession() as http:
        case = _Case(server, await Speakers.of(http, server.url, seed), seed)
        rows = [
            await case.barge_in("barge-in →", turns, echo=False),
            await case.barge_in("barge-in over echo →", max(1, half // 2), echo=True),
            await case.barge_in("begins like a backchannel →", max(1, half // 4), lead=True),
            await case.no_stop("a backchannel", await case.backchannels(half)),
            await case.no_stop("a noise", case.noises(half)),
            await case.echo(min(ECHO_TRIALS, half)),
        ]
    return CaseReport("barge_in", tuple(rows), notes=NOTES)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A reply, and what was said over it."""

    reply: TurnHeard
    over: Exchange

    @property
    def onset(self) -> float:
        """When the first voiced sample was spoken."""
        return self.over.said.starts_at

    @property
    def too_late(self) -> bool:
        """Was the reply over before it could be stopped?"""
        done, at = self.reply.done, self.reply.done_at
        return done is not None and done.reason != "interrupted" and (at or 0.0) < self.onset + 1

    @property
    def stopped_before(self) -> bool:
        """Was the reply stopped before anybody spoke?"""
        stopped = self.reply.interrupted_at
        return stopped is not None and stopped < self.onset

    @property
    def duck_ms(self) -> float | None:
        """From the onset to the first gain under 1; None where there was none, or one before."""
        soft = [at for at, gain in self.reply.gains if gain < 1]
        return (soft[0] - self.onset) * 1000 if soft and soft[0] > self.onset else None

    @property
    def stop_ms(self) -> float | None:
        """From the onset to gain 0."""
        stopped = self.reply.interrupted_at
        return None if stopped is None else (stopped - self.onset) * 1000


class _Case:
    """The sentences, which are said once in the whole case, and the yardstick beside everything."""

    def __init__(self, server: ServerProcess, speakers: Speakers, seed: int) -> None:
        self._server = server
        self._speakers = speakers
        self._seed = seed
        self._rng = random.Random(seed)
        self._sentences = users_sentences(seed)
        self._replies = Sentences(seed + 1)
        self._yardstick = Yardstick()

    async def barge_in(self, name: str, count: int, *, echo: bool = False, lead: bool = False) -> Row:
        """Speak over replies, one session, until each is stopped and what was said is answered.

        `lead`: with sentences whose first word could be all ("okay, what is the time"), else with others.
        """
        texts = (text for text in self._sentences if (text.split()[0] in LEADS) == lead)
        spoken = await self._speakers.say(list(islice(texts, count)))
        before = await asyncio.to_thread(self._yardstick.measure)
        seen: list[Interrupted] = []
        loudspeaker = Loudspeaker()
        if echo:
            self._place(loudspeaker, spoken[0].pcm)
        async with talking(self._server.ws_url, self._seed, loudspeaker) as talk:
            await asyncio.sleep(QUIET_S)
            await _played(talk, await _reply(talk, Say(self._text(SHORT))))
            for number, each in enumerate(tqdm(spoken, desc=name, file=sys.stderr)):
                ask = Say(self._text(SHORT)) if number % 2 else Text(next(self._sentences))
                reply = await _reply(talk, ask)
                await asyncio.sleep(self._rng.uniform(*BEGINS_S))
                seen.append(Interrupted(reply, await exchange(talk, each)))
        noise = await self._noise(before)
        alone = sum(one.stopped_before for one in seen)
        counted = [one for one in seen if not one.too_late and not one.stopped_before]
        for one in counted:
            if one.stop_ms is None:
                print(f"  not stopped by {one.over.spoken.text!r} ({one.over.spoken.voice})", file=sys.stderr)
        too_soon = sum(one.too_late for one in seen)
        ducks = [one.duck_ms for one in counted if one.duck_ms is not None]
        stops = [one.stop_ms for one in counted if one.stop_ms is not None]
        times = {DUCK: ducks, STOP: stops}
        return Row(
            name=name,
            sessions=1,
            turns=len(counted),
            figures={figure: spread(values) for figure, values in times.items() if values},
            noise=noise,
            targets=() if echo or lead else TARGETS,
            counts=failed([one.over for one in seen]) | {"with a reply that was over too soon": too_soon},
            shares={
                ITSELF: Share(alone, len(seen)),
                NOT_STOPPED: Share(sum(one.stop_ms is None for one in counted), len(counted)),
                STALE: Share(sum(one.reply.stale > 0 for one in counted), len(counted)),
                "words wrong": words_wrong([one.over for one in counted]),
            },
        )

    async def backchannels(self, count: int) -> list[tuple[str, Samples]]:
        """Return what a listener says to show that he listens."""
        spoken = await self._speakers.say(list(islice(cycle(BACKCHANNELS), count)))
        return [(f"{one.text} ({one.voice})", one.pcm) for one in spoken]

    def noises(self, count: int) -> list[tuple[str, Samples]]:
        """Return short noises of several kinds, from faint to loud."""
        rng = np.random.default_rng(self._seed)
        made = []
        for make in islice(cycle(_NOISES), count):
            samples = int(rng.uniform(0.1, 0.6) * MICROPHONE_HZ)
            loud_db = rng.uniform(-35, -12)
            pcm = noises.level(make(rng, samples), 10 ** (loud_db / 20)) * 32_767
            name = getattr(make, "__name__", "noise").strip("<>").replace("lambda", "hiss")
            made.append((f"{name} of {samples // 16} ms, {loud_db:.0f} dBFS", pcm.astype(np.int16)))
        return made

    async def no_stop(self, name: str, sounds: Sequence[tuple[str, Samples]]) -> Row:
        """Let sounds that are no turn come over long replies, several sessions at a time."""
        title = f"{name} over a reply"
        stopped: list[str] = []
        ducked: list[float] = []

        async def session(number: int, bar: tqdm) -> None:
            async with talking(self._server.ws_url, number, Loudspeaker()) as talk:
                await asyncio.sleep(QUIET_S)
                reply, since = None, 0.0
                for what, pcm in sounds[number::TOGETHER]:
                    if reply is None or reply.done is not None or time.perf_counter() - since > RENEWED_S:
                        await talk.hush()
                        reply, since = await _reply(talk, Say(self._text(LONG))), time.perf_counter()
                    await asyncio.sleep(self._rng.uniform(*BEGINS_S))
                    if await _stops(talk, reply, pcm, ducked):
                        stopped.append(what)
                    bar.update()

        noise = await self._together(title, len(sounds), session)
        print(*(f"  stopped by {what}" for what in stopped), sep="\n", file=sys.stderr)
        return Row(
            name=f"{title}:",
            sessions=TOGETHER,
            turns=len(sounds),
            figures={"ducked for": spread(ducked)} if ducked else {},
            noise=noise,
            shares={STOPPED: Share(len(stopped), len(sounds)), DUCKED: Share(len(ducked), len(sounds))},
        )

    async def echo(self, count: int) -> Row:
        """Let two replies a session come back into its microphone, nobody speaking."""
        reference = (await self._speakers.say([next(self._sentences)]))[0].pcm
        trials = list(islice(cycle(ECHO_DB), count))
        itself: list[float] = []
        ducked: list[float] = []

        async def session(number: int, bar: tqdm) -> None:
            for trial in range(number, count, TOGETHER):
                db, loudspeaker = trials[trial], Loudspeaker()
                self._place(loudspeaker, reference, db)
                async with talking(self._server.ws_url, trial, loudspeaker) as talk:
                    await asyncio.sleep(QUIET_S)
                    for ask in (Say(self._text(SHORT)), Text(next(self._sentences))):
                        await _played(talk, await _reply(talk, ask))
                        await asyncio.sleep(JUDGED_S)
                    await talk.hush()
                turns = [turn for turn in talk.ears.since(0) if turn.taken]
                if len(turns) > REPLIES or any(turn.interrupted_at for turn in turns):
                    itself.append(db)
                    heard = [(turn.words, turn.done and turn.done.reason) for turn in turns]
                    print(f"  {ITSELF} at {db:g} dB: {heard}", file=sys.stderr)
                if any(gain < 1 for turn in turns for _, gain in turn.gains):
                    ducked.append(db)
                bar.update()

        noise = await self._together("echo", count, session)
        shares = {ITSELF: Share(len(itself), count)}
        shares |= {f"{ITSELF} at {db:g} dB": Share(itself.count(db), trials.count(db)) for db in ECHO_DB}
        shares["ducked itself"] = Share(len(ducked), count)
        return Row("echo:", TOGETHER, count, {}, noise, (Target(ITSELF, "share", 0.0),), shares=shares)

    async def _together(
        self, title: str, count: int, session: Callable[[int, tqdm], Coroutine[None, None, None]]
    ) -> float:
        """Run the sessions at a time; return how far the yardstick was off."""
        before = await asyncio.to_thread(self._yardstick.measure)
        with tqdm(total=count, desc=title, file=sys.stderr) as bar:
            async with asyncio.TaskGroup() as group:
                for number in range(min(TOGETHER, count)):
                    group.create_task(session(number, bar), name=f"session-{number}")
        return await self._noise(before)

    async def _noise(self, before: Sample) -> float:
        after = await asyncio.to_thread(self._yardstick.measure)
        return round(self._yardstick.off(before, after), 3)

    def _place(self, loudspeaker: Loudspeaker, reference: Samples, db: float = -12.0) -> None:
        loudspeaker.place(db, self._rng.randint(*ECHO_MS), self._rng.randrange(1 << 30), reference)

    def _text(self, sentences: int) -> str:
        return " ".join(f"{next(self._replies).capitalize()}." for _ in range(sentences))


async def _reply(talk: Talk, ask: Say | Text) -> TurnHeard:
    """Ask for a reply, again while the server is too busy, and wait until it sounds."""
    before = talk.ears.latest

    def sounding() -> TurnHeard | None:
        return next((turn for turn in talk.ears.since(before) if turn.audible_at is not None), None)

    for _ in range(ASKED):
        await talk.client.send(ask)
        reply = await talk.ears.until(sounding, time.perf_counter() + SOUNDS_S)
        if reply is not None:
            return reply
    raise Refused(f"no reply sounds within {ASKED * SOUNDS_S:g} s of {ask.text!r}")


async def _played(talk: Talk, reply: TurnHeard) -> None:
    await talk.ears.until(lambda: reply.done, time.perf_counter() + PLAYED_S)


async def _stops(talk: Talk, reply: TurnHeard, pcm: Samples, ducked: list[float]) -> bool:
    """Let a sound come over a reply; note for how long it was ducked, and tell whether it was stopped."""
    changes = len(reply.gains)
    said = talk.microphone.say(pcm)
    stopped = await talk.ears.until(lambda: reply.interrupted_at, said.ends_at + JUDGED_S)
    gains = reply.gains[changes:]
    soft = next((at for at, gain in gains if 0 < gain < 1), None)
    if soft is not None:
        again = next((at for at, gain in gains if gain >= 1), time.perf_counter())
        ducked.append((again - soft) * 1000)
    if stopped is not None:
        await asyncio.sleep(JUDGED_S)
    return stopped is not None


if __name__ == "__main__":
    main()
