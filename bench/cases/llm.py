"""pico's language model alone: prompts a second, milliseconds a token, four at a time; and in other runtimes.

transformers and llama.cpp run the same weights in the same run, in alternation, with as many threads. First
all must say the same: the share of replies that are equal to the letter is in the notes. Every prompt is
unique, so that no cache helps anybody; the end token is passed over, so that all do the same work.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec
from tqdm import tqdm

from bench.beside.llm import BATCH, Engine, LlamaCppEngine, RiposteEngine, TransformersEngine
from bench.material import Sentences
from bench.report import ROOT, CaseReport, Row, spread
from bench.server import Broken
from bench.yardstick import Yardstick
from riposte.backends.chat_template import ChatFormat
from riposte.interfaces import Message

MODELS = ROOT / "onnx_models"
THREADS = (1, 2)
PROMPTS = (32, 128, 512)  # tokens
MADE = 192
SAME = 0.9  # of the replies; fewer equal ones and it is not the same model that is timed
INSTALL = "`make bench-compare` installs it (pip install -e '.[bench,bench-compare]')"
NEEDS = {"transformers": ("transformers", "torch"), "llama.cpp": ("xllamacpp", "gguf", "safetensors")}

PREFILL = "a prompt token, of {}"
TOKEN, BATCHED = "a token", f"a token of {BATCH} at a time"


def main() -> None:
    """Run the case and print its report as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pico")
    parser.add_argument("--turns", type=int, default=40, help="a quarter of it: how often each is measured")
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    profile = "pico" if options.profile == "fake" else options.profile
    report = asyncio.run(run(profile, max(1, options.turns // 4), options.seed))
    print(msgspec.json.encode(report).decode())


async def run(profile: str, rounds: int, seed: int, threads: tuple[int, ...] = THREADS) -> CaseReport:
    """Measure every runtime that is installed, `rounds` times each."""
    folder, checkpoint = MODELS / profile / "thinking", MODELS / profile / "checkpoints" / "thinking"
    if not checkpoint.is_dir():
        raise Broken(f"profile {profile} has no checkpoint in {checkpoint.relative_to(ROOT)} to compare with")
    return await asyncio.to_thread(_run, folder, checkpoint, rounds, seed, threads)


def _run(folder: Path, checkpoint: Path, rounds: int, seed: int, threads: tuple[int, ...]) -> CaseReport:
    missing = {name: INSTALL for name, needs in NEEDS.items() if not all(map(find_spec, needs))}
    make: dict[str, Callable[[int], Engine]] = {
        "riposte": lambda count: RiposteEngine(folder, count),
        "transformers": lambda count: TransformersEngine(checkpoint, count),
        "llama.cpp": lambda count: LlamaCppEngine(checkpoint, count),
    }
    prompts = Prompts(folder, seed)
    yardstick = Yardstick()
    rows: list[Row] = []
    notes = [
        f"a prompt token: the time to the first token over the prompt's tokens; a token: of {MADE} after a"
        f" prompt of {PROMPTS[0]}; a token of {BATCH} at a time: one step, which makes {BATCH}",
        "32-bit floats everywhere; riposte through its scheduler and an event loop, llama.cpp through its"
        " server loop, transformers through generate()",
    ]
    for count in threads:
        engines = [build(count) for name, build in make.items() if name not in missing]
        try:
            different = _same_words(engines, prompts, notes, count)
            timed = [engine for engine in engines if engine.name not in different]
            before = yardstick.measure()
            found = _measure(timed, prompts, rounds, count)
            noise = round(yardstick.off(before, yardstick.measure()), 3)
        finally:
            for engine in engines:
                engine.close()
        rows += _rows(found, [engine.name for engine in timed], count, rounds, noise)
    return CaseReport("llm", tuple(rows), notes=tuple(notes), missing=missing)


def _same_words(engines: list[Engine], prompts: Prompts, notes: list[str], threads: int) -> set[str]:
    """Compare what they say before they are timed; return the names of those that say something else."""
    asked = [prompts.turn() for _ in range(20)]
    said = {engine.name: [engine.generate([ids], 48, stop=True)[0] for ids in asked] for engine in engines}
    different = set()
    for name, theirs in said.items():
        equal = sum(_plain(a) == _plain(b) for a, b in zip(said["riposte"], theirs, strict=True))
        if name != "riposte":
            notes.append(
                f"{name}, {_threads(threads)}: {equal} of {len(asked)} greedy replies equal to riposte's"
            )
        if equal < SAME * len(asked):
            notes.append(f"{name} is not timed: too many of its replies differ")
            different.add(name)
    return different


def _plain(text: str) -> str:
    return text.removesuffix("<|im_end|>").strip()


def _measure(
    engines: list[Engine], prompts: Prompts, rounds: int, threads: int
) -> dict[tuple[str, str], list[float]]:
    """Return milliseconds by runtime and figure, one of each a round; the runtimes take turns."""
    found: dict[tuple[str, str], list[float]] = {}
    for engine in engines:
        for size in PROMPTS:
            engine.generate([prompts.of(size)], 4)
        engine.generate([prompts.of(PROMPTS[0]) for _ in range(BATCH)], 4)
    whole: dict[tuple[str, int], list[float]] = {}  # prompt and MADE tokens more, by runtime and replies
    began: dict[tuple[str, int], list[float]] = {}  # the same prompt and one token
    with tqdm(total=rounds * len(engines), desc=f"llm, {threads} threads", file=sys.stderr) as bar:
        for _ in range(rounds):
            for engine in engines:
                for size in PROMPTS:
                    ms = _ms(engine, [prompts.of(size)], 1)
                    found.setdefault((engine.name, PREFILL.format(size)), []).append(ms / size)
                for replies in (1, BATCH):
                    for kept, count in ((began, 1), (whole, MADE + 1)):
                        asked = [prompts.of(PROMPTS[0]) for _ in range(replies)]
                        kept.setdefault((engine.name, replies), []).append(_ms(engine, asked, count))
                bar.update()
    for (name, replies), values in whole.items():
        # The median of all: a busy moment in one beginning must not make its tokens cheap.
        begun = statistics.median(began[name, replies])
        figure = TOKEN if replies == 1 else BATCHED
        found[name, figure] = [(value - begun) / MADE for value in values]
    return found


def _ms(engine: Engine, prompts: list[list[int]], count: int) -> float:
    started = time.perf_counter()
    engine.generate(prompts, count)
    return (time.perf_counter() - started) * 1000


def _rows(
    found: dict[tuple[str, str], list[float]], names: list[str], threads: int, rounds: int, noise: float
) -> list[Row]:
    figures = list(dict.fromkeys(figure for _, figure in found))
    said = _threads(threads)
    rows = []
    for name in names:
        spreads = {figure: spread([ms * 1000 for ms in found[name, figure]]) for figure in figures}
        rows.append(Row(f"{name}, {said} →", 1, rounds, spreads, noise, unit="µs"))
    for name in names[1:]:
        ratios = {
            figure: spread(
                [
                    ours / theirs
                    for ours, theirs in zip(found["riposte", figure], found[name, figure], strict=True)
                ]
            )
            for figure in figures
        }
        rows.append(Row(f"riposte ÷ {name}, {said},", 1, rounds, ratios, noise, unit="×"))
    return rows


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


class Prompts:
    """Prompts of any length that were never seen before in this run."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._format = ChatFormat(folder)
        self._sentences = Sentences(seed)
        self._rng = random.Random(seed)

    def turn(self) -> list[int]:
        """Return the prompt of one typed turn."""
        return [int(number) for number in self._format.encode([Message("user", next(self._sentences))])]

    def of(self, tokens: int) -> list[int]:
        """Return a prompt of so many tokens: the end of a conversation."""
        ids: list[int] = []
        while len(ids) < tokens:
            ids = [*self.turn(), *ids]
        return ids[-tokens:]


if __name__ == "__main__":
    main()
