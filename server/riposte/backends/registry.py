"""Which class plays a role under which name. A back end is imported only when it is chosen."""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import Any

from riposte.errors import ConfigError

# kind → name → "module:class"
BACKENDS = MappingProxyType(
    {
        "llm": {"onnx": "riposte.backends.llm_onnx:OnnxLlm", "fake": "riposte.backends.fake:FakeLlm"},
        "asr": {
            "whisper": "riposte.backends.asr_whisper:WhisperAsr",
            "fake": "riposte.backends.fake:FakeAsr",
        },
        "tts": {"espeak": "riposte.backends.tts_espeak:EspeakTts", "fake": "riposte.backends.fake:FakeTts"},
        "turn": {
            "smart": "riposte.backends.turn_smart:SmartTurn",
            "fake": "riposte.backends.fake:FakeTurn",
        },
        "vad": {"silero": "riposte.backends.vad_silero:SileroVad", "fake": "riposte.backends.fake:FakeVad"},
    }
)


def load_backend(kind: str, name: str) -> type[Any]:
    """Import and return the class of a back end.

    `kind` is a role ("llm", "asr", "tts", "turn", "vad"). Raises ConfigError, which lists what there is,
    for a kind or name that is not in the table; an ImportError of the module itself passes unchanged.
    """
    if kind not in BACKENDS:
        raise ConfigError(f"no models of kind {kind!r}; there are: {', '.join(BACKENDS)}")
    names = BACKENDS[kind]
    if name not in names:
        raise ConfigError(f"no {kind} back end called {name!r}; there are: {', '.join(names)}")
    module, _, attribute = names[name].partition(":")
    backend: type[Any] = getattr(importlib.import_module(module), attribute)
    return backend
