"""From a language model's checkpoint to a folder that the server takes: graph, tokenizer, manifest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx_ir as ir

from engine_build.halve import halve_weights
from engine_build.llm_parity import Parity, check_parity
from riposte.errors import ModelError
from riposte.manifest import MANIFEST_NAME, Manifest, Source, describe, write_manifest

_GRAPH, _WEIGHTS = "model.onnx", "model.onnx.data"
_GENAI_CONFIG, _TOKENIZER_CONFIG = "genai_config.json", "tokenizer_config.json"
_NEEDED = ("config.json", "tokenizer.json", _TOKENIZER_CONFIG)
_RUNTIME = ("onnxruntime", "onnxruntime-genai", "torch", "transformers", "onnx-ir", "tokenizers")
# protobuf ends at 2 GiB; up to here a graph is one file, which is easier to keep whole.
_SINGLE_FILE_BYTES = 1 << 30
# Logits for the last position alone: a reply needs no others, and a head of 152,000 tokens is a quarter
# of a small model's prefill. Sharing the embedding with a quantised head would quantise it silently.
_OPTIONS = ("prune_lm_head=true",)
_QUANTISED_OPTIONS = ("shared_embeddings=false",)


def build_llm(
    checkpoint: Path,
    out: Path,
    *,
    name: str,
    precision: str = "fp32",
    rebuild: str,
    source: Source | None = None,
) -> Manifest:
    """Build the model folder `out` from a decoder's checkpoint in transformers' layout.

    When anything fails, `out` stays as it was. `name` becomes the manifest's id, `rebuild` the command
    it names; `precision` is the builder's: "fp32", "int8", "int4"; `source` says where the weights come
    from (their hash is added). Greedy replies are compared with transformers': in fp32 they must agree
    token for token. Raises ModelError when the checkpoint is incomplete, the export fails or differs.
    """
    for needed in _NEEDED:
        if not (checkpoint / needed).is_file():
            raise ModelError(f"{needed} is missing in {checkpoint}")
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST_NAME).is_file():
        raise ModelError(f"{out} exists and is no built model; move it away first")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside `out`, because a rename works within one file system only.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        folder = Path(scratch) / "new"
        folder.mkdir()
        exported = Path(scratch) / "exported"
        run_builder(checkpoint, exported, precision)
        halved = _store_graph(exported, folder)
        shutil.copyfile(exported / _GENAI_CONFIG, folder / _GENAI_CONFIG)
        copy_tokenizer(checkpoint, folder)
        parity = check_parity(checkpoint, folder)
        if precision == "fp32":
            parity.require()
        manifest = Manifest(
            id=name,
            kind="llm",
            architecture=_architecture(checkpoint),
            precision=precision,
            source=_source(checkpoint, source or Source(name=name)),
            files=describe(folder, sorted(path.name for path in folder.iterdir())),
            rebuild=rebuild,
            runtime={package: version(package) for package in _RUNTIME},
            shapes=_shapes(folder),
            built={"halved_weights": halved, "parity": _rounded(parity)},
        )
        write_manifest(folder, manifest)
        if out.exists():
            out.rename(Path(scratch) / "old")
        folder.rename(out)
    return manifest


def run_builder(checkpoint: Path, out: Path, precision: str) -> None:
    """Run onnxruntime-genai's builder in a process of its own, offline. Raises ModelError.

    A process, because it keeps what it has read: half a gigabyte for the smallest model.
    """
    options = _OPTIONS + (_QUANTISED_OPTIONS if precision.startswith("int") else ())
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    command += ["-m", str(checkpoint), "-o", str(out), "-p", precision, "-e", "cpu"]
    command += ["-c", str(out.parent / "cache"), "--extra_options", *options]
    silent = {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}
    ran = subprocess.run(command, env=os.environ | silent, capture_output=True, text=True, check=False)
    if ran.returncode != 0 or not (out / _GRAPH).is_file():
        last = (ran.stderr.strip() or ran.stdout.strip()).splitlines()[-3:]
        raise ModelError(f"onnxruntime-genai cannot export {checkpoint}: {' '.join(last)}")


def copy_tokenizer(checkpoint: Path, folder: Path) -> None:
    """Copy tokenizer and reply settings from the checkpoint, its chat template inside the configuration.

    Not from the builder's output: transformers 5 rebuilds the tokenizer from its class's idea of it (for
    Qwen2 another splitting rule and an NFC normaliser), and so changes tokens of a model that differs.
    """
    shutil.copyfile(checkpoint / "tokenizer.json", folder / "tokenizer.json")
    config = json.loads((checkpoint / _TOKENIZER_CONFIG).read_text(encoding="utf-8"))
    template = checkpoint / "chat_template.jinja"  # where transformers 5 puts it
    if template.is_file():
        config["chat_template"] = template.read_text(encoding="utf-8")
    if not isinstance(config.get("chat_template"), str):
        raise ModelError(f"{checkpoint} has no chat template")
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (folder / _TOKENIZER_CONFIG).write_text(f"{text}\n", encoding="utf-8")
    generation = checkpoint / "generation_config.json"
    if generation.is_file():
        shutil.copyfile(generation, folder / generation.name)


def _store_graph(exported: Path, folder: Path) -> int:
    """Write the exported graph, as one file if it is small. Returns how many weights became fp16."""
    weights = exported / _WEIGHTS
    model = ir.load(exported / _GRAPH)
    halved = halve_weights(model)
    large = weights.is_file() and weights.stat().st_size > _SINGLE_FILE_BYTES
    if not large:
        model = ir.external_data.load_to_model(model)
    ir.save(model, folder / _GRAPH, external_data=_WEIGHTS if large else None)
    return halved


def weights_sha256(checkpoint: Path) -> str:
    """Return the hex SHA-256 of a checkpoint's safetensors files, one after the other by name."""
    digest = hashlib.sha256()
    for path in sorted(checkpoint.glob("*.safetensors")):
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _source(checkpoint: Path, origin: Source) -> Source:
    return Source(origin.name, origin.revision, weights_sha256(checkpoint), origin.licence)


def _architecture(checkpoint: Path) -> str:
    return str(json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))["model_type"])


def _shapes(folder: Path) -> dict[str, Any]:
    model = json.loads((folder / _GENAI_CONFIG).read_text(encoding="utf-8"))["model"]
    decoder = model["decoder"]
    kept = ("num_hidden_layers", "num_key_value_heads", "head_size", "hidden_size")
    return {"context": model["context_length"], "vocabulary": model["vocab_size"]} | {
        key: decoder[key] for key in kept
    }


def _rounded(parity: Parity) -> dict[str, Any]:
    """Keep three digits of what was measured: more would differ from machine to machine."""
    figures = asdict(parity)
    return {k: float(f"{v:.2e}") if isinstance(v, float) else v for k, v in figures.items()}
