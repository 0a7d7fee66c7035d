"""Find when each word of a known text was said, with a checkpoint's own encoder and CTC head."""

# torch is not installed where types are checked, so its classes and decorators are unknown there
# mypy: allow-untyped-decorators

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from engine_build.pico.hearing_model import CTC_LETTERS, Encoder
from engine_build.pico.letter_paths import LEAD, POSITION, letter_paths, word_spans
from engine_build.pico.log_mel import BANDS, FLOOR, whisper_scale

F32 = NDArray[np.float32]
TAIL = 30  # frames of silence behind what is aligned
BATCH = 48


@torch.inference_mode()
def align(
    encoder: Encoder, ctc: nn.Linear, log_mels: Sequence[NDArray[np.float16]], texts: Sequence[str]
) -> list[F32]:
    """Return the spans of every text's words in its log10 mel power; none where they do not fit."""
    order = sorted(range(len(texts)), key=lambda i: len(log_mels[i]))
    spans: list[F32] = [np.zeros((0, 2), np.float32)] * len(texts)
    for start in tqdm(range(0, len(order), BATCH), desc="word times", unit="batch", mininterval=5):
        chosen = order[start : start + BATCH]
        longest = -(-(LEAD + max(len(log_mels[i]) for i in chosen) + TAIL) // 32) * 32
        mels = np.full((len(chosen), longest, BANDS), np.log10(FLOOR), np.float32)
        for row, i in zip(mels, chosen, strict=True):
            row[LEAD : LEAD + len(log_mels[i])] = log_mels[i]
        features = np.stack([whisper_scale(10**mel).T for mel in mels])
        with torch.autocast("cpu", torch.bfloat16):
            heard = ctc(encoder(torch.from_numpy(features)))
        log_probs = heard.float().log_softmax(-1).numpy()
        positions = [(LEAD + len(log_mels[i]) + TAIL) // POSITION for i in chosen]
        paths = letter_paths(log_probs, [texts[i] for i in chosen], positions, CTC_LETTERS)
        for i, path in zip(chosen, paths, strict=True):
            spans[i] = word_spans(path, texts[i], len(log_mels[i]))
    return spans
