"""The token side of a Whisper: its prompt, what it may not say, when it has lost the thread."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from riposte.errors import ModelError
from riposte.interfaces import PcmF32

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
# Written without spaces between words, hence without one between segments.
_UNSPACED = frozenset({"ja", "lo", "my", "th", "yue", "zh"})
_SPACES = ("Ġ", "▁")  # as byte-level and sentencepiece vocabularies write the space before a word
_TOKENS_TO_SPARE = 8
_LONGEST_LOOP = 16
_ROUNDS = 4  # "no no no" is something people say; four rounds of several tokens is not
_ROUNDS_OF_ONE = 8  # digits and stutters repeat a single token more often


class WhisperText:
    """What `tokenizer.json`, `generation_config.json` and `config.json` of a model folder say.

    `languages` are the codes it was made for; `end` the token behind the last word; `first_bias` and
    `bias` f32 [1, V] what is added to the logits right after the prompt and later: 0, or -inf for what
    must not be chosen; `language_bias` leaves the languages alone. Raises ModelError when a file lacks
    something.
    """

    def __init__(self, folder: Path, vocab: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as exc:  # tokenizers raises bare Exception
            raise ModelError(f"{folder / 'tokenizer.json'} cannot be used ({exc})") from exc
        config, settings = _read(folder / "config.json"), _read(folder / "generation_config.json")
        added = {token.content: i for i, token in self._tokenizer.get_added_tokens_decoder().items()}

        def setting(name: str) -> Any:
            return settings[name] if settings.get(name) is not None else config.get(name)

        try:
            self._start = int(setting("decoder_start_token_id"))
            ends = setting("eos_token_id")
            self.end = int(ends[0] if isinstance(ends, list) else ends)
            plain = setting("no_timestamps_token_id")
            self._plain = int(added["<|notimestamps|>"] if plain is None else plain)
            self._languages = self._find_languages(settings, added)
            self._task = int((settings.get("task_to_id") or added)[_task_key(settings)])
        except (KeyError, TypeError, ValueError) as exc:
            raise ModelError(f"{folder.name}: the prompt's tokens cannot be told ({exc!r})") from exc
        # Everything between <| and |> is a signal, timestamps too; and rows behind the tokenizer's last.
        banned = {i for content, i in added.items() if content.startswith("<|")} - {self.end}
        # From generation_config alone: config.json may carry transformers' own defaults, which are ids of
        # OpenAI's tokenizer.
        banned |= set(range(self._tokenizer.get_vocab_size(), vocab)) | set(
            settings.get("suppress_tokens") or ()
        )
        self.bias = _bias(banned, vocab)
        self.first_bias = _bias(banned | set(settings.get("begin_suppress_tokens") or ()), vocab)
        self.language_bias = _bias(set(range(vocab)) - set(self._languages.values()), vocab)
        self._codes = {i: code for code, i in self._languages.items()}

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model understands."""
        return tuple(self._languages) or ("en",)

    def start(self) -> tuple[int, ...]:
        """Return the prompt after which the model names the language; empty when it knows but one."""
        return (self._start,) if len(self._languages) > 1 else ()

    def prompt(self, language: str) -> tuple[int, ...]:
        """Return what stands before the words: transcribe this language, without timestamps."""
        if not self._languages:
            return (self._start, self._plain)
        return (self._start, self._languages[language], self._task, self._plain)

    def language_of(self, token: int) -> str:
        """Return the code of a language token."""
        return self._codes[token]

    def words(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without the space before it or half a character behind it."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.rstrip("\ufffd").strip()

    def begins_word(self, token: int) -> bool:
        """Tell whether what is written before this token is whole words."""
        piece: str | None = self._tokenizer.id_to_token(token)
        return piece is not None and piece.startswith(_SPACES)

    def joined(self, texts: Sequence[str], language: str | None) -> str:
        """Put the texts of segments together."""
        return ("" if language in _UNSPACED else " ").join(text for text in texts if text)

    @staticmethod
    def _find_languages(settings: dict[str, Any], added: dict[str, int]) -> dict[str, int]:
        """Return codes and ids; none for an English-only Whisper, whose prompt names no language.

        OpenAI's English-only checkpoints have the tokens of all languages and say `is_multilingual: false`;
        they have no `lang_to_id`.
        """
        named = settings.get("lang_to_id")
        if named is None:
            named = {} if settings.get("is_multilingual") is False else added
        found = ((_LANGUAGE.fullmatch(content), i) for content, i in named.items())
        return {match[1]: int(i) for match, i in found if match is not None}


def budget(seconds: float, tokens_a_second: float) -> int:
    """Return how many tokens so much speech can have; what says more has lost the thread."""
    return math.ceil(tokens_a_second * seconds) + _TOKENS_TO_SPARE


def without_loop(tokens: Sequence[int]) -> Sequence[int] | None:
    """Return the tokens up to the first round of the loop they end in; None when they end in none.

    A loop is the same 1 to 16 tokens four times in a row; a single token, eight times.
    """
    for size in range(1, min(_LONGEST_LOOP, len(tokens) // _ROUNDS) + 1):
        rounds = _ROUNDS_OF_ONE if size == 1 else _ROUNDS
        if len(tokens) < size * rounds:
            continue
        tail = tokens[len(tokens) - size * rounds :]
        if all(tail[i] == tail[i % size] for i in range(size, len(tail))):
            return tokens[: len(tokens) - size * (rounds - 1)]
    return None


def _task_key(settings: dict[str, Any]) -> str:
    return "transcribe" if settings.get("task_to_id") else "<|transcribe|>"


def _bias(banned: set[int], vocab: int) -> PcmF32:
    bias = np.zeros((1, vocab), np.float32)
    # A negative id is openai's "the usual ones", which are all signals and banned already.
    bias[0, [i for i in banned if 0 <= i < vocab]] = -np.inf
    return bias


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path.name} of {path.parent.name} cannot be read: {exc}") from exc
    if not isinstance(content, dict):
        raise ModelError(f"{path.name} of {path.parent.name} does not hold a JSON object")
    return content
