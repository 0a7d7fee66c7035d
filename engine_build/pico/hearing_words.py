"""Hearing's tokens: a byte-level BPE of 512 with Whisper's special ones, learned from the grammar."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from engine_build.pico.grammar import spoken_sentence, vocabulary

VOCAB_SIZE = 512
# <|notimestamps|> comes last: transformers takes every id behind it for a timestamp
SPECIALS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|transcribe|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
IGNORED = -100  # torch's label for "no loss here"


def learn_tokenizer(sentences: int = 30_000) -> Tokenizer:
    """Learn the BPE from training sentences and the words themselves."""
    tokenizer = Tokenizer(models.BPE())
    # a space before the first word too: every word then has one form, as in Whisper's own transcripts
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    rng = random.Random(11)
    texts = [spoken_sentence(rng, "train") for _ in range(sentences)] + sorted(vocabulary())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer


@dataclass(slots=True)
class Words:
    """The tokenizer with the ids that training and decoding ask for."""

    tokenizer: Tokenizer

    @classmethod
    def load(cls, path: Path) -> Words:
        """Read a tokenizer.json."""
        return cls(Tokenizer.from_file(str(path)))

    def id(self, special: str) -> int:
        """Return the id of a special token."""
        found = self.tokenizer.token_to_id(special)
        if found is None:
            raise KeyError(f"the tokenizer has no {special}")
        return int(found)

    @property
    def prompt(self) -> list[int]:
        """Return the tokens every transcript starts with."""
        return [self.id(token) for token in PROMPT]

    @property
    def end(self) -> int:
        """Return the token that ends a transcript."""
        return self.id("<|endoftext|>")

    @property
    def never_written(self) -> list[int]:
        """Return the special tokens that decoding must suppress: all but the end."""
        return [self.id(token) for token in SPECIALS if token != "<|endoftext|>"]

    def encode(self, text: str) -> list[int]:
        """Return a text's tokens; none for an empty text."""
        return list(self.tokenizer.encode(text).ids) if text else []

    def decode(self, ids: list[int]) -> str:
        """Return the text of tokens without its leading space."""
        return str(self.tokenizer.decode(ids)).strip()

    def taught(self, text: str, length: int) -> tuple[list[int], list[int]]:
        """Return decoder inputs and labels, filled up to a length.

        As in Whisper, the place behind <|startoftranscript|> tells speech (<|en|>) from none (<|nospeech|>);
        a sound without words ends right after the prompt.
        """
        ids = [*self.prompt, *self.encode(text)]
        first = self.id("<|en|>" if text else "<|nospeech|>")
        labels = [first, IGNORED, IGNORED, *ids[len(PROMPT) :], self.end]
        padding = length - len(ids)
        return ids + [self.end] * padding, labels + [IGNORED] * padding
