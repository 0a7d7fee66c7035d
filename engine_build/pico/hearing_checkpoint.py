"""Write and read hearing's checkpoint as transformers lays one out, and prove that it hears the same."""

# torch is not installed where types are checked, so its classes and decorators are unknown there
# mypy: allow-subclassing-any, allow-untyped-decorators

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine_build.pico.hearing_model import CTC_LETTERS, HearingModel, HearingShape
from engine_build.pico.hearing_words import Words

CHECKPOINT = Path("onnx_models/pico/checkpoints/hearing")


def configs(shape: HearingShape, words: Words) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a Whisper checkpoint, by name."""
    prompt, end = words.prompt, words.end
    return {
        "config.json": {
            "architectures": ["WhisperForConditionalGeneration"],
            "model_type": "whisper",
            "activation_function": "gelu",
            "d_model": shape.d_model,
            "encoder_layers": shape.encoder_layers,
            "encoder_attention_heads": shape.heads,
            "encoder_ffn_dim": shape.ffn_dim,
            "decoder_layers": shape.decoder_layers,
            "decoder_attention_heads": shape.heads,
            "decoder_ffn_dim": shape.ffn_dim,
            "num_hidden_layers": shape.encoder_layers,
            "num_mel_bins": shape.mel_bins,
            "max_source_positions": shape.source_positions,
            "max_target_positions": shape.target_positions,
            "vocab_size": shape.vocab_size,
            "scale_embedding": False,
            "tie_word_embeddings": True,
            "dropout": 0.0,
            "is_encoder_decoder": True,
            "decoder_start_token_id": prompt[0],
            "bos_token_id": end,
            "eos_token_id": end,
            "pad_token_id": end,
            "begin_suppress_tokens": [],
            "dtype": "float16",
        },
        "generation_config.json": {
            "decoder_start_token_id": prompt[0],
            "forced_decoder_ids": [[i, token] for i, token in enumerate(prompt[1:], start=1)],
            "bos_token_id": end,
            "eos_token_id": end,
            "pad_token_id": end,
            # the end itself must stay allowed at the beginning: it is how silence is written
            "begin_suppress_tokens": [],
            "suppress_tokens": sorted(words.never_written),
            "max_length": shape.target_positions,
            "is_multilingual": True,
            "lang_to_id": {"<|en|>": words.id("<|en|>")},
            "task_to_id": {"transcribe": words.id("<|transcribe|>")},
            "no_timestamps_token_id": words.id("<|notimestamps|>"),
            "return_timestamps": False,
        },
        "preprocessor_config.json": {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "processor_class": "WhisperProcessor",
            "feature_size": shape.mel_bins,
            "sampling_rate": 16_000,
            "hop_length": 160,
            "n_fft": 400,
            "chunk_length": shape.source_positions // 50,
            "n_samples": shape.source_positions * 320,
            "nb_max_frames": shape.source_positions * 2,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": shape.target_positions,
            "bos_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "clean_up_tokenization_spaces": False,
        },
    }


def save_checkpoint(model: HearingModel, ctc: nn.Linear, words: Words, folder: Path = CHECKPOINT) -> None:
    """Write the checkpoint, weights rounded to float16."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"model.{name}": tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()
    }
    save_file(weights, str(folder / "model.safetensors"), {"format": "pt"})
    head = {name: tensor.detach().half().contiguous() for name, tensor in ctc.state_dict().items()}
    save_file(
        head, str(folder / "ctc_head.safetensors"), {"format": "pt", "blank": "0", "letters": CTC_LETTERS}
    )
    for name in ("model.safetensors", "ctc_head.safetensors"):
        (folder / name).chmod(0o644)  # safetensors writes for the owner alone
    words.tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in configs(model.shape, words).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


@dataclass(slots=True)
class Hearing:
    """A checkpoint read back: network, CTC head and tokens, weights as float32."""

    model: HearingModel
    ctc: nn.Linear
    words: Words


def load_checkpoint(folder: Path = CHECKPOINT) -> Hearing:
    """Read a checkpoint written by `save_checkpoint`."""
    config = json.loads((folder / "config.json").read_text())
    shape = HearingShape(
        d_model=config["d_model"],
        heads=config["encoder_attention_heads"],
        encoder_layers=config["encoder_layers"],
        decoder_layers=config["decoder_layers"],
        ffn_dim=config["encoder_ffn_dim"],
        vocab_size=config["vocab_size"],
    )
    model, ctc = HearingModel(shape), nn.Linear(shape.d_model, len(CTC_LETTERS) + 1)
    weights = load_file(str(folder / "model.safetensors"))
    model.load_state_dict({name.removeprefix("model."): tensor.float() for name, tensor in weights.items()})
    ctc.load_state_dict(
        {name: tensor.float() for name, tensor in load_file(str(folder / "ctc_head.safetensors")).items()}
    )
    return Hearing(model.eval(), ctc.eval(), Words.load(folder / "tokenizer.json"))


@torch.inference_mode()
def check_against_transformers(folder: Path = CHECKPOINT) -> float:
    """Return the largest difference of the logits to transformers' own Whisper, for ten seconds of mel."""
    from transformers import WhisperForConditionalGeneration  # heavy, and only this check needs it

    ours = load_checkpoint(folder)
    theirs = WhisperForConditionalGeneration.from_pretrained(str(folder), dtype=torch.float32).eval()
    mel: Tensor = torch.randn(2, ours.model.shape.mel_bins, 2 * ours.model.shape.source_positions)
    tokens = torch.tensor([ours.words.prompt + ours.words.encode("turn on the light")] * 2)
    mine = ours.model.decoder(tokens, ours.model.encoder(mel))
    reference = theirs(input_features=mel, decoder_input_ids=tokens).logits
    return float((mine - reference).abs().max())
