"""pico's hearing alone: how long it works on a second of speech; and in other runtimes.

Every utterance is new: a sentence of pico's grammar in one of espeak-ng's English voices. transformers and
ctranslate2 (faster-whisper's engine) hear the same sound with the same weights, one after the other, with
as many threads. How far their words agree is in the notes, and each one's errors against what was said.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import msgspec
import numpy as np
from tqdm import tqdm

from bench.beside.asr import (
    RATE_HZ,
    CTranslate2Recogniser,
    Recogniser,
    RiposteRecogniser,
    TransformersRecogniser,
)
from bench.material import Sentences, as_heard
from bench.report import ROOT, CaseReport, Row, spread
from bench.server import Broken
from bench.words import word_errors
from bench.yardstick import Yardstick
from riposte.audio import to_f32
from riposte.backends.tts_espeak import EspeakTts
from riposte.interfaces import PcmF32

MODELS = ROOT / "onnx_models"
THREADS = (1, 2)
# riposte again, hearing the utterance every 256 ms while it is spoken: what is left at its end; all of it.
AT_THE_END, ALL_ALONG = "riposte at the end of hearing along", "riposte hearing along"
SECOND, UTTERANCE = "a second of speech", "an utterance"
INSTALL = "`make bench-compare` installs it (pip install -e '.[bench,bench-compare]')"
NEEDS = {"transformers": ("transformers", "torch"), "ctranslate2": ("ctranslate2", "faster_whisper", "torch")}


def main() -> None:
    """Run the case and print its report as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pico")
    parser.add_argument("--turns", type=int, default=40, help="utterances")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    profile = "pico" if options.profile == "fake" else options.profile
    report = asyncio.run(run(profile, options.turns, options.seed))
    print(msgspec.json.encode(report).decode())


async def run(profile: str, count: int, seed: int, threads: tuple[int, ...] = THREADS) -> CaseReport:
    """Measure every runtime that is installed on `count` utterances for each number of threads."""
    folder, checkpoint = MODELS / profile / "hearing", MODELS / profile / "checkpoints" / "hearing"
    if not checkpoint.is_dir():
        raise Broken(f"profile {profile} has no checkpoint in {checkpoint.relative_to(ROOT)} to compare with")
    spoken = await utterances(Sentences(seed), random.Random(seed), count * len(threads))
    return await asyncio.to_thread(_run, folder, checkpoint, spoken, threads)


async def utterances(sentences: Sentences, rng: random.Random, count: int) -> list[tuple[str, PcmF32]]:
    """Return new sentences and their sound at 16 kHz, in English voices that change."""
    tts = EspeakTts()
    try:
        await tts.warm_up()
        voices = [voice.id for voice in tts.voices if voice.language.startswith("en")]
        rng.shuffle(voices)
        made = []
        for voice in cycle(voices):
            text = next(sentences)
            pieces = [piece async for piece in tts.speak(text, voice=voice)]
            heard = np.frombuffer(as_heard(tts.rate_hz, np.concatenate(pieces)), "<i2")
            made.append((text, to_f32(heard)))
            if len(made) == count:
                return made
    finally:
        await tts.aclose()
    raise Broken("there is no English voice")


def _run(
    folder: Path, checkpoint: Path, spoken: Sequence[tuple[str, PcmF32]], threads: tuple[int, ...]
) -> CaseReport:
    missing = {name: INSTALL for name, needs in NEEDS.items() if not all(map(find_spec, needs))}
    make: dict[str, Callable[[int], Recogniser]] = {
        "riposte": lambda count: RiposteRecogniser(folder, count),
        "transformers": lambda count: TransformersRecogniser(checkpoint, count),
        "ctranslate2": lambda count: CTranslate2Recogniser(checkpoint, count),
    }
    yardstick = Yardstick()
    rows: list[Row] = []
    heard: dict[str, list[str]] = {}
    each = len(spoken) // len(threads)
    for number, count in enumerate(threads):
        engines = [build(count) for name, build in make.items() if name not in missing]
        part = spoken[number * each : (number + 1) * each]
        try:
            before = yardstick.measure()
            ms = _measure(engines, part, heard, count)
            noise = round(yardstick.off(before, yardstick.measure()), 3)
        finally:
            for engine in engines:
                engine.close()
        rows += _rows(ms, [pcm.size / RATE_HZ for _, pcm in part], count, noise)
    said = [text for text, _ in spoken[: each * len(threads)]]
    seconds = sum(pcm.size for _, pcm in spoken) / RATE_HZ
    notes = [
        f"{len(spoken)} utterances, {seconds / len(spoken):.1f} s each, no two alike; ms for a second of"
        " speech: 10 is a real-time factor of 0.01",
        "riposte hears an utterance as far as it goes; the others a window of 10 s, as they are made to",
    ]
    for name, words in heard.items():
        note = f"{name}: {word_errors(said, words):.1%} of the words wrong"
        if name != "riposte":
            alike = sum(a == b for a, b in zip(heard["riposte"], words, strict=True))
            note += f"; {alike} of {len(words)} utterances the same as riposte to the letter"
        notes.append(note)
    if "ctranslate2" in heard:
        notes.append(
            "ctranslate2 is faster-whisper's engine, with faster-whisper's spectrogram; faster-whisper's own"
            " transcribe() needs tokens (<|translate|>, <|startofprev|>, <|startoflm|>) that pico has not"
        )
    return CaseReport("asr", tuple(rows), notes=tuple(notes), missing=missing)


def _measure(
    engines: list[Recogniser],
    part: Sequence[tuple[str, PcmF32]],
    heard: dict[str, list[str]],
    threads: int,
) -> dict[str, list[float]]:
    """Return milliseconds by runtime, one an utterance; `heard` gets the words."""
    found: dict[str, list[float]] = {engine.name: [] for engine in engines}
    for engine in engines:
        engine.hear(part[0][1])
    for _, pcm in tqdm(part, desc=f"asr, {threads} threads", file=sys.stderr):
        for engine in engines:
            started = time.perf_counter()
            words = engine.hear(pcm)
            found[engine.name].append((time.perf_counter() - started) * 1000)
            heard.setdefault(engine.name, []).append(words.strip())
            if isinstance(engine, RiposteRecogniser):
                along = engine.hear_along(pcm)
                found.setdefault(AT_THE_END, []).append(along.end_ms)
                found.setdefault(ALL_ALONG, []).append(along.all_ms)
                heard.setdefault(AT_THE_END, []).append(along.words.strip())
    return found


def _rows(ms: dict[str, list[float]], seconds: list[float], threads: int, noise: float) -> list[Row]:
    said = "1 thread" if threads == 1 else f"{threads} threads"
    rows = []
    for name, values in ms.items():
        a_second = [value / length for value, length in zip(values, seconds, strict=True)]
        figures = {SECOND: spread(a_second), UTTERANCE: spread(values)}
        rows.append(Row(f"{name}, {said} →", 1, len(values), figures, noise))
    for name, values in ms.items():
        if name != "riposte":
            ratios = [ours / theirs for ours, theirs in zip(ms["riposte"], values, strict=True)]
            label = f"riposte ÷ {name}, {said},"
            if name in (AT_THE_END, ALL_ALONG):
                ratios, label = [1 / ratio for ratio in ratios], f"{name} ÷ riposte afresh, {said},"
            rows.append(Row(label, 1, len(ratios), {UTTERANCE: spread(ratios)}, noise, unit="×"))
    return rows


if __name__ == "__main__":
    main()
