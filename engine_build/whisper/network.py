"""Whisper's encoder and decoder in torch, shaped for export: what is served and nothing more.

Parameters have transformers' names, so `load_state_dict(strict=True)` proves that no weight is missed.
It is written to be traced only: attention is an ONNX node that torch itself cannot compute, so what
runs is compared with transformers (`parity.py`), never with this.

The encoder takes any even number of mel frames (transformers' insists on the whole window) and ends in
the keys and values that the decoder's cross-attention needs, computed once. The decoder keeps its
self-attention's keys and values in a cache of fixed length, written in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine_build.whisper.weights import WhisperShape

OPSET = 24  # TensorScatter and Attention with a 4-D cache


class Projections(nn.Module):
    """The four matrices of an attention, with Whisper's odd biases (none on the keys)."""

    def __init__(self, d_model: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model)
        self.q_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def split(self, states: Tensor) -> Tensor:
        """Turn [1, n, d] into heads [1, H, n, d / H]."""
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def mix(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend [1, H, S, hd] to [1, H, N, hd]; `mask` is bool [S, N], true where one may look.

        An ONNX `Attention` node, so that a runtime can choose its own kernel.
        """
        mixed = torch.onnx.ops.symbolic(
            "Attention",
            [queries, keys, values, *([] if mask is None else [mask])],
            dtype=queries.dtype,
            shape=queries.shape,
            version=OPSET,
        )
        return self.out_proj(mixed.transpose(1, 2).flatten(-2))


class _Layer(nn.Module):
    """What encoder and decoder layers share: self-attention's parts and the feed-forward."""

    def __init__(self, d_model: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.self_attn = Projections(d_model, heads)
        self.self_attn_layer_norm = nn.LayerNorm(d_model)
        self.fc1 = nn.Linear(d_model, ffn)
        self.fc2 = nn.Linear(ffn, d_model)
        self.final_layer_norm = nn.LayerNorm(d_model)

    def feed(self, states: Tensor) -> Tensor:
        """Add the feed-forward's part."""
        return states + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(states))))


class EncoderLayer(_Layer):
    """One pre-norm block: every position sees every other."""

    def forward(self, states: Tensor) -> Tensor:
        """Return [1, T, d] after attention and feed-forward."""
        attn, normed = self.self_attn, self.self_attn_layer_norm(states)
        queries, keys, values = (
            attn.split(project(normed)) for project in (attn.q_proj, attn.k_proj, attn.v_proj)
        )
        return self.feed(states + attn.mix(queries, keys, values))


class DecoderLayer(_Layer):
    """One pre-norm block over a cache of its own and the encoder's keys and values."""

    def __init__(self, d_model: int, heads: int, ffn: int) -> None:
        super().__init__(d_model, heads, ffn)
        self.encoder_attn = Projections(d_model, heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(d_model)

    def forward(
        self,
        states: Tensor,
        position: Tensor,
        mask: Tensor,
        past: tuple[Tensor, Tensor],
        cross: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the states [1, S, d] and the cache [1, H, L, hd] x 2 with rows position … written."""
        attn, normed = self.self_attn, self.self_attn_layer_norm(states)
        keys = _scatter(past[0], attn.split(attn.k_proj(normed)), position)
        values = _scatter(past[1], attn.split(attn.v_proj(normed)), position)
        states = states + attn.mix(attn.split(attn.q_proj(normed)), keys, values, mask)
        attn, normed = self.encoder_attn, self.encoder_attn_layer_norm(states)
        states = states + attn.mix(attn.split(attn.q_proj(normed)), *cross)
        return self.feed(states), keys, values


class Encoder(nn.Module):
    """Two convolutions that halve the frame rate, positions, and blocks."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(shape.mels, shape.d_model, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.d_model, shape.d_model, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(shape.source_positions, shape.d_model)
        self.layers = nn.ModuleList(
            EncoderLayer(shape.d_model, shape.encoder_heads, shape.encoder_ffn)
            for _ in range(shape.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(shape.d_model)

    def forward(self, mel: Tensor) -> Tensor:
        """Turn f32 [1, mels, 2T] into [1, T, d]."""
        states = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        states = states + self.embed_positions.weight[: states.shape[1]]
        for layer in self.layers:
            states = layer(states)
        return self.layer_norm(states)


class WhisperEncoder(nn.Module):
    """`encoder.onnx`: mel to the keys and values of every decoder layer's cross-attention."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.cross = nn.ModuleList(layer.encoder_attn for layer in decoder.layers)

    def forward(self, input_features: Tensor) -> tuple[Tensor, ...]:
        """Turn f32 [1, mels, 2T] into key, value, key, value … each [1, H, T, hd]."""
        states = self.encoder(input_features)
        return tuple(
            attn.split(project(states)) for attn in self.cross for project in (attn.k_proj, attn.v_proj)
        )


class Decoder(nn.Module):
    """`decoder.onnx`: some tokens after those in the cache, to the next one after each of them.

    `no_speech` is the id of the token that says "no speech here"; None leaves that output out.
    """

    def __init__(self, shape: WhisperShape, *, tied: bool = True) -> None:
        super().__init__()
        self.shape = shape
        self.no_speech: int | None = None
        self.embed_tokens = nn.Embedding(shape.vocab, shape.d_model)
        self.embed_positions = nn.Embedding(shape.target_positions, shape.d_model)
        self.layers = nn.ModuleList(
            DecoderLayer(shape.d_model, shape.decoder_heads, shape.decoder_ffn)
            for _ in range(shape.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(shape.d_model)
        self.head = None if tied else nn.Parameter(torch.empty(shape.vocab, shape.d_model))

    def forward(
        self, input_ids: Tensor, position: Tensor, logit_bias: Tensor, past: list[Tensor], cross: list[Tensor]
    ) -> tuple[Tensor, ...]:
        """Run S tokens behind `position` others; S > 1 for a prompt, or to verify a draft.

        input_ids i64 [1, S]; position i64 [1]; logit_bias f32 [1, V], added to every row; past and cross:
        key, value of each layer, [1, H, L, hd] and [1, H, T, hd]. Rows of the cache from position + S on
        are never looked at, so nothing has to be cleaned after a rejected draft.
        Returns next_token i64 [1, S], logprob f32 [1, S] (of it, after the bias), no_speech f32 [1] (before
        the bias, first row), then the cache.
        """
        row = position + torch.arange(input_ids.shape[1])
        mask = torch.arange(self.shape.target_positions)[None, :] <= row[:, None]
        states = self.embed_tokens(input_ids) + self.embed_positions(row)
        present: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            pair = slice(2 * i, 2 * i + 2)
            states, *cache = layer(states, position, mask, tuple(past[pair]), tuple(cross[pair]))
            present += cache
        head = self.embed_tokens.weight if self.head is None else self.head
        logits = functional.linear(self.layer_norm(states), head)
        chosen = torch.log_softmax(logits + logit_bias, dim=-1)
        logprob, next_token = chosen.max(dim=-1)
        outputs = [next_token, logprob]
        if self.no_speech is not None:
            outputs.append(torch.log_softmax(logits[:, 0], dim=-1)[:, self.no_speech])
        return (*outputs, *present)


def build(shape: WhisperShape, weights: dict[str, Any]) -> tuple[Encoder, Decoder]:
    """Make both halves and fill them with the weights of `read_weights`.

    Raises RuntimeError (torch's) when a weight is missing, left over, or of another shape.
    """
    head = weights.get("proj_out.weight")
    encoder, decoder = Encoder(shape), Decoder(shape, tied=head is None)
    encoder.load_state_dict(_under(weights, "encoder."))
    decoder.load_state_dict(_under(weights, "decoder.") | ({} if head is None else {"head": head}))
    return encoder.eval(), decoder.eval()


def _under(weights: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _scatter(cache: Tensor, rows: Tensor, position: Tensor) -> Tensor:
    """Write [1, H, S, hd] into [1, H, L, hd] from `position` on; in place where the buffers are the same."""
    return torch.onnx.ops.symbolic(
        "TensorScatter",
        [cache, rows, position],
        {"axis": 2, "mode": "linear"},
        dtype=cache.dtype,
        shape=cache.shape,
        version=OPSET,
    )
