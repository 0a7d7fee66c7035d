"""A Whisper's two graphs in onnxruntime: encode once, then step through tokens over a cache in place.

All of it runs in the model's own thread, but for `Stop.stop`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from riposte.errors import ModelError
from riposte.interfaces import PcmF32

_FATAL = 4  # a run that is stopped on purpose is no error worth a line on stderr


class Stopped(Exception):
    """The work was told to stop."""


class GaveWay(Exception):
    """The run was broken off for somebody who waits; it may be run again."""


class Stop:
    """Ends one piece of work from another thread, in the middle of a run if need be."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all that follows; held for an instant
        self._stopped = False
        self._gives_way = False
        self._current: Any = None

    def stop(self) -> None:
        """End the run in flight (some milliseconds later) and let no other begin. From any thread."""
        with self._lock:
            self._stopped = True
            self._break_off()

    def give_way(self) -> None:
        """End the run in flight some milliseconds later, or the next as it begins. From any thread."""
        with self._lock:
            self._gives_way = True
            self._break_off()

    def run(self, session: Any, binding: Any) -> None:
        """Run a bound graph.

        Raises Stopped when somebody called `stop`, before or during it; GaveWay on `give_way`, and then the
        same run may be asked for again: a graph that writes into a cache writes the same.
        """
        # The flag is sticky, hence new options for each run.
        options = ort.RunOptions()
        options.log_severity_level = _FATAL
        with self._lock:
            self._look()
            self._current = options
        try:
            session.run_with_iobinding(binding, options)
        except Exception:
            with self._lock:
                self._look()
            raise
        finally:
            with self._lock:
                self._current = None

    def _break_off(self) -> None:
        if self._current is not None:
            self._current.terminate = True

    def _look(self) -> None:
        if self._stopped:
            raise Stopped from None
        if self._gives_way:
            self._gives_way = False
            raise GaveWay from None


class WhisperGraph:
    """The sessions of one model folder and the caches that its decodings share out.

    `mels` rows a frame, `vocab` tokens, `tokens` that fit into the cache. Raises ModelError when the
    graphs do not load or are not what `engine_build` writes.
    """

    def __init__(self, folder: Path, *, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # lengths differ from run to run
        options.log_severity_level = 3  # errors: its warnings are for whoever builds the graph
        # Spinning saves microseconds a run and takes a core from the other models.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.encoder, self.decoder = (
                ort.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
                for name in ("encoder.onnx", "decoder.onnx")
            )
            shapes = {i.name: i.shape for i in (*self.encoder.get_inputs(), *self.decoder.get_inputs())}
            self.mels = int(shapes["input_features"][1])
            self.vocab = int(shapes["logit_bias"][1])
            self.tokens = int(shapes["past_key_0"][2])
        except (KeyError, TypeError, ValueError) as exc:
            raise ModelError(f"{folder.name}: not the graphs that engine_build writes ({exc!r})") from exc
        except Exception as exc:  # onnxruntime's own exceptions share no base but this
            raise ModelError(f"{folder.name}: onnxruntime cannot load it: {exc}") from exc
        self.cross_names = [out.name for out in self.encoder.get_outputs()]
        self.past = {name: shape for name, shape in shapes.items() if name.startswith("past_")}
        self.hears_no_speech = any(out.name == "no_speech" for out in self.decoder.get_outputs())
        self._idle: list[dict[str, PcmF32]] = []

    def encode(self, mel: PcmF32, stop: Stop) -> dict[str, Any]:
        """Return the cross-attention's keys and values for a mel f32 [1, mels, 2T]."""
        binding = self.encoder.io_binding()
        features = ort.OrtValue.ortvalue_from_numpy(mel)
        binding.bind_ortvalue_input("input_features", features)
        for name in self.cross_names:
            binding.bind_output(name)
        stop.run(self.encoder, binding)
        return dict(zip(self.cross_names, binding.get_outputs(), strict=True))

    def take_cache(self) -> dict[str, PcmF32]:
        """Return a self-attention cache that nobody uses: f32 [1, H, L, hd] by name.

        What an earlier decoding left in it does no harm: rows from the position on are never looked at.
        """
        if self._idle:
            return self._idle.pop()
        return {name: np.zeros(shape, np.float32) for name, shape in self.past.items()}

    def give_back(self, cache: dict[str, PcmF32]) -> None:
        """Let another decoding have this cache."""
        self._idle.append(cache)


class Decoding:
    """Tokens over one encoded stretch of sound. Give the cache back when it is over."""

    def __init__(self, graph: WhisperGraph, cross: dict[str, Any], cache: dict[str, PcmF32]) -> None:
        self._graph = graph
        self._position = 0
        self._binding = graph.decoder.io_binding()
        # Bound memory has to outlive the binding, hence the names held here.
        self._held: dict[str, Any] = dict(cross)
        for name, value in cross.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, buffer in cache.items():
            shared = self._input(name, buffer)
            self._binding.bind_ortvalue_output(name.replace("past_", "present_"), shared)
        self._at = np.zeros(1, np.int64)
        self._input("position", self._at)
        self._no_speech = np.zeros(1, np.float32)
        if graph.hears_no_speech:
            self._output("no_speech", self._no_speech)
        self._bias: PcmF32 | None = None
        self._take(1)

    @property
    def position(self) -> int:
        """How many tokens are in the cache."""
        return self._position

    @property
    def room(self) -> int:
        """How many more tokens fit into the cache."""
        return self._graph.tokens - self._position

    def rewind(self, position: int) -> None:
        """Go back, or forward again, to so many tokens; what was run is run over, or stands."""
        self._position = position

    def step(self, tokens: Sequence[int], bias: PcmF32, stop: Stop) -> list[tuple[int, float]]:
        """Run some tokens; return for each the one that follows it, and that one's log-probability.

        `bias` f32 [1, V] is added to the logits; it must not change while it is bound. Raises Stopped and
        GaveWay, having changed nothing.
        """
        if len(tokens) != self._ids.shape[1]:
            self._take(len(tokens))
        if bias is not self._bias:
            self._bias = bias
            self._input("logit_bias", bias)
        self._ids[0] = tokens
        self._at[0] = self._position
        stop.run(self._graph.decoder, self._binding)
        self._position += len(tokens)
        return list(zip(self._next[0].tolist(), self._logprob[0].tolist(), strict=True))

    @property
    def no_speech(self) -> float:
        """How probable the model finds it, behind the first token of the last step, that nobody speaks."""
        return float(np.exp(self._no_speech[0])) if self._graph.hears_no_speech else 0.0

    def _take(self, count: int) -> None:
        """Bind buffers for so many tokens a step; one at a time, they are bound once."""
        self._ids = np.zeros((1, count), np.int64)
        self._next = np.zeros((1, count), np.int64)
        self._logprob = np.zeros((1, count), np.float32)
        self._input("input_ids", self._ids)
        self._output("next_token", self._next)
        self._output("logprob", self._logprob)

    def _input(self, name: str, array: Any) -> Any:
        self._held[name] = value = ort.OrtValue.ortvalue_from_numpy(array)  # shares the array's memory
        self._binding.bind_ortvalue_input(name, value)
        return value

    def _output(self, name: str, array: Any) -> None:
        self._held[name] = value = ort.OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_output(name, value)
