"""Export the two graphs of a Whisper."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from engine_build.halve import halve_weights
from engine_build.whisper.network import OPSET, Decoder, Encoder, WhisperEncoder
from engine_build.whisper.weights import WhisperShape


def encoder_names(shape: WhisperShape) -> list[str]:
    """Name the encoder's outputs, which are the decoder's cross inputs, in order."""
    return _pairs("cross", shape)


def export_encoder(
    encoder: Encoder, decoder: Decoder, shape: WhisperShape, path: Path, *, half: bool
) -> None:
    """Write `encoder.onnx`: `input_features` f32 [1, mels, 2T] to `cross_key_i`, `cross_value_i`.

    T is free from 1 to the model's window; keys and values are f32 [1, H, T, hd] for each decoder layer.
    """
    # 2T: an odd number of frames is refused here already, by the shape's own name.
    half_frames = torch.export.Dim("T", min=2, max=shape.source_positions)
    example = min(50, shape.source_positions)
    program = _export(
        WhisperEncoder(encoder, decoder).eval(),
        (torch.zeros(1, shape.mels, 2 * example),),
        input_names=["input_features"],
        output_names=encoder_names(shape),
        dynamic_shapes={"input_features": {2: 2 * half_frames}},
    )
    _save(program, path, half=half, free={"input_features": (2, "2*T"), "cross": (2, "T")})


def export_decoder(decoder: Decoder, shape: WhisperShape, path: Path, *, half: bool) -> None:
    """Write `decoder.onnx`; its inputs and outputs are those of `Decoder.forward`, under these names:

    `input_ids`, `position`, `logit_bias`, `past_key_i`, `past_value_i`, `cross_key_i`, `cross_value_i` to
    `next_token`, `logprob`, `no_speech` (if the tokenizer has one), `present_key_i`, `present_value_i`.
    Bind each `present` to its `past` buffer: the new rows are then written in place.
    """
    heads, width = shape.decoder_heads, shape.head_dim
    tokens, source = torch.export.Dim("S", min=1, max=shape.target_positions), torch.export.Dim("T", min=1)
    pairs = 2 * shape.decoder_layers
    # Examples of 1 would be taken for constants.
    cross = [torch.zeros(1, heads, 7, width) for _ in range(pairs)]
    past = [torch.zeros(1, heads, shape.target_positions, width) for _ in range(pairs)]
    no_speech = [] if decoder.no_speech is None else ["no_speech"]
    program = _export(
        decoder,
        (
            torch.zeros(1, 3, dtype=torch.int64),
            torch.zeros(1, dtype=torch.int64),
            torch.zeros(1, shape.vocab),
            past,
            cross,
        ),
        input_names=["input_ids", "position", "logit_bias", *_pairs("past", shape), *_pairs("cross", shape)],
        output_names=["next_token", "logprob", *no_speech, *_pairs("present", shape)],
        dynamic_shapes=({1: tokens}, None, None, [None] * pairs, [{2: source}] * pairs),
    )
    tokens_of = dict.fromkeys(("input_ids", "next_token", "logprob"), (1, "S"))
    _save(program, path, half=half, free={**tokens_of, "cross": (2, "T")})


def _pairs(prefix: str, shape: WhisperShape) -> list[str]:
    return [f"{prefix}_{part}_{i}" for i in range(shape.decoder_layers) for part in ("key", "value")]


def _export(module: Any, example: tuple[Any, ...], **names: Any) -> Any:
    """Call torch's exporter without the notes it makes about itself."""
    # It warns of every torchvision operator that it cannot register.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Of its use of a deprecated class, and of free dimensions left unnamed: `_save` names them.
        warnings.filterwarnings("ignore", message=".*treespec", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*dynamic axes will not be renamed", category=UserWarning)
        return torch.onnx.export(module, example, opset_version=OPSET, dynamo=True, verbose=False, **names)


def _save(program: Any, path: Path, *, half: bool, free: dict[str, tuple[int, str]]) -> None:
    """Write a graph as one file, or with its weights beside it where they come near protobuf's 2 GiB.

    `free` names the free dimensions for people: axis and name by the first letters of an input or output.
    """
    program.optimize()
    model: ir.Model = program.model
    model.producer_name = "riposte"
    for value in (*model.graph.inputs, *model.graph.outputs):
        for start, (axis, name) in free.items():
            if value.name is not None and value.name.startswith(start) and value.shape is not None:
                value.shape[axis] = name
    if half:
        halve_weights(model)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    if size < 1 << 30:
        ir.save(model, path)
    else:
        ir.save(model, path, external_data=f"{path.name}.data")
