"""Ask a checkpoint of the thinking model what it would say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from tokenizers import Tokenizer
from transformers import Qwen2ForCausalLM

from engine_build.pico.thinking_data import Encoder

REPLY_TOKENS: Final = 96
BATCH: Final = 48


class Judge:
    """Ask a checkpoint for replies and for the probability that a user has finished."""

    def __init__(self, model: Qwen2ForCausalLM, tokenizer: Tokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._end = tokenizer.token_to_id("<|im_end|>")
        self.encoder = Encoder(tokenizer)

    def replies(self, prompts: Sequence[list[int]]) -> list[str]:
        """Reply greedily to each prompt."""
        found: list[str] = [""] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        for first in range(0, len(order), BATCH):
            places = order[first : first + BATCH]
            width = max(len(prompts[place]) for place in places)
            tokens = torch.zeros(len(places), width, dtype=torch.long)
            mask = torch.zeros_like(tokens)
            for row, place in enumerate(places):
                tokens[row, width - len(prompts[place]) :] = torch.tensor(prompts[place])
                mask[row, width - len(prompts[place]) :] = 1
            made = self._model.generate(
                tokens,
                attention_mask=mask,
                max_new_tokens=REPLY_TOKENS,
                do_sample=False,
                eos_token_id=self._end,
                pad_token_id=0,
            )
            for row, place in enumerate(places):
                found[place] = self._tokenizer.decode(
                    made[row, width:].tolist(), skip_special_tokens=True
                ).strip()
        return found

    def finished(self, text: str, turns: list[tuple[str, str]] | None = None) -> list[float]:
        """Give the probability of `<|im_end|>` after each token of an utterance that follows these turns."""
        tokens = self.encoder.opened(turns or [], text)
        body = len(self.encoder.words(text))
        with torch.inference_mode():
            logits = self._model(torch.tensor([tokens])).logits[0, -body:]
        chances: list[float] = logits.softmax(-1)[:, self._end].tolist()
        return chances
