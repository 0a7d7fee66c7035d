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
from engine_build.pico.alignment import align
from engine_build.pico.hearing_checkpoint import (
    CHECKPOINT,
    Hearing,
    check_against_transformers,
    load_checkpoint,
)
from engine_build.pico.hearing_data import log_power
from engine_build.pico.hearing_model import transcribe
from engine_build.pico.log_mel import HOP, RATE_HZ, mel_power, whisper_scale
from engine_build.pico.speech import Utterance, read_set
from engine_build.pico.voices import NEVER_HEARD

F32 = NDArray[np.float32]
LEAD_S, TAIL_S = 0.1, 0.3  # silence around the speech, as the server's voice detector leaves it
BATCH = 32
PERHAPS, SURELY = 0.3, 1.1  # shares of a word's length: said so far it may be heard, and must be


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


@dataclass(frozen=True, slots=True)
class Cut:
    """An utterance cut off: its sound, and what may be heard in it, by how many words were said.

    The word that is being said may be heard or not.
    """

    pcm: NDArray[np.int16]
    voice: str
    texts: list[str]

    def errors(self, heard: str) -> int:
        """Return the least number of words misheard."""
        return min(edits(text.split(), heard.split()) for text in self.texts)


def cut_off(hearing: Hearing, utterances: list[Utterance], rng: np.random.Generator) -> list[Cut]:
    """Cut every utterance off at some moment after its first word."""
    spans = align(
        hearing.model.encoder,
        hearing.ctc,
        [log_power(noises.level(u.pcm.astype(np.float32) / 32768, 0.1)) for u in utterances],
        [u.text for u in utterances],
    )
    cuts = []
    for utterance, times in zip(utterances, spans, strict=True):
        if len(times) == 0:
            continue
        at = rng.uniform(times[0, 1], len(utterance.pcm) / HOP)
        share = (at - times[:, 0]) / np.maximum(times[:, 1] - times[:, 0], 1)
        surely, perhaps = int(np.count_nonzero(share >= SURELY)), int(np.count_nonzero(share >= PERHAPS))
        words = utterance.text.split()
        texts = [" ".join(words[:count]) for count in range(surely, perhaps + 1)]
        cuts.append(Cut(utterance.pcm[: int(at * HOP)], utterance.voice, texts))
    return cuts


def score_cuts(test: str, hearing: Hearing, cuts: list[Cut], errors: Path | None) -> list[Row]:
    """Hear what was cut off; tell apart what was misheard and what nobody had said yet."""
    heard = hear(hearing, [in_silence(cut.pcm) for cut in cuts])
    wrong = [cut.errors(text) for cut, text in zip(cuts, heard, strict=True)]
    if errors is not None:
        with errors.open("a") as file:
            for cut, text, count in zip(cuts, heard, wrong, strict=True):
                if count:
                    file.write(f"{test}\t{cut.voice}\t{' | '.join(cut.texts)}\t{text}\n")
    ahead = sum(len(t.split()) > len(c.texts[-1].split()) for c, t in zip(cuts, heard, strict=True))
    total = sum(len(cut.texts[0].split()) for cut in cuts)
    return [
        Row(test, len(cuts), sum(wrong) / total, wrong.count(0) / len(cuts), None),
        Row("  of these with words not said yet", len(cuts), ahead / len(cuts), 1 - ahead / len(cuts), None),
    ]


def evaluate(hearing: Hearing, errors: Path | None = None, aligner: Hearing | None = None) -> list[Row]:
    """Run every test; `aligner` tells when words were said, if it should not be the checkpoint itself."""
    rng = np.random.default_rng(2)
    taught = {
        utterance.text for utterance in tqdm(read_set("train"), desc="training texts", unit="utterance")
    }
    known, unseen, pairs, paused, halves = (
        [u for u in read_set(name) if u.text not in taught]
        for name in ("known", "unseen", "pairs", "paused", "halves")
    )
    short = list(read_set("short"))  # every short answer is taught
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
    for test, said in (
        ("one sentence with a pause, known voices", paused),
        ("half a sentence alone, known voices", halves),
        ("short answers, known voices", [u for u in short if u.voice not in NEVER_HEARD]),
        ("short answers, voices never heard", [u for u in short if u.voice in NEVER_HEARD]),
    ):
        heard = hear(hearing, [in_silence(u.pcm) for u in tqdm(said, desc=test)])
        rows.append(score(test, said, heard, None, errors))
    for test, said in (("cut off, known voices", known), ("cut off, voices never heard", unseen)):
        cuts = cut_off(aligner or hearing, said, np.random.default_rng(3))
        rows += score_cuts(test, hearing, cuts, errors)
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
    parser.add_argument("--aligner", type=Path, help="a checkpoint to find the words' times with")
    parser.add_argument("--parity", action="store_true", help="only compare the logits with transformers")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.parity:
        difference = check_against_transformers(args.checkpoint)
        print(f"largest difference of a logit to transformers: {difference:.1e}")
        return
    aligner = load_checkpoint(args.aligner) if args.aligner else None
    rows = evaluate(load_checkpoint(args.checkpoint), args.errors, aligner)
    print(f"{'test':44} {'sentences':>9} {'error %':>8} {'whole %':>8} {'bar %':>6}")
    for row in rows:
        bar = "" if row.bar is None else f"{100 * row.bar:6.1f} {'met' if row.error <= row.bar else 'MISSED'}"
        print(f"{row.test:44} {row.sentences:9d} {100 * row.error:8.2f} {100 * row.whole:8.1f} {bar}")
    print(json.dumps({"hearing": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
