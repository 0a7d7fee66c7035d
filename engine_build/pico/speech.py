"""Let free synthesisers speak the grammar's sentences, once, into shards that training reads.

`python -m engine_build.pico.speech` writes `build/pico/speech/<set>-<n>.npz`: 16 kHz s16 samples end to end,
with a JSON of texts and voices. A shard is written whole or not at all and has its own seed, so a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from engine_build.pico.grammar import vocabulary
from engine_build.pico.turn_texts import respelt, test_text, training_text
from engine_build.pico.voices import Voice, known_test_voice, never_heard_voice, training_voice

SPEECH_DIR = Path("build/pico/speech")
RATE_HZ = 16_000
SHARD_UTTERANCES = 200
LONGEST_S = 9.2  # the model hears 10 s; some silence comes before and behind
# shards of each set
SETS = {"train": 200, "known": 2, "unseen": 3, "pairs": 1, "paused": 1, "halves": 1, "short": 2}
TEST_SETS = ("known", "unseen", "pairs", "paused", "halves", "short")

Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Utterance:
    """One spoken text."""

    text: str
    voice: str
    pcm: Pcm


def synthesise(text: str, voice: Voice) -> Pcm:
    """Speak a text at 16 kHz."""
    with tempfile.NamedTemporaryFile(
        suffix=".wav", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    ) as file:
        if voice.engine == "espeak":
            command = ["espeak-ng", "-v", voice.name, "-s", str(round(165 * voice.speed)), "-w", file.name]
            command += [] if voice.pitch is None else ["-p", str(voice.pitch)]
            subprocess.run([*command, "--", text], check=True, capture_output=True)
        else:
            command = ["flite", "-voice", voice.name, "--setf", f"duration_stretch={1 / voice.speed:.3f}"]
            command += [] if voice.pitch is None else ["--setf", f"int_f0_target_mean={voice.pitch}"]
            subprocess.run([*command, "-t", text, "-o", file.name], check=True, capture_output=True)
        with wave.open(file.name) as reader:
            rate, pcm = reader.getframerate(), np.frombuffer(reader.readframes(reader.getnframes()), np.int16)
    if rate != RATE_HZ:
        pcm = soxr.resample(pcm, rate, RATE_HZ)
    return trim(pcm)


def trim(pcm: Pcm, margin: int = RATE_HZ // 20) -> Pcm:
    """Cut the silence around speech down to 50 ms: training puts its own there."""
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > 0.01 * np.abs(pcm.astype(np.int32)).max(initial=1))
    return pcm[max(0, loud[0] - margin) : loud[-1] + margin] if len(loud) else pcm[:0]


def pause_s(subset: str, rng: random.Random) -> float:
    """Draw how long somebody is silent between two parts."""
    return rng.uniform(0.2, 0.8) if subset == "pairs" else rng.uniform(0.2, 0.7)


def speak_one(subset: str, index: int, rng: random.Random, words: list[str]) -> Utterance:
    """Speak the set's next utterance, drawing again until it fits the model's ten seconds."""
    while True:
        if subset == "train":
            parts, voice = training_text(rng, words), training_voice(rng)
        else:
            parts = test_text(subset, index, rng)
            strange = subset == "unseen" or (subset == "short" and index % 2)
            voice = (
                never_heard_voice(index // 2 if subset == "short" else index)
                if strange
                else known_test_voice(rng)
            )
        spoken = [synthesise(respelt(part, voice.engine, rng), voice) for part in parts]
        for at in range(len(spoken) - 1, 0, -1):
            spoken.insert(at, np.zeros(int(pause_s(subset, rng) * RATE_HZ), np.int16))
        pcm = np.concatenate(spoken)
        if RATE_HZ // 8 < len(pcm) <= LONGEST_S * RATE_HZ:
            return Utterance(" ".join(parts), voice.label, pcm)


def write_shard(job: tuple[str, int]) -> int:
    """Speak and store one shard; return how many utterances it holds."""
    subset, number = job
    rng, words = random.Random(f"{subset}-{number}"), sorted(vocabulary())
    spoken = [speak_one(subset, index, rng, words) for index in range(SHARD_UTTERANCES)]
    target = SPEECH_DIR / f"{subset}-{number:03d}.npz"
    partial = target.with_suffix(".partial.npz")
    facts = json.dumps([{"text": item.text, "voice": item.voice} for item in spoken])
    np.savez(
        partial,
        pcm=np.concatenate([item.pcm for item in spoken]),
        lengths=[len(item.pcm) for item in spoken],
        facts=facts,
    )
    partial.rename(target)
    return len(spoken)


def read_shard(path: Path) -> list[Utterance]:
    """Read one shard."""
    with np.load(path) as shard:
        ends = np.cumsum(shard["lengths"])
        pieces = np.split(shard["pcm"], ends[:-1])
        return [
            Utterance(fact["text"], fact["voice"], pcm)
            for fact, pcm in zip(json.loads(str(shard["facts"])), pieces, strict=True)
        ]


def read_set(subset: str, folder: Path = SPEECH_DIR) -> Iterator[Utterance]:
    """Yield a whole set's utterances."""
    for path in sorted(folder.glob(f"{subset}-[0-9][0-9][0-9].npz")):
        yield from read_shard(path)


def main() -> None:
    """Speak every shard that is not there yet."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--train-shards", type=int, default=SETS["train"], help="of 200 utterances each")
    args = parser.parse_args()
    SPEECH_DIR.mkdir(parents=True, exist_ok=True)
    shards = {**SETS, "train": args.train_shards}
    wanted = [(subset, number) for subset in (*TEST_SETS, "train") for number in range(shards[subset])]
    jobs = [job for job in wanted if not (SPEECH_DIR / f"{job[0]}-{job[1]:03d}.npz").exists()]
    with (
        multiprocessing.Pool(args.processes) as pool,
        tqdm(total=len(jobs) * SHARD_UTTERANCES, unit="utterance", desc="speech") as bar,
    ):
        for count in pool.imap_unordered(write_shard, jobs):
            bar.update(count)


if __name__ == "__main__":
    main()
