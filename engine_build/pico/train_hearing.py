"""Train hearing from nothing, or from where it stopped: `python -m engine_build.pico.train_hearing`.

State goes to `build/pico/hearing/`, the checkpoint to `onnx_models/pico/checkpoints/hearing/`: once at the
start, so that whoever needs its shapes need not wait, then with the averaged weights every so often and at
the end.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from engine_build.pico.alignment import align
from engine_build.pico.hearing_checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from engine_build.pico.hearing_data import F32, FEATURE_DIR, Batch, Item, Mixer, training_items
from engine_build.pico.hearing_model import CTC_LETTERS, HearingModel, HearingShape
from engine_build.pico.hearing_words import IGNORED, SPECIALS, Words, learn_tokenizer

STEPS = 18_000
PEAK_RATE, WARM_UP = 1.5e-3, 300
FURTHER_RATE = 1.0e-3  # the peak of a training that goes on from a checkpoint
CTC_WEIGHT = 0.4
AVERAGE = 0.998  # of the weights: a window of about 500 steps
HARDEST = 0.5  # with 1.0 the small network misheard a fifth of the words it was taught with
CLEAN_UNTIL, HARD_FROM = 0.07, 0.35  # share of the training: augmentation grows from one to the other
ALIGN_FROM = (
    0.3  # from then on its own letters say when each word was spoken, and speech is cut off and paused
)
CORRUPTED = 0.3  # of the words in the decoder's input, at most: a half of that on average
SAVE_EVERY, EXPORT_EVERY = 250, 1_000


def keep_memory() -> None:
    """Tell malloc to keep its pages: batches change size, and fetching pages anew costs a fifth of a step."""
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
    libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def one_thread() -> None:
    """Start this command anew with numpy's BLAS on one thread, for which it looks only when it is loaded.

    On a busy machine its second thread spins instead of working: a mel took 20 ms with two threads, 1.2 ms
    with one.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "engine_build.pico.train_hearing", *sys.argv[1:]])


class Trainer:
    """The network, its CTC head, the optimiser and the running average of the weights."""

    def __init__(self, words: Words, shape: HearingShape) -> None:
        torch.manual_seed(1)
        self.words = words
        self.model = HearingModel(shape)
        self.ctc = nn.Linear(shape.d_model, len(CTC_LETTERS) + 1)
        self.average, self.average_ctc = HearingModel(shape), nn.Linear(shape.d_model, len(CTC_LETTERS) + 1)
        self.average.load_state_dict(self.model.state_dict())
        self.average_ctc.load_state_dict(self.ctc.state_dict())
        self.weights = [p for p in (*self.model.parameters(), *self.ctc.parameters()) if p.requires_grad]
        self.averages = [
            p
            for p, mine in zip(
                (*self.average.parameters(), *self.average_ctc.parameters()),
                (*self.model.parameters(), *self.ctc.parameters()),
                strict=True,
            )
            if mine.requires_grad
        ]
        matrices = [p for p in self.weights if p.ndim > 1]
        vectors = [p for p in self.weights if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)
        self.step, self.seconds = 0, 0.0
        self.peak_rate = PEAK_RATE
        self.chance = torch.Generator().manual_seed(2)

    def corrupted(self, inputs: Tensor) -> Tensor:
        """Return decoder inputs with some tokens behind the prompt replaced, so that it must listen."""
        rates = CORRUPTED * torch.rand(len(inputs), 1, generator=self.chance)
        chosen = torch.rand(inputs.shape, generator=self.chance) < rates
        chosen[:, : len(self.words.prompt)] = False
        plain = self.model.shape.vocab_size - len(SPECIALS)
        others = torch.randint(0, plain, inputs.shape, generator=self.chance)
        return torch.where(chosen, others, inputs)

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the decoder's loss and the CTC head's."""
        encoded = [self.words.encode(text) for text in batch.texts]
        length = -(-(max(map(len, encoded)) + 5) // 4) * 4  # on a grid, for the same reason as the frames
        inputs, labels = (
            torch.tensor(x)
            for x in zip(*(self.words.taught(text, length) for text in batch.texts), strict=True)
        )
        letters = [
            torch.tensor([CTC_LETTERS.index(c) + 1 for c in text], dtype=torch.long) for text in batch.texts
        ]
        with torch.autocast("cpu", torch.bfloat16):
            memory = self.model.encoder(torch.from_numpy(batch.features))
            logits = self.model.decoder(self.corrupted(inputs), memory)
            heard = self.ctc(memory)
        decoder = functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=0.05
        )
        ctc = functional.ctc_loss(
            heard.float().log_softmax(-1).transpose(0, 1),
            torch.cat(letters),
            torch.full((len(letters),), heard.shape[1]),
            torch.tensor([len(x) for x in letters]),
            zero_infinity=True,  # speech squeezed until it has fewer frames than letters
        )
        return decoder, ctc

    def learn(self, batch: Batch, progress: float) -> tuple[float, float]:
        """Take one step; return both losses."""
        rate = (
            self.peak_rate
            * min(1.0, (self.step + 1) / WARM_UP)
            * 0.5
            * (1 + math.cos(math.pi * min(1.0, progress)))
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        decoder, ctc = self.losses(batch)
        (decoder * (1 - CTC_WEIGHT) + ctc * CTC_WEIGHT).backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=False)
        self.step += 1
        with (
            torch.no_grad()
        ):  # averaged over few steps early on: the first exports must not hold the random start
            torch._foreach_lerp_(self.averages, self.weights, 1 - min(AVERAGE, self.step / (self.step + 20)))
        return decoder.item(), ctc.item()

    def save(self, path: Path) -> None:
        """Write the state of the training, whole or not at all."""
        parts = {
            name: getattr(self, name).state_dict()
            for name in ("model", "ctc", "average", "average_ctc", "optimiser")
        }
        partial = path.with_suffix(".partial")
        torch.save({**parts, "step": self.step, "seconds": self.seconds}, partial)
        partial.rename(path)

    def resume(self, path: Path) -> None:
        """Go on from a saved state."""
        state = torch.load(path, weights_only=True)
        for name in ("model", "ctc", "average", "average_ctc", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds = state["step"], state["seconds"]

    def begin_from(self, folder: Path) -> None:
        """Begin with a checkpoint's weights instead of random ones."""
        hearing = load_checkpoint(folder)
        for model, ctc in ((self.model, self.ctc), (self.average, self.average_ctc)):
            model.load_state_dict(hearing.model.state_dict())
            ctc.load_state_dict(hearing.ctc.state_dict())

    def word_times(self, items: list[Item]) -> list[F32]:
        """Return when each item's words are said, by the averaged weights; kept for the next start."""
        path = FEATURE_DIR / "word-times.npz"
        if path.exists():
            with np.load(path) as stored:
                if len(stored["counts"]) == len(items):
                    return list(np.split(stored["spans"], np.cumsum(stored["counts"])[:-1]))
        found: list[F32] = align(
            self.average.encoder, self.average_ctc, [i.takes[0] for i in items], [i.text for i in items]
        )
        np.savez(path, spans=np.concatenate(found), counts=[len(each) for each in found])
        return found

    def export(self) -> None:
        """Write the averaged weights as a checkpoint."""
        save_checkpoint(self.average, self.average_ctc, self.words)


def main() -> None:
    """Train until the steps, or the minutes, are spent."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--minutes",
        type=float,
        help="finish the schedule by this much training time if the steps take longer",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--further",
        action="store_true",
        help="begin with the committed weights; a smaller rate, no clean start",
    )
    args = parser.parse_args()
    one_thread()
    keep_memory()
    torch.set_num_threads(args.threads)
    FEATURE_DIR.mkdir(parents=True, exist_ok=True)
    tokens, state = FEATURE_DIR / "tokenizer.json", FEATURE_DIR / "state.pt"
    if not tokens.exists() and not args.further:
        learn_tokenizer().save(str(tokens))
    if args.further and not state.exists():
        shutil.copy(CHECKPOINT / "tokenizer.json", tokens)
    trainer = Trainer(Words.load(tokens), HearingShape())
    if args.further:
        trainer.peak_rate = FURTHER_RATE
    if state.exists():
        trainer.resume(state)
    elif args.further:
        trainer.begin_from(CHECKPOINT)
    else:
        trainer.export()
    items = training_items()
    mixer = Mixer(items, seed=trainer.step)
    batches = mixer.batches()
    log = (FEATURE_DIR / "losses.jsonl").open("a", buffering=1)
    recent: list[tuple[float, float]] = []
    with tqdm(total=args.steps, initial=trainer.step, unit="step", desc="hearing", mininterval=10) as bar:
        while True:
            progress = max(
                trainer.step / args.steps, trainer.seconds / 60 / args.minutes if args.minutes else 0.0
            )
            if progress >= 1:
                break
            grown = min(1.0, max(0.0, (progress - CLEAN_UNTIL) / (HARD_FROM - CLEAN_UNTIL)))
            mixer.hardness = HARDEST * (1.0 if args.further else grown)
            if not mixer.spans and (args.further or progress >= ALIGN_FROM):
                mixer.spans = trainer.word_times(items)
            began = time.monotonic()
            recent.append(trainer.learn(next(batches), progress))
            trainer.seconds += time.monotonic() - began
            bar.update()
            if trainer.step % 50 == 0:
                decoder, ctc = np.mean(recent, axis=0).round(4).tolist()
                recent.clear()
                bar.set_postfix(decoder=decoder, ctc=ctc, done=f"{100 * progress:.0f}%", refresh=False)
                log.write(
                    json.dumps(
                        {
                            "step": trainer.step,
                            "seconds": round(trainer.seconds),
                            "decoder": decoder,
                            "ctc": ctc,
                        }
                    )
                    + "\n"
                )
            if trainer.step % SAVE_EVERY == 0:
                trainer.save(state)
            if trainer.step % EXPORT_EVERY == 0:
                trainer.export()
    trainer.save(state)
    trainer.export()
    print(f"{trainer.step} steps in {trainer.seconds / 60:.0f} minutes; checkpoint in {CHECKPOINT}")


if __name__ == "__main__":
    main()
