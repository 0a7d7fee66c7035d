"""Whisper's network in plain torch, under transformers' parameter names.

transformers' own encoder refuses any length but the full ten seconds; this one takes the frames there are and
uses the first rows of its positions. For a mel of exactly 1,000 frames both give the same numbers
(`hearing_checkpoint.check_against_transformers`).
"""

# torch is not installed where types are checked, so its classes and decorators are unknown there
# mypy: allow-subclassing-any, allow-untyped-decorators

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

CTC_LETTERS = " 'abcdefghijklmnopqrstuvwxyz"
"""The CTC head's classes from 1 on; class 0 is the blank."""


@dataclass(frozen=True, slots=True)
class HearingShape:
    """Sizes of the network; the names are those of transformers' `WhisperConfig`."""

    d_model: int = 128
    heads: int = 4
    encoder_layers: int = 4
    decoder_layers: int = 2
    ffn_dim: int = 512
    vocab_size: int = 512
    mel_bins: int = 80
    source_positions: int = 500  # 10 s at 50 positions a second
    target_positions: int = 96


class Attention(nn.Module):
    """Multi-head attention with Whisper's odd biases (none on the keys)."""

    def __init__(self, d_model: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model)
        self.q_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, states: Tensor, memory: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attend from `states` to `memory`, or to themselves when there is none."""
        source = states if memory is None else memory
        queries, keys, values = (
            proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for proj, x in ((self.q_proj, states), (self.k_proj, source), (self.v_proj, source))
        )
        if causal:  # torch's bfloat16 kernel is three times slower backwards than its float one
            with torch.autocast("cpu", enabled=False):
                mixed = functional.scaled_dot_product_attention(
                    queries.float(), keys.float(), values.float(), is_causal=True
                )
        else:  # spelled out it is faster still on one core: 16 ms a layer and batch, both ways, against 23
            with torch.autocast("cpu", enabled=False):
                scores = (queries * (queries.shape[-1] ** -0.5)) @ keys.transpose(-1, -2)
                mixed = scores.softmax(-1) @ values
        return cast(Tensor, self.out_proj(mixed.transpose(1, 2).flatten(-2)))


class EncoderLayer(nn.Module):
    """One pre-norm block of the encoder."""

    def __init__(self, shape: HearingShape) -> None:
        super().__init__()
        self.self_attn = Attention(shape.d_model, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.d_model)
        self.fc1 = nn.Linear(shape.d_model, shape.ffn_dim)
        self.fc2 = nn.Linear(shape.ffn_dim, shape.d_model)
        self.final_layer_norm = nn.LayerNorm(shape.d_model)

    def forward(self, states: Tensor) -> Tensor:
        """Return the states after attention and feed-forward."""
        states = states + self.self_attn(self.self_attn_layer_norm(states))
        return states + cast(Tensor, self.fc2(functional.gelu(self.fc1(self.final_layer_norm(states)))))


class DecoderLayer(nn.Module):
    """One pre-norm block of the decoder."""

    def __init__(self, shape: HearingShape) -> None:
        super().__init__()
        self.self_attn = Attention(shape.d_model, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.d_model)
        self.encoder_attn = Attention(shape.d_model, shape.heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(shape.d_model)
        self.fc1 = nn.Linear(shape.d_model, shape.ffn_dim)
        self.fc2 = nn.Linear(shape.ffn_dim, shape.d_model)
        self.final_layer_norm = nn.LayerNorm(shape.d_model)

    def forward(self, states: Tensor, memory: Tensor) -> Tensor:
        """Return the states after both attentions and feed-forward."""
        states = states + self.self_attn(self.self_attn_layer_norm(states), causal=True)
        states = states + self.encoder_attn(self.encoder_attn_layer_norm(states), memory)
        return states + cast(Tensor, self.fc2(functional.gelu(self.fc1(self.final_layer_norm(states)))))


def sinusoids(length: int, channels: int) -> Tensor:
    """Return Whisper's fixed encoder positions."""
    scales = np.exp(-np.log(10_000) / (channels // 2 - 1) * np.arange(channels // 2))
    angles = np.arange(length)[:, None] * scales[None, :]
    return torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32))


class Encoder(nn.Module):
    """Two convolutions that halve the frame rate, positions, and transformer blocks."""

    def __init__(self, shape: HearingShape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(shape.mel_bins, shape.d_model, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.d_model, shape.d_model, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(shape.source_positions, shape.d_model)
        self.embed_positions.weight.data.copy_(sinusoids(shape.source_positions, shape.d_model))
        self.embed_positions.requires_grad_(False)
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.encoder_layers))
        self.layer_norm = nn.LayerNorm(shape.d_model)

    def forward(self, mel: Tensor) -> Tensor:
        """Turn a mel [batch, 80, 2T] into states [batch, T, d]."""
        states = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        states = states + self.embed_positions.weight[: states.shape[1]]
        for layer in self.layers:
            states = layer(states)
        return cast(Tensor, self.layer_norm(states))


class Decoder(nn.Module):
    """Token embeddings, learned positions and blocks; the output matrix is the embedding's own."""

    def __init__(self, shape: HearingShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.d_model)
        self.embed_positions = nn.Embedding(shape.target_positions, shape.d_model)
        self.layers = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.decoder_layers))
        self.layer_norm = nn.LayerNorm(shape.d_model)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Return logits [batch, tokens, vocabulary]."""
        states = self.embed_tokens(tokens) + self.embed_positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            states = layer(states, memory)
        return functional.linear(self.layer_norm(states), self.embed_tokens.weight)


class HearingModel(nn.Module):
    """Encoder and decoder, named as in a transformers checkpoint once `model.` is put before."""

    def __init__(self, shape: HearingShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)
        # Outputs of the size of their inputs, not transformers' 0.02: that leaves attention even and the
        # convolutions drowned by the positions, and 1,700 steps passed without a letter recognised.
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                last = name.endswith(("out_proj", "fc2"))  # these add up over the blocks
                nn.init.normal_(module.weight, std=(0.3 if last else 0.8) * module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        for embedding in (self.decoder.embed_tokens, self.decoder.embed_positions):
            nn.init.normal_(embedding.weight, std=0.03)


@torch.inference_mode()
def transcribe(
    model: HearingModel, mel: Tensor, prompt: list[int], end: int, banned: list[int]
) -> list[list[int]]:
    """Decode a batch of equally long mels greedily; return each one's tokens without prompt and end.

    The whole prefix is decoded anew at each step: sentences have fewer than forty tokens, so a cache would
    save little and hide errors.
    """
    memory = model.encoder(mel)
    tokens = torch.tensor([prompt] * mel.shape[0])
    finished = torch.zeros(mel.shape[0], dtype=torch.bool)
    while not bool(finished.all()) and tokens.shape[1] < model.shape.target_positions:
        logits = model.decoder(tokens, memory)[:, -1].float()
        logits[:, banned] = -torch.inf
        chosen = logits.argmax(-1).masked_fill(finished, end)
        finished |= chosen == end
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
    rows = [row[len(prompt) :] for row in tokens.tolist()]
    return [row[: row.index(end)] if end in row else row for row in rows]
