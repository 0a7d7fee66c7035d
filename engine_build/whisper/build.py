"""From a checkpoint to a model folder that the server takes: graphs, tokenizer, manifest."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine_build.whisper.export import export_decoder, export_encoder
from engine_build.whisper.network import OPSET, build
from engine_build.whisper.parity import check_parity
from engine_build.whisper.weights import read_shape, read_weights, weights_sha256
from riposte.errors import ModelError
from riposte.manifest import MANIFEST_NAME, Manifest, Source, describe, write_manifest

_GRAPHS = ("encoder.onnx", "decoder.onnx")
_NEEDED = ("config.json", "generation_config.json", "tokenizer.json")
_KEPT = ("preprocessor_config.json",)
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")  # the second is the older name of the first
_RUNTIME = ("onnxruntime", "torch", "transformers", "onnxscript", "onnx-ir", "tokenizers")


def build_whisper(
    checkpoint: Path,
    out: Path,
    *,
    name: str,
    rebuild: str,
    source: Source | None = None,
    half: bool = True,
    tail_s: float = 0.4,
    floor_s: float = 1.0,
    phrase_s: float | None = None,
    tokens_a_second: float | None = None,
) -> Manifest:
    """Build the model folder `out` from a Whisper checkpoint in transformers' layout.

    When anything fails, `out` stays as it was.

    `name` becomes the manifest's id, `rebuild` the command it names; `source` says where the weights came
    from (their hash is added). `half` stores weights as fp16 where that is exact. `tail_s` is the silence
    that the server puts behind an utterance, `floor_s` the least it lets the model hear: a model that
    was trained on whole windows alone wants more of both. After `phrase_s` the server closes a segment at
    the next pause between sentences, for a model that was taught one or two. `tokens_a_second` is the
    most that fast speech can have. Parity with transformers is measured and kept.
    Raises ModelError when the checkpoint is incomplete or the graphs differ from it.
    """
    shape = read_shape(checkpoint)
    for needed in _NEEDED:
        if not (checkpoint / needed).is_file():
            raise ModelError(f"{needed} is missing in {checkpoint}")
    _check_suppressed(checkpoint, shape.vocab)
    encoder, decoder = build(shape, read_weights(checkpoint))
    decoder.no_speech = _no_speech_id(checkpoint, shape.vocab)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside `out`, because a rename works within one file system only.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        folder = Path(scratch) / "new"
        folder.mkdir()
        export_encoder(encoder, decoder, shape, folder / _GRAPHS[0], half=half)
        export_decoder(decoder, shape, folder / _GRAPHS[1], half=half)
        parity = check_parity(checkpoint, folder)
        parity.require()
        for kept in (*_NEEDED, *_KEPT):
            if (checkpoint / kept).is_file():
                shutil.copyfile(checkpoint / kept, folder / kept)
        origin = source or Source(name=name)
        manifest = Manifest(
            id=name,
            kind="asr",
            architecture="whisper",
            precision="fp32",
            source=Source(origin.name, origin.revision, weights_sha256(checkpoint), origin.licence),
            files=describe(folder, sorted(path.name for path in folder.iterdir())),
            rebuild=rebuild,
            runtime={package: version(package) for package in _RUNTIME}
            | {"python": platform.python_version()},
            rate_hz=16_000,
            shapes={
                "mels": shape.mels,
                "window_s": shape.source_positions / 50,
                "tail_s": tail_s,
                "floor_s": floor_s,
                "phrase_s": phrase_s,
                "tokens": shape.target_positions,
                "tokens_a_second": tokens_a_second or _tokens_a_second(shape.vocab),
            },
            built={"opset": OPSET, "weights_as_fp16_where_exact": half, "parity": _rounded(asdict(parity))},
        )
        write_manifest(folder, manifest)
        if out.exists():
            if not (out / MANIFEST_NAME).is_file():
                raise ModelError(f"{out} exists and is no built model; move it away first")
            out.rename(Path(scratch) / "old")
        folder.rename(out)
    return manifest


def _no_speech_id(checkpoint: Path, vocab: int) -> int | None:
    """Return the id of the token that says "no speech here"; None when the tokenizer has none."""
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    for token in tokenizer.get("added_tokens", ()):
        if token["content"] in _NO_SPEECH and token["id"] < vocab:
            return int(token["id"])
    return None


def _check_suppressed(checkpoint: Path, vocab: int) -> None:
    """Refuse lists of forbidden tokens that are another tokenizer's.

    transformers writes [220, 50256] into every fresh configuration: in a small vocabulary the first of
    them is a word, which an utterance could then never begin with.
    """
    settings = json.loads((checkpoint / "generation_config.json").read_text(encoding="utf-8"))
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        beyond = [token for token in settings.get(name) or () if token >= vocab]
        if beyond:
            raise ModelError(
                f"{name} in {checkpoint}/generation_config.json names {beyond} of {vocab} tokens: "
                "these are transformers' defaults for another tokenizer; write []"
            )


def _tokens_a_second(vocab: int) -> float:
    """Return what the fastest speech has, by the vocabulary's size.

    OpenAI's 50,000 tokens are 4 to 5 letters each: fast speech has 6 to 7 a second. pico's 512 are two
    letters: over 3,200 utterances of its training set 6.4 at the median, 12.3 at the 99th percentile and
    15.2 at the most.
    """
    return 8.0 if vocab > 10_000 else 16.0


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    """Keep three digits of what was measured: more would differ from machine to machine."""
    return {
        key: float(f"{value:.2e}") if isinstance(value, float) else value for key, value in figures.items()
    }
