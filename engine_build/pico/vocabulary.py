"""Widen a byte-level BPE: learn more merges after those that it has, and leave every old token its number."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer


def widen(tokenizer: Tokenizer, texts: Iterable[str], size: int) -> Tokenizer:
    """Return the tokenizer with new tokens up to `size`, merged from texts as BPE training would.

    New merges come last, so a text is first cut into the old tokens and then joined further.
    """
    content = json.loads(tokenizer.to_str())
    vocabulary: dict[str, int] = content["model"]["vocab"]
    merges: list[list[str]] = content["model"]["merges"]
    words = _words(tokenizer, texts)
    while len(vocabulary) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        if not pairs:
            raise ValueError(f"the texts hold no more than {len(vocabulary)} tokens; {size} are asked for")
        # Of equals the first by name: the same texts give the same tokens.
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(list(best))
        vocabulary.setdefault("".join(best), len(vocabulary))
        words = _merge(words, best)
    return Tokenizer.from_str(json.dumps(content))


def _words(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[tuple[str, ...]]:
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    counts: Counter[str] = Counter()
    for text in texts:
        parts = [text]
        for mark in added:
            parts = [part for whole in parts for part in whole.split(mark)]
        for part in parts:
            counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(part))
    words: Counter[tuple[str, ...]] = Counter()
    for word, count in counts.items():
        words[tuple(each.value for each in tokenizer.model.tokenize(word))] += count
    return words


def _merge(words: Counter[tuple[str, ...]], pair: tuple[str, str]) -> Counter[tuple[str, ...]]:
    merged: Counter[tuple[str, ...]] = Counter()
    for word, count in words.items():
        pieces: list[str] = []
        for piece in word:
            if pieces and (pieces[-1], piece) == pair:
                pieces[-1] += piece
            else:
                pieces.append(piece)
        merged[tuple(pieces)] += count
    return merged
