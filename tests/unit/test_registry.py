"""The table of back ends: what is in it exists, and what is not is said with what there is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from riposte.backends.fake import FakeLlm
from riposte.backends.registry import BACKENDS, load_backend
from riposte.errors import ConfigError

ALL = [(kind, name) for kind, names in BACKENDS.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_entry_is_a_class(kind: str, name: str) -> None:
    assert importlib.util.find_spec(BACKENDS[kind][name].partition(":")[0]) is not None
    assert isinstance(load_backend(kind, name), type)


def test_a_fake_fills_every_role() -> None:
    assert all("fake" in names for names in BACKENDS.values())
    assert load_backend("llm", "fake") is FakeLlm


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no llm back end called 'gpt'; there are: onnx, fake"):
        load_backend("llm", "gpt")
    with pytest.raises(ConfigError, match=r"no models of kind 'nlu'; there are: llm, asr, tts, turn, vad"):
        load_backend("nlu", "fake")


def test_back_ends_are_imported_only_when_chosen() -> None:
    code = (
        "import sys; from riposte.backends.registry import load_backend; load_backend('llm', 'fake');"
        "print([name for name in ('onnxruntime', 'tokenizers', 'ctypes.util') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
