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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Protocol

import numpy as np

from bench.cases.asr import RiposteRecogniser, word_errors
from bench.echo_room import RATE, Echo, mix
from bench.material import Sentences, as_heard
from bench.report import ROOT
from riposte.audio import to_f32
from riposte.backends.tts_espeak import EspeakTts
from riposte.backends.vad_silero import SileroVad
from riposte.interfaces import PcmF32
from riposte.turn.echo import EchoGate

WINDOW = 512
VOICED = 0.5
LEVEL = 0.08  # RMS of a voice, about -22 dBFS
AHEAD = RATE * 300 // 1000  # sound leaves so much before it is played
FRAME = RATE * 40 // 1000
KINDS: dict[str, dict[str, float | bool]] = {
    "−6 dB": {"db": -6.0},
    "−12 dB": {"db": -12.0},
    "−20 dB": {"db": -20.0},
    "+6 dB, clipped": {"db": 6.0, "clip": 0.4},
    "−12 dB, 80 ppm": {"db": -12.0, "drift_ppm": 80.0},
    "client's own canceller": {"db": 0.0, "own_aec": True},
    "headphones": {"db": -120.0},
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
    *,
    over: int = 1,
    ducked: bool = False,
    **how: float | bool,
) -> Trial:
    """Make a session of the replies, with somebody who says `said` over reply number `over`."""
    delay_ms, seed = rng.uniform(50, 300), rng.randrange(1 << 30)
    rate_hz, noise_db = rng.choice((16_000, 22_050, 24_000, 48_000)), rng.uniform(-70, -50)
    echo = Echo(float(how.pop("db")), delay_ms, seed, rate_hz)
    echo = replace(echo, **how)  # type: ignore[arg-type]
    at, sent, user_at = RATE // 2, [], None
    for number, reply in enumerate(replies):
        sent.append((at, reply))
        if said is not None and number == over:
            latest = max(1, reply.size - RATE * 6 // 10)
            user_at = at + rng.randrange(RATE * 5 // 10, max(RATE * 5 // 10 + 1, latest))
        at += reply.size + rng.randrange(RATE * 8 // 10, RATE * 2)
    samples = at
    user = said[1] if said is not None else np.empty(0, np.float32)
    told: list[tuple[int, float]] = []
    if user_at is not None:
        samples = max(samples, user_at + user.size + RATE // 2)
        if ducked:
            told = [(user_at + RATE // 10, 0.1), (user_at + RATE * 4 // 10, 0.0)]
    nothing = np.empty(0, np.float32)
    alone = mix(nothing, user, 0, 0, seed, user_at=user_at or 0, samples=samples, noise_db=noise_db)
    mic = alone.copy()
    for number, (begins, reply) in enumerate(sent):
        late = rng.uniform(-30, 30) if number else 0.0  # a client begins anew, and so does its clock
        gains = [(sample + RATE * 60 // 1000, gain) for sample, gain in told] if number == over else []
        here = replace(echo, delay_ms=max(20, delay_ms + late), gains=gains)
        mic += mix(reply, nothing, 0, 0, seed, reply_at=begins, samples=samples, noise_db=-200, echo=here)
    mic = np.clip(mic, -1, 1).astype(np.float32)
    piece = rng.choice((320, 640, 1600))
    words = said[0] if said is not None else ""
    return Trial(mic, alone, tuple(sent), tuple(told), user_at, user, words, piece)


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


async def _vad() -> SileroVad:
    return SileroVad()


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


def run(make: type[Gate], trials: int, seed: int, kinds: Sequence[str], *, words: bool) -> None:
    """Try every kind and print a row for each."""
    runner = asyncio.Runner()
    replies = [pcm for _, pcm in runner.run(speech(seed, 40, long=True))]
    users = runner.run(speech(seed + 1, 40, long=False))
    ears = RiposteRecogniser(ROOT / "onnx_models/pico/hearing", 1) if words else None
    vad = runner.run(_vad())
    print(f"{'':24} {'self-int.':>9} {'in':>4} | {'heard':>6} {'p50':>5} {'p95':>5} {'before':>6} | WER alone, clean | µs/20ms")
    for kind in kinds:
        rng = random.Random(seed)
        alone = [
            trial(rng, rng.sample(replies, 2), None, **KINDS[kind]) for _ in range(trials)
        ]
        heard = [hear(make(), one) for one in alone]
        scores = runner.run(voiced(vad, [pcm for pcm, _ in heard]))
        selves = [len(begins(score)) for score in scores]
        us = [took / one.mic.size * 320 * 1e6 for (_, took), one in zip(heard, alone, strict=True)]
        talks = [
            trial(rng, rng.sample(replies, 2), users[n % len(users)], over=n % 2, ducked=n % 4 >= 2, **KINDS[kind])
            for n in range(trials)
        ]
        cleaned = [hear(make(), one)[0] for one in talks]
        with_echo = runner.run(voiced(vad, cleaned))
        without = runner.run(voiced(vad, [one.alone for one in talks]))
        more, early, lost = [], 0, 0
        for one, score, plain in zip(talks, with_echo, without, strict=True):
            since = one.user_at or 0
            early += bool([at for at in begins(score) if at <= since])
            want = begins(plain, since)
            got = [at for at in begins(score, since) if at <= since + one.user.size]
            if not want:
                continue
            if not got:
                lost += 1
                more.append(9.0)
            else:
                more.append((got[0] - want[0]) / RATE)
        late = np.array(more) * 1000
        wer = ""
        if ears is not None:
            cuts = [slice(max(0, (one.user_at or 0) - RATE // 4), (one.user_at or 0) + one.user.size + RATE // 4) for one in talks]
            said = [one.words for one in talks]
            plain_words = [ears.hear(one.alone[cut]) for one, cut in zip(talks, cuts, strict=True)]
            clean_words = [ears.hear(pcm[cut]) for pcm, cut in zip(cleaned, cuts, strict=True)]
            wer = f"{word_errors(said, plain_words):.1%} {word_errors(said, clean_words):.1%}"
        print(
            f"{kind:24} {sum(selves):9} {sum(map(bool, selves)):4} | {np.mean(late <= 100):6.1%}"
            f" {np.median(late):5.0f} {np.percentile(late, 95):5.0f} {early:6} | {wer:16} | {np.median(us):5.0f}",
            flush=True,
        )
    if ears is not None:
        ears.close()
    runner.run(vad.aclose())
    runner.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--words", action="store_true", help="also recognise what is left")
    parser.add_argument("--open", action="store_true", help="without a gate")
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    make = Open if options.open else EchoGate
    run(make, options.trials, options.seed, options.kinds or list(KINDS), words=options.words)


if __name__ == "__main__":
    main()
