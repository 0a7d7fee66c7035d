"""Read a Whisper checkpoint: `config.json` and safetensors, as transformers writes them.

transformers itself is not needed for it; it is the judge of parity (`parity.py`), not a part of the way.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from riposte.errors import ModelError
from riposte.manifest import sha256_of

_ONE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class WhisperShape:
    """Sizes of the network. Encoder and decoder may differ in depth, heads and width of the middle."""

    d_model: int
    mels: int
    vocab: int
    encoder_layers: int
    encoder_heads: int
    encoder_ffn: int
    decoder_layers: int
    decoder_heads: int
    decoder_ffn: int
    source_positions: int  # T at most: half the mel frames
    target_positions: int  # L: prompt and text together

    @property
    def head_dim(self) -> int:
        """Width of a head of the decoder, hence of every cache."""
        return self.d_model // self.decoder_heads


def read_shape(checkpoint: Path) -> WhisperShape:
    """Read the sizes from `config.json`. Raises ModelError when it is not a Whisper that we can build."""
    config = _read_json(checkpoint / "config.json")
    if config.get("model_type") != "whisper":
        raise ModelError(f"{checkpoint} holds a {config.get('model_type')!r} model, not a Whisper")
    if config.get("activation_function", "gelu") != "gelu" or config.get("scale_embedding", False):
        raise ModelError(f"{checkpoint} is no ordinary Whisper: another activation, or scaled embeddings")
    try:
        shape = WhisperShape(
            d_model=config["d_model"],
            mels=config["num_mel_bins"],
            vocab=config["vocab_size"],
            encoder_layers=config["encoder_layers"],
            encoder_heads=config["encoder_attention_heads"],
            encoder_ffn=config["encoder_ffn_dim"],
            decoder_layers=config["decoder_layers"],
            decoder_heads=config["decoder_attention_heads"],
            decoder_ffn=config["decoder_ffn_dim"],
            source_positions=config["max_source_positions"],
            target_positions=config["max_target_positions"],
        )
    except KeyError as exc:
        raise ModelError(f"config.json in {checkpoint} lacks {exc}") from None
    if shape.d_model % shape.encoder_heads or shape.d_model % shape.decoder_heads:
        raise ModelError(f"d_model {shape.d_model} in {checkpoint} cannot be split into its heads")
    return shape


def weight_files(checkpoint: Path) -> list[Path]:
    """List the safetensors files of a checkpoint, one or several. Raises ModelError when there are none."""
    if (checkpoint / _ONE).is_file():
        return [checkpoint / _ONE]
    if (checkpoint / _INDEX).is_file():
        index = _read_json(checkpoint / _INDEX)
        return [checkpoint / name for name in sorted(set(index["weight_map"].values()))]
    raise ModelError(f"no {_ONE} and no {_INDEX} in {checkpoint}")


def weights_sha256(checkpoint: Path) -> str:
    """Return the hash of a checkpoint's weights; of several files, the hash of their hashes."""
    hashes = [sha256_of(path) for path in weight_files(checkpoint)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def read_weights(checkpoint: Path) -> dict[str, Any]:
    """Read every tensor as f32, on the CPU, under its name without the leading `model.`.

    `proj_out.weight` is left out when it is the token embedding again, as in every Whisper known.
    """
    tensors: dict[str, Any] = {}
    for path in weight_files(checkpoint):
        with safe_open(str(path), framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 (it is no dict)
                tensors[name.removeprefix("model.")] = stored.get_tensor(name).float()
    head = tensors.get("proj_out.weight")
    if head is not None and head.equal(tensors["decoder.embed_tokens.weight"]):
        del tensors["proj_out.weight"]
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ModelError that names the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(content, dict):
        raise ModelError(f"{path} does not hold a JSON object")
    return content
