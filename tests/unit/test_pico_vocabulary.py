"""A tokenizer that is widened still cuts text where it did, and joins further."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from engine_build.pico.vocabulary import widen


@pytest.fixture
def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["the light in the kitchen"] * 5, trainer)
    return made


TEXTS = ["kitchen light<end>kitchen"] * 3 + ["garden"]


def test_old_tokens_keep_their_numbers_and_new_ones_follow(tokenizer: Tokenizer) -> None:
    wide = widen(tokenizer, TEXTS, 276)
    assert wide.get_vocab_size() == 276
    assert tokenizer.get_vocab().items() <= wide.get_vocab().items()
    assert wide.get_vocab() == widen(tokenizer, TEXTS, 276).get_vocab()


def test_texts_take_fewer_tokens_and_come_back_whole(tokenizer: Tokenizer) -> None:
    wide = widen(tokenizer, TEXTS, 276)
    assert len(wide.encode("kitchen").ids) == 1 < len(tokenizer.encode("kitchen").ids)
    assert wide.decode(wide.encode("garden kitchen ünder").ids) == "garden kitchen ünder"
    assert wide.encode("<end>").ids == tokenizer.encode("<end>").ids


def test_texts_too_short_for_the_size_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="5000 are asked for"):
        widen(tokenizer, TEXTS, 5000)
