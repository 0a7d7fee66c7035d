"""Hear whether a turn is over: models of Smart Turn's contract on plain onnxruntime.

Contract of the graph (Smart Turn v3, BSD-2): `input_features` f32[1,80,800], Whisper's log-mel of the last
8 s, to which shorter sound is filled up with silence in front, each time brought to mean 0 and variance 1
before the spectrogram → one f32, the probability that the turn is complete. A manifest beside it says kind
"turn", architecture "smart-turn".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from riposte.backends.worker import Worker
from riposte.errors import ConfigError, EngineError, ModelError
from riposte.interfaces import SPEECH_RATE_HZ, PcmF32
from riposte.manifest import check_manifest
from riposte.mel import log_mel

_WINDOW_S = 8.0
_SAMPLES = int(_WINDOW_S * SPEECH_RATE_HZ)
_INPUT = "input_features"
_SHAPE = (1, 80, 800)
_FLOAT = "tensor(float)"
_EPSILON = 1e-7  # transformers': a window of silence stays one


class SmartTurn:
    """Satisfies TurnDetector. Constructing blocks while the model loads and runs twice.

    `threads` is what one run of the graph may use. Raises ModelError for a folder that is missing, damaged or
    of another kind, and for a graph of another contract, ConfigError for an option that does not fit.
    """

    window_s = _WINDOW_S

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        if threads < 1:
            raise ConfigError(
                f"option threads of the turn detector is {threads}; a whole number from 1 up fits"
            )
        manifest = check_manifest(folder)
        if (manifest.kind, manifest.architecture) != ("turn", "smart-turn"):
            raise ModelError(
                f"{folder} holds a {manifest.architecture} model of kind {manifest.kind!r}, and a smart-turn"
                " one of kind 'turn' is needed"
            )
        graphs = [file.name for file in manifest.files if file.name.endswith(".onnx")]
        if len(graphs) != 1:
            raise ModelError(
                f"the manifest in {folder} names {len(graphs)} .onnx files; it needs exactly one"
            )
        self._name = manifest.id
        self._session = _open(folder / graphs[0], threads)
        self._worker = Worker(self._name)
        try:
            # Logits may look like a probability once; a probability is one for a hiss too.
            self._judge(np.zeros(0, np.float32))
            self._judge(np.random.default_rng(0).standard_normal(_SAMPLES, np.float32))
        except Exception as exc:  # onnxruntime's own too: a graph whose parts do not fit together
            raise ModelError(f"the graph in {folder} cannot be used: {exc}") from exc

    @property
    def name(self) -> str:
        return self._name

    @property
    def active(self) -> int:
        return self._worker.active

    @property
    def alive(self) -> bool:
        """Tell whether the model's thread runs; /health shows it."""
        return self._worker.alive

    async def warm_up(self) -> None:
        """Run the one shape that there is, in the model's thread."""
        await self._worker.run(lambda: self._judge(np.zeros(0, np.float32)))

    async def aclose(self) -> None:
        """End the thread; whoever waits gets EngineError. May be called twice."""
        await self._worker.aclose()

    async def finished(self, pcm: PcmF32) -> float:
        """Return how probable it is that the turn ends behind `pcm`; see TurnDetector.

        Of more than `window_s` the end counts. Cancelling drops what has not begun; a run in flight, 12 to
        60 ms, goes on to its end. Raises EngineError when the model fails.
        """
        heard = np.array(pcm[-_SAMPLES:], np.float32)  # a copy: the caller's buffer may be reused
        return await self._worker.run(lambda: self._judge(heard))

    def _judge(self, pcm: PcmF32) -> float:
        result = self._session.run(None, {_INPUT: features(pcm)})[0]
        chance = float(result.reshape(-1)[0])
        if not 0.0 <= chance <= 1.0:
            raise EngineError(f"the {self._name} model gives {chance:g}, which is no probability")
        return chance


def features(pcm: PcmF32) -> PcmF32:
    """Return what the model reads of up to 8 s at 16 kHz: f32 [1, 80, 800]."""
    window = np.zeros(_SAMPLES, np.float32)
    window[_SAMPLES - len(pcm) :] = pcm
    window -= window.mean(dtype=np.float64)
    window /= np.sqrt(window.var(dtype=np.float64) + _EPSILON)
    return log_mel(window, _SHAPE[1])


def _open(path: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's exceptions have no common base but this
        raise ModelError(f"the graph {path} does not load ({exc}); build the model again") from exc
    difference = _difference(session)
    if difference is not None:
        raise ModelError(f"{path} is no graph of Smart Turn's contract: {difference}")
    return session


def _difference(session: Any) -> str | None:
    """Say how a graph differs from the contract; None where it does not. A size left open fits."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = [node.name for node in inputs]
    if names != [_INPUT]:
        return f"it takes {', '.join(names) or 'nothing'}, and {_INPUT} alone is needed"
    (taken,) = inputs
    if taken.type != _FLOAT:
        return f"{_INPUT} is {taken.type}, and {_FLOAT} is needed"
    if len(taken.shape) != len(_SHAPE) or any(
        isinstance(size, int) and size != wanted for size, wanted in zip(taken.shape, _SHAPE, strict=True)
    ):
        return f"{_INPUT} has shape {taken.shape}, and {list(_SHAPE)} is needed"
    made = outputs[0]
    if made.type != _FLOAT:
        return f"{made.name} is {made.type}, and {_FLOAT} is needed"
    if any(isinstance(size, int) and size != 1 for size in made.shape):
        return f"{made.name} has shape {made.shape}, and a single number is needed"
    return None
