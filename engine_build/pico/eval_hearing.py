"""Measure hearing against its bars: `python -m engine_build.pico.eval_hearing`; the last line is JSON.

Every test sentence comes from the grammar's held-out phrasings; what happens to be among the training texts
too is left out. Sounds are heard as the server hears them: real silence behind the speech, a mel of that
length, greedy decoding.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from engine_build.pico import noises
from engine_build.pico.hearing_checkpoint import (
    CHECKPOINT,
    Hearing,
    check_against_transformers,
    load_checkpoint,
)
from engine_build.pico.hearing_model import transcribe
from engine_build.pico.log_mel import HOP, RATE_HZ, mel_power, whisper_scale
from engine_build.pico.speech import Utterance, read_set

F32 = NDArray[np.float32]
LEAD_S, TAIL_S = 0.1, 0.3  # silence around the speech, as the server's voice detector leaves it
BATCH = 32


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the share of words misheard, or of wordless sounds that brought words."""

    test: str
    sentences: int
    error: float
    whole: float  # share of sentences without any error
    bar: float | None


def edits(said: Sequence[str], heard: Sequence[str]) -> int:
    """Return the word edit distance."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def in_silence(pcm: NDArray[np.int16], loudness: float = 0.05) -> F32:
    """Put an utterance at an ordinary loudness between its two silences."""
    speech = noises.level(pcm.astype(np.float32) / 32768, loudness)
    return np.pad(speech, (int(LEAD_S * RATE_HZ), int(TAIL_S * RATE_HZ)))


def with_noise(samples: F32, rng: np.random.Generator, snr_db: float) -> F32:
    """Add white or pink noise, so far below the mean power of the whole."""
    noise = noises.coloured(rng, len(samples), float(rng.choice([0.0, 1.0])))
    scale = np.sqrt(np.mean(samples**2) / np.mean(noise**2) * 10 ** (-snr_db / 10))
    return samples + noise * np.float32(scale)


def hear(hearing: Hearing, sounds: list[F32]) -> list[str]:
    """Transcribe sounds, like lengths together, the shorter ones filled up with silence."""
    order = sorted(range(len(sounds)), key=lambda i: len(sounds[i]))
    texts = [""] * len(sounds)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        longest = -(-max(len(sounds[i]) for i in chosen) // (2 * HOP)) * 2 * HOP
        mels = [whisper_scale(mel_power(np.pad(sounds[i], (0, longest - len(sounds[i]))))).T for i in chosen]
        words = hearing.words
        rows = transcribe(
            hearing.model, torch.from_numpy(np.stack(mels)), words.prompt, words.end, words.never_written
        )
        for i, row in zip(chosen, rows, strict=True):
            texts[i] = words.decode(row)
    return texts


def wordless_sounds(rng: np.random.Generator, seconds: float = 10.0) -> dict[str, list[F32]]:
    """Return ten-second sounds that hold no words, seventy of each kind."""
    samples = int(seconds * RATE_HZ)
    loudness = [10 ** rng.uniform(-2, 0.3) for _ in range(70)]
    faint = [np.float32(10 ** rng.uniform(-5, -3.5)) for _ in range(69)]
    return {
        "silence": [
            np.zeros(samples, np.float32),
            *(rng.standard_normal(samples).astype(np.float32) * level for level in faint),
        ],
        "noise": [
            noises.coloured(rng, samples, float(rng.choice([0.0, 1.0]))) * np.float32(level)
            for level in loudness
        ],
        "tone": [noises.tone(rng, samples) * np.float32(level) for level in loudness],
    }


def score(test: str, said: list[Utterance], heard: list[str], bar: float | None, errors: Path | None) -> Row:
    """Turn transcripts into a row, and list what was misheard where a file is given for it."""
    wrong = [edits(utterance.text.split(), text.split()) for utterance, text in zip(said, heard, strict=True)]
    if errors is not None:
        with errors.open("a") as file:
            for utterance, text, count in zip(said, heard, wrong, strict=True):
                if count:
                    file.write(f"{test}\t{utterance.voice}\t{utterance.text}\t{text}\n")
    total = sum(len(utterance.text.split()) for utterance in said)
    return Row(test, len(said), sum(wrong) / total, wrong.count(0) / len(wrong), bar)


def evaluate(hearing: Hearing, errors: Path | None = None) -> list[Row]:
    """Run every test."""
    rng = np.random.default_rng(2)
    taught = {
        utterance.text for utterance in tqdm(read_set("train"), desc="training texts", unit="utterance")
    }
    known, unseen, pairs = (
        [u for u in read_set(name) if u.text not in taught] for name in ("known", "unseen", "pairs")
    )
    clean = hear(hearing, [in_silence(u.pcm) for u in tqdm(known, desc="known")])
    rows = [score("held-out sentences, known voices", known, clean, 0.015, errors)]
    for engine in ("espeak", "flite"):
        part = [(u, text) for u, text in zip(known, clean, strict=True) if u.voice.startswith(engine)]
        rows.append(
            score(f"  of these {engine}", [u for u, _ in part], [text for _, text in part], None, None)
        )
    noisy = hear(hearing, [with_noise(in_silence(u.pcm), rng, 20) for u in tqdm(known, desc="noise")])
    rows.append(score("the same under 20 dB of noise", known, noisy, 0.04, errors))
    strange = hear(hearing, [in_silence(u.pcm) for u in tqdm(unseen, desc="unseen")])
    rows.append(score("held-out sentences, voices never heard", unseen, strange, 0.08, errors))
    for voice in sorted({u.voice for u in unseen}):
        part = [(u, text) for u, text in zip(unseen, strange, strict=True) if u.voice == voice]
        rows.append(
            score(f"  of these {voice}", [u for u, _ in part], [text for _, text in part], None, None)
        )
    double = hear(hearing, [in_silence(u.pcm) for u in tqdm(pairs, desc="pairs")])
    rows.append(score("two sentences with a pause, known voices", pairs, double, None, errors))
    for kind, sounds in wordless_sounds(rng).items():
        talked = sum(bool(text) for text in hear(hearing, sounds))
        rows.append(
            Row(
                f"10 s of {kind}: words heard",
                len(sounds),
                talked / len(sounds),
                1 - talked / len(sounds),
                0.0,
            )
        )
    return rows


def main() -> None:
    """Print the table, and the same as one line of JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--errors", type=Path, help="append what was misheard to this file")
    parser.add_argument("--parity", action="store_true", help="only compare the logits with transformers")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.parity:
        difference = check_against_transformers(args.checkpoint)
        print(f"largest difference of a logit to transformers: {difference:.1e}")
        return
    rows = evaluate(load_checkpoint(args.checkpoint), args.errors)
    print(f"{'test':44} {'sentences':>9} {'error %':>8} {'whole %':>8} {'bar %':>6}")
    for row in rows:
        bar = "" if row.bar is None else f"{100 * row.bar:6.1f} {'met' if row.error <= row.bar else 'MISSED'}"
        print(f"{row.test:44} {row.sentences:9d} {100 * row.error:8.2f} {100 * row.whole:8.1f} {bar}")
    print(json.dumps({"hearing": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
