"""Replies mixed back into the microphone: does the echo gate keep Riposte from hearing itself?

    python -m bench.echo_trials [--trials 100] [--seed 9] [--words]

Judged by the voice detector that is served. An echo trial is a session of two replies of which the second
comes back with another delay; a barge-in trial is the same with somebody who speaks over one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Protocol

import numpy as np

from bench.beside.asr import RiposteRecogniser
from bench.echo_room import RATE, Echo, mix
from bench.material import Sentences, as_heard
from bench.report import ROOT
from bench.words import word_errors
from riposte.audio import to_f32
from riposte.backends.tts_espeak import EspeakTts
from riposte.backends.vad_silero import SileroVad
from riposte.interfaces import PcmF32
from riposte.turn.echo import EchoGate

WINDOW = 512
VOICED = 0.5
LEVEL = 0.08  # RMS of a voice, about -22 dBFS: so an echo's level is relative to the reply, and to the user
AHEAD = RATE * 300 // 1000  # sound leaves so much before it is played
FRAME = RATE * 40 // 1000
LATE_S = 0.1  # later than without an echo, a voice counts as missed


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of echo. `db` is relative to the reply as sent, and to the user's voice."""

    db: float
    clip: float | None = None
    drift_ppm: float = 0.0
    own_aec: bool = False
    moved: bool = False  # into another room, from one reply to the next
    turned_up: float = 1.0  # by the user, 2 s into each reply


KINDS = {
    "-6 dB": Kind(-6),
    "-12 dB": Kind(-12),
    "-20 dB": Kind(-20),
    "+6 dB, clipped": Kind(6, clip=0.4),
    "-12 dB, 80 ppm apart": Kind(-12, drift_ppm=80),
    "-12 dB, another room": Kind(-12, moved=True),
    "-12 dB, turned up 6 dB": Kind(-12, turned_up=2),
    "client's own canceller": Kind(0, own_aec=True),
    "headphones": Kind(-120),
}


class Gate(Protocol):
    """What is tried: the gate, or something beside it."""

    def sent(self, pcm: PcmF32, at: int) -> None: ...
    def gain(self, gain: float, at: int) -> None: ...
    def stopped(self, at: int) -> None: ...
    def clean(self, pcm: PcmF32, at: int) -> PcmF32: ...


class Open:
    """No gate at all: what the microphone hears."""

    def sent(self, pcm: PcmF32, at: int) -> None: ...
    def gain(self, gain: float, at: int) -> None: ...
    def stopped(self, at: int) -> None: ...
    def clean(self, pcm: PcmF32, at: int) -> PcmF32:
        return pcm


@dataclass(frozen=True, slots=True)
class Trial:
    """A session's microphone, what was sent, and what was said over it."""

    mic: PcmF32
    alone: PcmF32  # the same user without echo
    sent: tuple[tuple[int, PcmF32], ...]  # (at, the reply's samples)
    told: tuple[tuple[int, float], ...]  # (at, playback gain)
    user_at: int | None
    user: PcmF32
    words: str
    piece: int


async def speech(seed: int, count: int, *, long: bool) -> list[tuple[str, PcmF32]]:
    """Return sentences never said before and their sound, levelled, in voices that change."""
    sentences, rng, tts = Sentences(seed), random.Random(seed), EspeakTts()
    made: list[tuple[str, PcmF32]] = []
    try:
        await tts.warm_up()
        voices = [voice.id for voice in tts.voices if voice.language == "en"]
        rng.shuffle(voices)
        for voice in cycle(voices):
            text = f"{sentences.long()}, {sentences.long()}" if long else next(sentences)
            pieces = [piece async for piece in tts.speak(text, voice=voice)]
            pcm = to_f32(np.frombuffer(as_heard(tts.rate_hz, np.concatenate(pieces)), "<i2"))
            loud = pcm[np.abs(pcm) > 0.01]
            made.append((text, (pcm * (LEVEL / np.sqrt(np.mean(loud**2)))).astype(np.float32)))
            if len(made) == count:
                return made
    finally:
        await tts.aclose()
    raise RuntimeError("espeak-ng has no English voice")


def trial(
    rng: random.Random,
    replies: Sequence[PcmF32],
    said: tuple[str, PcmF32] | None,
    kind: Kind,
    *,
    over: int = 1,
    ducked: bool = False,
) -> Trial:
    """Make a session of the replies, with somebody who says `said` over reply number `over`.

    `ducked`: the client is told to duck 100 ms after that, and to stop after 400.
    """
    delay_ms, seed = rng.uniform(50, 300), rng.randrange(1 << 30)
    rate_hz, noise_db = rng.choice((16_000, 22_050, 24_000, 48_000)), rng.uniform(-70, -50)
    echo = Echo(kind.db, delay_ms, seed, rate_hz, kind.clip, kind.drift_ppm, kind.own_aec)
    at, user_at = RATE // 2, None
    sent: list[tuple[int, PcmF32]] = []
    for number, reply in enumerate(replies):
        sent.append((at, reply))
        if said is not None and number == over:
            first = RATE // 2
            user_at = at + rng.randrange(first, max(first + 1, reply.size - RATE * 6 // 10))
        at += reply.size + rng.randrange(RATE * 8 // 10, RATE * 2)
    user = said[1] if said is not None else np.empty(0, np.float32)
    told: list[tuple[int, float]] = []
    if user_at is not None:
        at = max(at, user_at + user.size + RATE // 2)
        if ducked:
            told = [(user_at + RATE // 10, 0.1), (user_at + RATE * 4 // 10, 0.0)]
    nothing = np.empty(0, np.float32)
    alone = mix(nothing, user, 0, 0, seed, user_at=user_at or 0, samples=at, noise_db=noise_db)
    mic = alone.copy()
    for number, (begins_at, reply) in enumerate(sent):
        late = rng.uniform(-30, 30) if number else 0.0  # a client begins anew, and so does its clock
        gains = [(sample + RATE * 60 // 1000, gain) for sample, gain in told] if number == over else []
        if kind.turned_up != 1.0:
            gains = sorted([*gains, (begins_at + 2 * RATE, kind.turned_up)])
        room_seed = seed + number * kind.moved
        here = replace(echo, room_seed=room_seed, delay_ms=max(20, delay_ms + late), gains=gains)
        mic += mix(reply, nothing, 0, 0, seed, reply_at=begins_at, samples=at, noise_db=-200, echo=here)
    mic = np.clip(mic, -1, 1).astype(np.float32)
    words = said[0] if said is not None else ""
    return Trial(mic, alone, tuple(sent), tuple(told), user_at, user, words, rng.choice((320, 640, 1600)))


def hear(gate: Gate, trial: Trial) -> tuple[PcmF32, float]:
    """Run a session through the gate as it happens; return what is left and the seconds that it took."""
    frames: list[tuple[int, PcmF32]] = []
    for begins, reply in trial.sent:
        frames += [(begins + at, reply[at : at + FRAME]) for at in range(0, reply.size, FRAME)]
    frames.reverse()
    told = list(reversed(trial.told))
    stopped = False
    out, took = [], 0.0
    for at in range(0, trial.mic.size, trial.piece):
        started = time.thread_time()
        while told and told[-1][0] <= at:
            sample, gain = told.pop()
            if gain:
                gate.gain(gain, sample)
            else:
                gate.stopped(sample)
                stopped = True
        while frames and frames[-1][0] - AHEAD <= at:
            begins, pcm = frames.pop()
            if not (stopped and begins < trial.sent[-1][0] + trial.sent[-1][1].size):
                gate.sent(pcm, begins)
        out.append(gate.clean(trial.mic[at : at + trial.piece], at))
        took += time.thread_time() - started
    return np.concatenate(out), took


async def voiced(vad: SileroVad, pcms: Sequence[PcmF32]) -> list[PcmF32]:
    """Return the detector's score for every window of each sound."""

    async def one(pcm: PcmF32) -> PcmF32:
        stream = vad.open()
        scores = await stream.score(pcm[: pcm.size // WINDOW * WINDOW])
        stream.close()
        return scores

    return list(await asyncio.gather(*(one(pcm) for pcm in pcms)))


def begins(scores: PcmF32, since: int = 0) -> list[int]:
    """Return the ends, in samples, of the second of two voiced windows in a row: where speech is believed."""
    over = scores >= VOICED
    first = over[1:] & over[:-1]
    first[1:] &= ~first[:-1]
    return [int(at + 2) * WINDOW for at in np.flatnonzero(first) if (at + 1) * WINDOW > since]


@dataclass(frozen=True, slots=True)
class Found:
    """What a kind's trials gave."""

    kind: str
    selves: int  # times that the reply was taken for a voice, in so many trials of echo alone
    late_ms: list[float]  # how much later than without an echo a voice was found; infinite: never
    early: int  # voices found before they spoke
    microseconds: float  # of processor time, for 20 ms of audio: the median session
    errors: tuple[float, float] | None  # of words, without an echo and with it, cleaned

    def __str__(self) -> str:
        late = np.array(self.late_ms)
        words = "" if self.errors is None else f"{self.errors[0]:6.1%} {self.errors[1]:6.1%}"
        return (
            f"{self.kind:24} {self.selves:5} {self.early:6} {np.mean(late <= LATE_S * 1000):7.1%}"
            f" {np.median(late):5.0f} {np.percentile(late, 95, method='lower'):5.0f}"
            f" {self.microseconds:6.0f} {words}"
        )


HEAD = f"{'':24} {'self':>5} {'early':>6} {'heard':>7} {'p50':>5} {'p95':>5} {'us':>6}  words: alone, cleaned"


class Trials:
    """Replies, users, the voice detector, and ears if they are asked for. Close it."""

    def __init__(self, make: Callable[[], Gate], seed: int, *, words: bool) -> None:
        self._make, self._seed = make, seed
        self._runner = asyncio.Runner()
        self._replies = [pcm for _, pcm in self._runner.run(speech(seed, 40, long=True))]
        self._users = self._runner.run(speech(seed + 1, 40, long=False))
        self._ears = RiposteRecogniser(ROOT / "onnx_models" / "pico" / "hearing", 1) if words else None
        self._vad = SileroVad()

    def close(self) -> None:
        """End the models."""
        self._runner.run(self._vad.aclose())
        self._runner.close()
        if self._ears is not None:
            self._ears.close()

    def run(self, name: str, count: int) -> Found:
        """Try a kind: `count` sessions of echo alone, and as many with somebody who speaks over it."""
        rng, kind = random.Random(f"{self._seed} {name}"), KINDS[name]
        alone = [trial(rng, rng.sample(self._replies, 2), None, kind) for _ in range(count)]
        heard = [hear(self._make(), one) for one in alone]
        selves = sum(len(begins(score)) for score in self._scores([pcm for pcm, _ in heard]))
        spent = [took / one.mic.size * 320 * 1e6 for (_, took), one in zip(heard, alone, strict=True)]
        del alone, heard
        talks = [
            trial(
                rng,
                rng.sample(self._replies, 2),
                self._users[number % len(self._users)],
                kind,
                over=number % 2,
                ducked=number % 4 >= 2,
            )
            for number in range(count)
        ]
        cleaned = [hear(self._make(), one)[0] for one in talks]
        late_ms, early = self._late(talks, cleaned)
        errors = None if self._ears is None else self._errors(talks, cleaned)
        return Found(name, selves, late_ms, early, float(np.median(spent)), errors)

    def _scores(self, pcms: Sequence[PcmF32]) -> list[PcmF32]:
        return self._runner.run(voiced(self._vad, pcms))

    def _late(self, talks: Sequence[Trial], cleaned: Sequence[PcmF32]) -> tuple[list[float], int]:
        late_ms, early = [], 0
        plain = self._scores([one.alone for one in talks])
        for one, score, without in zip(talks, self._scores(cleaned), plain, strict=True):
            since = one.user_at or 0
            early += any(at <= since for at in begins(score))
            wanted = begins(without, since)
            got = [at for at in begins(score, since) if at <= since + one.user.size]
            if wanted:
                late_ms.append((got[0] - wanted[0]) / RATE * 1000 if got else float("inf"))
        return late_ms, early

    def _errors(self, talks: Sequence[Trial], cleaned: Sequence[PcmF32]) -> tuple[float, float]:
        assert self._ears is not None
        said, plain, clean = [one.words for one in talks], [], []
        for one, pcm in zip(talks, cleaned, strict=True):
            since = one.user_at or 0
            cut = slice(max(0, since - RATE // 4), since + one.user.size + RATE // 4)
            plain.append(self._ears.hear(one.alone[cut]))
            clean.append(self._ears.hear(pcm[cut]))
        return word_errors(said, plain), word_errors(said, clean)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.echo_trials", description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="sessions of each sort, a kind")
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--words", action="store_true", help="also recognise what is left")
    parser.add_argument("--open", action="store_true", help="without a gate")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of: {', '.join(KINDS)}")
    options = parser.parse_args()
    unknown = [name for name in options.kinds if name not in KINDS]
    if unknown:
        parser.error(f"no kind called {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    trials = Trials(Open if options.open else EchoGate, options.seed, words=options.words)
    try:
        print(HEAD)
        for name in options.kinds or KINDS:
            print(trials.run(name, options.trials), flush=True)
    finally:
        trials.close()


if __name__ == "__main__":
    main()
