"""A decoder graph of onnxruntime-genai's builder, run by plain onnxruntime.

Keys and values of all rows live in one buffer a layer, bound as past and as present: nothing is copied
from step to step, and to rewind a row is to forget its length. The caller keeps the lengths.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from riposte.errors import ModelError

CONFIG_FILE = "genai_config.json"
GENERATION_FILE = "generation_config.json"
_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
}

Logits = NDArray[np.floating[Any]]


class GraphConfig(msgspec.Struct, frozen=True):
    """What genai_config.json and generation_config.json say of a graph."""

    file: str
    layers: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context_tokens: int
    end_ids: frozenset[int]


def read_graph_config(folder: Path) -> GraphConfig:
    """Read both files. Raises ModelError, also for a graph whose cache cannot be shared."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        model, search = config["model"], config.get("search", {})
        decoder = model["decoder"]
        ends = _ids(model.get("eos_token_id"))
        generation = folder / GENERATION_FILE
        if generation.is_file():
            ends |= _ids(json.loads(generation.read_text(encoding="utf-8")).get("eos_token_id"))
        if not search.get("past_present_share_buffer", False):
            raise ModelError(
                f"the graph in {folder} cannot share its cache between steps; build it with -e cpu"
            )
        return GraphConfig(
            file=str(decoder["filename"]),
            layers=int(decoder["num_hidden_layers"]),
            kv_heads=int(decoder["num_key_value_heads"]),
            head_size=int(decoder["head_size"]),
            vocabulary=int(model["vocab_size"]),
            context_tokens=int(model["context_length"]),
            end_ids=frozenset(ends),
        )
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ModelError(f"{folder / CONFIG_FILE} cannot be used ({exc!r}); build the model again") from exc


def _ids(value: Any) -> set[int]:
    if value is None:
        return set()
    return {int(number) for number in value} if isinstance(value, list) else {int(value)}


class _Binding(msgspec.Struct):
    """The buffers of a run of rows, bound once. `keep` holds what onnxruntime only points to."""

    io: Any
    logits: Logits
    logits_value: Any
    keep: list[Any]


class Graph:
    """One session and the keys and values of `rows` conversations of `context_tokens` each.

    The buffers are reserved whole and touched as they fill: memory is bounded by rows · context · a
    token's size (`kv_bytes_per_token`). Not safe for two threads at a time; `forward` frees the GIL.
    """

    def __init__(
        self, folder: Path, config: GraphConfig, *, rows: int, context_tokens: int, threads: int
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # a terminated run is no error; others are raised and logged by us
        # A pattern is kept for every set of input shapes, and the mask grows each step: a slow leak.
        options.enable_mem_pattern = False
        # Spinning makes a step a fifth faster on an idle machine, at the price of the other models' cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                str(folder / config.file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # onnxruntime's exceptions have no common base but this
            raise ModelError(f"the graph in {folder} does not load ({exc}); build the model again") from exc
        inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = {node.name: node for node in self._session.get_outputs()}
        try:
            self._mask_type = _TYPES[inputs["attention_mask"].type]
            self._ids_type = _TYPES[inputs["input_ids"].type]
            kv_type = _TYPES[inputs["past_key_values.0.key"].type]
            self._logits_type = _TYPES[outputs["logits"].type]
        except KeyError as exc:
            raise ModelError(
                f"the graph in {folder} is not one of onnxruntime-genai's builder: {exc}"
            ) from exc
        self._has_positions = "position_ids" in inputs
        # With prune_lm_head there are logits of the last position alone: a fixed 1 in the shape.
        self._pruned = outputs["logits"].shape[1] == 1
        self._config = config
        self.rows = rows
        self.context_tokens = context_tokens
        shape = (rows, config.kv_heads, context_tokens, config.head_size)
        self._buffers = [np.zeros(shape, kv_type) for _ in range(2 * config.layers)]
        self.kv_bytes_per_token = sum(buffer[0, :, 0].nbytes for buffer in self._buffers)
        self._logits = np.zeros((rows, 1, config.vocabulary), self._logits_type)
        self._bindings: dict[tuple[int, int], _Binding] = {}

    def forward(
        self, low: int, high: int, ids: NDArray[np.int64], past: NDArray[np.int64], run: Any = None
    ) -> Logits:
        """Append tokens to the rows low … high-1 and return the logits after each row's last token.

        ids: int64[rows, tokens]; past: int64[rows], tokens that each row holds already; more than one
        token for one row only. Returns float[rows, V], valid until the next call. `run` is a fresh
        RunOptions whose `terminate` stops the call. Whatever happens, what `past` counts is unharmed.
        """
        count = ids.shape[1]
        binding = self._bind(low, high)
        io = binding.io
        after = past + count
        width = int(after.max())
        mask = (np.arange(width) < after[:, None]).astype(self._mask_type)
        tokens = np.ascontiguousarray(ids, dtype=self._ids_type)
        io.bind_cpu_input("input_ids", tokens)
        io.bind_cpu_input("attention_mask", mask)
        if self._has_positions:
            positions = np.ascontiguousarray(past[:, None] + np.arange(count), dtype=np.int64)
            io.bind_cpu_input("position_ids", positions)
        if self._pruned or count == 1:
            io.bind_ortvalue_output("logits", binding.logits_value)
            self._session.run_with_iobinding(io, run)
            return binding.logits[:, 0]
        io.bind_output("logits")
        self._session.run_with_iobinding(io, run)
        logits: Logits = io.get_outputs()[self._logits_index].numpy()
        return logits[:, -1]

    def warm_up(self, past: NDArray[np.int64], sizes: Sequence[int]) -> None:
        """Run one step of every batch size, and prompts of the given sizes in the emptiest row.

        past: int64[rows]. What is appended lies behind those tokens, where the next real one overwrites
        it; no row may be full.
        """
        for count in range(1, self.rows + 1):
            self.forward(0, count, np.zeros((count, 1), np.int64), past[:count])
        row = int(np.argmin(past))
        for size in sizes:
            if past[row] + size <= self.context_tokens:
                self.forward(row, row + 1, np.zeros((1, size), np.int64), past[row : row + 1])

    def swap(self, first: int, second: int, count: int) -> None:
        """Exchange two rows; `count` is the longer one's tokens."""
        if first == second:
            return
        for buffer in self._buffers:
            held = buffer[first, :, :count].copy()
            buffer[first, :, :count] = buffer[second, :, :count]
            buffer[second, :, :count] = held

    def _bind(self, low: int, high: int) -> _Binding:
        binding = self._bindings.get((low, high))
        if binding is None:
            io = self._session.io_binding()
            keep: list[Any] = []
            for layer in range(self._config.layers):
                for offset, kind in enumerate(("key", "value")):
                    # A view of whole rows is contiguous, so onnxruntime writes into our buffer.
                    value = ort.OrtValue.ortvalue_from_numpy(self._buffers[2 * layer + offset][low:high])
                    io.bind_ortvalue_input(f"past_key_values.{layer}.{kind}", value)
                    io.bind_ortvalue_output(f"present.{layer}.{kind}", value)
                    keep.append(value)
            logits = self._logits[: high - low]
            logits_value = ort.OrtValue.ortvalue_from_numpy(logits)
            # The first output bound is the first returned; logits follow the cache.
            self._logits_index = len(keep)
            io.bind_ortvalue_output("logits", logits_value)
            binding = self._bindings[low, high] = _Binding(io, logits, logits_value, keep)
        return binding


def run_options() -> Any:
    """Return fresh RunOptions. One per call: after `terminate` was set, an object is spent."""
    run = ort.RunOptions()
    run.log_severity_level = 4
    return run
