"""Does the served graph say what transformers says? Measured on the same weights, at several lengths.

transformers' encoder insists on a full window of mel; its layers do not, so at other lengths they are
called one by one. At the full window this way of calling is itself compared with transformers' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from engine_build.whisper.weights import read_shape
from riposte.errors import ModelError

F32 = NDArray[np.float32]

RELATIVE = 1e-4
"""The largest difference allowed, relative to the largest value: fp32 in another order of summation."""


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest relative differences found, and how many greedy tokens were equal, of how many."""

    cross: float
    logits: float
    equal: int
    tokens: int

    def require(self) -> None:
        """Raise ModelError when the graph is not the checkpoint's."""
        if self.equal != self.tokens or not max(self.cross, self.logits) <= RELATIVE:
            raise ModelError(f"the exported graph differs from its checkpoint: {self}")


class Reference:
    """transformers' own network over a checkpoint, on the CPU in fp32."""

    def __init__(self, checkpoint: Path) -> None:
        from transformers import WhisperForConditionalGeneration
        from transformers.utils import logging

        logging.disable_progress_bar()  # it is a matter of milliseconds
        self.whole = (
            WhisperForConditionalGeneration.from_pretrained(
                checkpoint, dtype=torch.float32, local_files_only=True, attn_implementation="eager"
            )
            .eval()
            .requires_grad_(False)
        )
        self.window = 2 * self.whole.config.max_source_positions

    def states(self, mel: F32) -> Any:
        """Return the encoder's states [1, T, d] for f32 [1, mels, 2T], T free."""
        encoder = self.whole.model.encoder
        gelu = torch.nn.functional.gelu
        hidden = gelu(encoder.conv2(gelu(encoder.conv1(torch.from_numpy(mel))))).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            out = layer(hidden, None)
            hidden = out[0] if isinstance(out, tuple) else out
        hidden = encoder.layer_norm(hidden)
        if mel.shape[-1] == self.window:
            own = encoder(torch.from_numpy(mel)).last_hidden_state
            torch.testing.assert_close(hidden, own, rtol=1e-5, atol=1e-5)
        return hidden

    def cross(self, states: Any) -> list[F32]:
        """Return key, value, key, value … of the decoder's cross-attention, each [1, H, T, hd]."""
        heads = self.whole.config.decoder_attention_heads
        return [
            project(states).unflatten(-1, (heads, -1)).transpose(1, 2).contiguous().numpy()
            for layer in self.whole.model.decoder.layers
            for project in (layer.encoder_attn.k_proj, layer.encoder_attn.v_proj)
        ]

    def logits(self, states: Any, tokens: Sequence[int]) -> F32:
        """Return f32 [tokens, V]: what may follow each of these tokens, computed without a cache."""
        from transformers.modeling_outputs import BaseModelOutput

        out = self.whole(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            decoder_input_ids=torch.tensor([list(tokens)]),
            use_cache=False,
        )
        rows: F32 = out.logits[0].float().numpy()
        return rows


class Graphs:
    """The two exported graphs, with the decoder's logits made visible."""

    def __init__(self, folder: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.encoder = ort.InferenceSession(str(folder / "encoder.onnx"), options)
        self.names = [out.name for out in self.encoder.get_outputs()]
        self.decoder = ort.InferenceSession(_with_logits(folder / "decoder.onnx"), options)
        self.outputs = [o.name for o in self.decoder.get_outputs() if not o.name.startswith("present_")]
        self.vocab = next(i.shape[1] for i in self.decoder.get_inputs() if i.name == "logit_bias")
        self.past = {
            i.name: np.zeros(i.shape, np.float32)
            for i in self.decoder.get_inputs()
            if i.name.startswith("past_")
        }

    def cross(self, mel: F32) -> dict[str, F32]:
        """Run the encoder."""
        return dict(zip(self.names, self.encoder.run(None, {"input_features": mel}), strict=True))

    def step(
        self, cross: dict[str, F32], tokens: Sequence[int], position: int, bias: F32 | None = None
    ) -> dict[str, Any]:
        """Run the decoder over the shared cache, as it is served: present bound onto past."""
        binding = self.decoder.io_binding()
        feeds = {
            "input_ids": np.array([tokens], np.int64),
            "position": np.array([position], np.int64),
            "logit_bias": np.zeros((1, self.vocab), np.float32) if bias is None else bias,
            **cross,
        }
        for name, value in feeds.items():
            binding.bind_cpu_input(name, value)
        for name, buffer in self.past.items():
            shared = ort.OrtValue.ortvalue_from_numpy(buffer)
            binding.bind_ortvalue_input(name, shared)
            binding.bind_ortvalue_output(name.replace("past_", "present_"), shared)
        for name in self.outputs:
            binding.bind_output(name)
        self.decoder.run_with_iobinding(binding)
        # In the order of binding: the caches came first.
        made = binding.get_outputs()[len(self.past) :]
        return {name: value.numpy() for name, value in zip(self.outputs, made, strict=True)}


def check_parity(
    checkpoint: Path, folder: Path, *, frames: Sequence[int] = (), steps: int = 24, prompt: int = 4
) -> Parity:
    """Compare at several mel lengths: cross keys and values, logits, greedy tokens.

    `frames` are even numbers of mel frames; by default a tenth, a third and the whole of the window.
    Decoding goes on past the end token, so that every row of the cache takes its turn.
    """
    shape = read_shape(checkpoint)
    reference, graphs = Reference(checkpoint), Graphs(folder)
    window = 2 * shape.source_positions
    steps = min(steps, shape.target_positions - prompt)
    start = [shape.vocab - 1 - i for i in range(prompt)]
    worst_cross = worst_logits = 0.0
    equal = total = 0
    for length in frames or (window // 20 * 2, window // 6 * 2, window):
        mel = _mel_like(shape.mels, length)
        states = reference.states(mel)
        cross = graphs.cross(mel)
        wanted = reference.cross(states)
        worst_cross = max(worst_cross, *map(_relative, cross.values(), wanted))
        tokens = list(start)
        rows: list[F32] = []
        while len(tokens) < prompt + steps:
            fresh = tokens if len(tokens) == prompt else tokens[-1:]
            out = graphs.step(cross, fresh, len(tokens) - len(fresh))
            rows.append(out["logits"][0])
            tokens.append(int(out["next_token"][0, -1]))
        wanted_rows = reference.logits(states, tokens[:-1])
        worst_logits = max(worst_logits, _relative(np.concatenate(rows), wanted_rows))
        wanted_tokens = wanted_rows[prompt - 1 :].argmax(axis=1)
        equal += int((wanted_tokens == tokens[prompt:]).sum())
        total += steps
    return Parity(worst_cross, worst_logits, equal, total)


def _relative(mine: F32, wanted: F32) -> float:
    return float(np.abs(mine - wanted).max() / np.abs(wanted).max())


def _mel_like(mels: int, frames: int) -> F32:
    """Make something with a spectrogram's range and slow changes: f32 [1, mels, frames]."""
    rng = np.random.default_rng(frames)
    slow = np.cumsum(rng.standard_normal((1, mels, frames)), axis=2) * 0.1
    return np.clip(slow + 0.1 * rng.standard_normal((1, mels, frames)), -1, 1).astype(np.float32)


def _with_logits(path: Path) -> bytes:
    """Return the decoder with one output more: what the head gives, before the bias."""
    model = ir.load(path)
    biased = next(use.node for use in model.graph.inputs[2].uses())
    logits = next(value for value in biased.inputs if value is not None and value.producer() is not None)
    logits.name = "logits"
    model.graph.outputs.append(logits)
    return ir.to_proto(model).SerializeToString()  # type: ignore[no-any-return]
