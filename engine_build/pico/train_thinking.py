"""Train the thinking model: `python -m engine_build.pico.train_thinking [--steps N] [--out DIR] [--resume]`.

It carries on where it stopped (`--fresh` starts over, `--from-checkpoint DIR` begins with the weights of a
checkpoint and half the learning rate). It writes its state every few minutes, and at the end the checkpoint
that `transformers` loads.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer
from torch.nn import functional
from tqdm import tqdm
from transformers import AttentionInterface, Qwen2ForCausalLM

from engine_build.pico import thinking_data, thinking_model
from engine_build.pico.thinking_model import CHECKPOINT, STATE

# About 75 minutes on one shared core. The committed weights took 1,174 steps with 1,024 tokens, were
# given the larger vocabulary (each new token began as the mean of its pieces), took 5,400 more, and learned
# tools in 4,400 from there (--from-checkpoint).
STEPS: Final = 6000
WARM_UP: Final = 60
# The last 60 % of the steps lower the rate to nothing: there the sums and the copies settle.
DECAY_SHARE: Final = 0.6
MATRIX_RATE: Final = 3e-3
OTHER_RATE: Final = 2e-3
# Weights that are good already would be lost at the full rate, and at a tenth of it would learn nothing new.
WARM_PEAK: Final = 0.5
SAVE_SECONDS: Final = 240.0


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **unused: object,
) -> tuple[torch.Tensor, None]:
    """Attend in fp32: on a CPU the bf16 kernel takes half of a whole step, this one a fifth. Rows are padded
    at their
    end only, so the causal mask is the whole mask."""
    with torch.autocast("cpu", enabled=False):
        groups = query.shape[1] // key.shape[1]
        made = functional.scaled_dot_product_attention(
            query.float(),
            key.float().repeat_interleave(groups, 1),
            value.float().repeat_interleave(groups, 1),
            is_causal=True,
            scale=scaling,
        )
    return made.transpose(1, 2).contiguous(), None


def rate(step: int, steps: int) -> float:
    """Scale the learning rate: warm up, hold, and fall in a line to zero."""
    return min(1.0, (step + 1) / WARM_UP, (steps - step) / (steps * DECAY_SHARE))


def optimizers(model: Qwen2ForCausalLM) -> list[torch.optim.Optimizer]:
    """Give matrices to Muon, which needs fewer steps for them, and the rest to AdamW."""
    matrices = [value for name, value in model.named_parameters() if value.ndim == 2 and "embed" not in name]
    others = [value for name, value in model.named_parameters() if value.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def loss_of(model: Qwen2ForCausalLM, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean loss of a batch."""
    # bf16 products are half again as fast on AVX-512 and cost nothing that shows in the loss.
    wanted = weights[:, 1:].flatten()
    counted = wanted > 0
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(tokens[:, :-1], use_cache=False).last_hidden_state
        # A third of the places count for nothing: they need no logits.
        logits = model.lm_head(hidden.flatten(0, 1)[counted])
    losses = functional.cross_entropy(logits.float(), tokens[:, 1:].flatten()[counted], reduction="none")
    return (losses * wanted[counted]).sum() / wanted.sum()


class Trainer:
    """Own the model, its optimizers and the place in the data; save and restore all three."""

    def __init__(self, state: Path, fresh: bool, begin: Path | None = None) -> None:
        """Carry on from a state; where there is none, or `fresh`, begin with a checkpoint or with nothing."""
        self._file = state / "state.pt"
        state.mkdir(parents=True, exist_ok=True)
        known = state / "tokenizer.json"
        self.tokenizer: Tokenizer
        self.peak = 1.0
        torch.manual_seed(1)
        if known.exists() and not fresh:
            self.tokenizer = Tokenizer.from_file(str(known))
            self.model = Qwen2ForCausalLM(thinking_model.model_config(self.tokenizer))
        elif begin is not None:
            self.peak = WARM_PEAK
            self.model, self.tokenizer = thinking_model.load_grown(begin)
        else:
            self.tokenizer = thinking_model.train_tokenizer()
            self.model = Qwen2ForCausalLM(thinking_model.model_config(self.tokenizer))
        self.tokenizer.save(str(known))
        AttentionInterface.register("fp32_causal", attend)
        self.model.set_attn_implementation("fp32_causal")
        self.optimizers = optimizers(self.model)
        self.step = 0
        self._pool = 0
        self._used = 0
        if self._file.exists() and not fresh:
            self._restore(torch.load(self._file, weights_only=True))

    def _restore(self, saved: dict[str, Any]) -> None:
        self.model.load_state_dict(saved["model"])
        for optimizer, values in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.step, self._pool, self._used = saved["step"], saved["pool"], saved["used"]
        self.peak = saved.get("peak", 1.0)

    def save(self) -> None:
        """Write the whole state, or leave the old one."""
        part = self._file.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "step": self.step,
                "pool": self._pool,
                "used": self._used,
                "peak": self.peak,
            },
            part,
        )
        part.replace(self._file)

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield batches from where the state stands. A pool depends on its number: nothing else is stored."""
        encoder = thinking_data.Encoder(self.tokenizer)
        for pool in thinking_data.batches(encoder, self._pool):
            while self._used < len(pool):
                self._used += 1
                yield pool[self._used - 1]
            self._pool, self._used = self._pool + 1, 0

    def learn(self, tokens: torch.Tensor, weights: torch.Tensor, steps: int) -> float:
        """Take one step; return its loss."""
        loss = loss_of(self.model, tokens, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        scale = self.peak * rate(self.step, steps)
        for optimizer, peak in zip(self.optimizers, (MATRIX_RATE, OTHER_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return float(loss)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps in all, those already taken included")
    parser.add_argument("--out", type=Path, default=CHECKPOINT, help="where the checkpoint goes")
    parser.add_argument("--state", type=Path, default=STATE, help="where the state of the training is kept")
    parser.add_argument("--threads", type=int, default=2)
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true", help="carry on from the state (what happens anyway)")
    begin.add_argument("--fresh", action="store_true", help="start over")
    begin.add_argument(
        "--from-checkpoint",
        type=Path,
        metavar="DIR",
        help="start over from the weights of a checkpoint, its vocabulary widened if it is an older one",
    )
    parser.add_argument(
        "--export", action="store_true", help="only write the checkpoint of the state as it stands"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    source: Path | None = chosen.from_checkpoint
    trainer = Trainer(chosen.state, chosen.fresh or source is not None, source)
    if not chosen.export:
        train(trainer, chosen.steps)
    thinking_model.save_checkpoint(trainer.model, trainer.tokenizer, chosen.out)
    print(f"wrote {chosen.out} after {trainer.step} steps")


def train(trainer: Trainer, steps: int) -> None:
    """Train up to a step, with a bar and a state saved every few minutes."""
    trainer.model.train()
    saved_at = time.monotonic()
    smooth = 0.0
    # A stop asked for by signal ends the loop between two steps, and the state is saved as at the end.
    stopped = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda number, frame: stopped.set())
    with tqdm(total=steps, initial=trainer.step, unit="step", mininterval=5) as bar:
        for tokens, weights in trainer.batches():
            if trainer.step >= steps or stopped.is_set():
                break
            loss = trainer.learn(tokens, weights, steps)
            smooth = 0.98 * smooth + 0.02 * loss if smooth else loss
            bar.set_postfix_str(f"loss {smooth:.4f}", refresh=False)
            bar.update()
            if time.monotonic() - saved_at > SAVE_SECONDS:
                trainer.save()
                saved_at = time.monotonic()
    trainer.save()


if __name__ == "__main__":
    main()
