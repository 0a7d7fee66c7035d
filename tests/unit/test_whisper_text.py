"""Guards and prompts. The folders hold a tokenizer of single bytes and the settings of real Whispers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from riposte.backends.whisper_text import WhisperText, budget, without_loop
from riposte.errors import ModelError

SIGNALS = {
    name: 256 + i
    for i, name in enumerate(
        [
            "<|endoftext|>",
            "<|startoftranscript|>",
            "<|en|>",
            "<|fr|>",
            "<|transcribe|>",
            "<|notimestamps|>",
            "<|0.00|>",
        ]
    )
}
END, START, EN, FR, TRANSCRIBE, PLAIN, ZERO = SIGNALS.values()
VOCAB = 266  # three rows more than tokens


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=name != "<|0.00|>") for name in SIGNALS])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def text(folder: Path, **settings: Any) -> WhisperText:
    (folder / "config.json").write_text('{"begin_suppress_tokens": [220, 50256]}')
    known = {"decoder_start_token_id": START, "eos_token_id": END, **settings}
    (folder / "generation_config.json").write_text(json.dumps(known))
    return WhisperText(folder, VOCAB)


def ids(folder: Path, words: str) -> list[int]:
    found: list[int] = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(words).ids
    return found


def test_a_multilingual_prompt_names_language_and_task(folder: Path) -> None:
    whisper = text(folder)
    assert whisper.languages == ("en", "fr")
    assert whisper.prompt("fr") == (START, FR, TRANSCRIBE, PLAIN)
    assert whisper.start() == (START,)
    assert whisper.language_of(FR) == "fr"
    assert np.flatnonzero(whisper.language_bias[0] == 0).tolist() == [EN, FR]


def test_one_language_needs_no_guess(folder: Path) -> None:
    whisper = text(folder, lang_to_id={"<|en|>": EN}, task_to_id={"transcribe": TRANSCRIBE})
    assert whisper.languages == ("en",)
    assert whisper.start() == ()
    assert whisper.prompt("en") == (START, EN, TRANSCRIBE, PLAIN)


def test_an_english_only_prompt_names_none(folder: Path) -> None:
    whisper = text(folder, is_multilingual=False)
    assert whisper.languages == ("en",)
    assert whisper.prompt("en") == (START, PLAIN)


def test_signals_and_rows_without_a_token_are_never_said(folder: Path) -> None:
    whisper = text(folder, begin_suppress_tokens=[32], suppress_tokens=[7, -1])
    banned = {7, START, EN, FR, TRANSCRIBE, PLAIN, ZERO, 263, 264, 265}
    assert set(np.flatnonzero(np.isneginf(whisper.bias[0])).tolist()) == banned
    assert set(np.flatnonzero(np.isneginf(whisper.first_bias[0])).tolist()) == banned | {32}


def test_transformers_own_defaults_forbid_nothing(folder: Path) -> None:
    assert text(folder).first_bias[0, 220] == 0


def test_half_a_character_is_left_out(folder: Path) -> None:
    tokens = ids(folder, " voilà")
    assert text(folder).words(tokens) == "voilà"
    assert text(folder).words(tokens[:-1]) == "voil"


@pytest.mark.parametrize(("language", "joined"), [("en", "one two"), (None, "one two"), ("ja", "onetwo")])
def test_segments_are_joined_as_the_language_writes(folder: Path, language: str | None, joined: str) -> None:
    assert text(folder).joined(["one", "", "two"], language) == joined


def test_a_folder_without_its_prompt_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="prompt"):
        text(folder, eos_token_id=None)
    (folder / "generation_config.json").unlink()
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        WhisperText(folder, VOCAB)


def test_a_budget_grows_with_the_sound() -> None:
    assert [budget(seconds, 8) for seconds in (0, 0.5, 3, 10)] == [8, 12, 32, 88]


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ([], None),
        ([1, 2, 3], None),
        ([5, 5, 5, 5, 5, 5, 5], None),  # seven digits
        ([9, 5, 5, 5, 5, 5, 5, 5, 5], [9, 5]),
        ([9, 1, 2, 1, 2, 1, 2], None),
        ([9, 1, 2, 1, 2, 1, 2, 1, 2], [9, 1, 2]),
        ([1, 2, 3, 4, 5] * 4, [1, 2, 3, 4, 5]),
        ([*range(17)] * 4, None),
    ],
)
def test_circles_are_found(tokens: list[int], kept: list[int] | None) -> None:
    assert without_loop(tokens) == kept
