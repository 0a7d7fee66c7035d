"""What a built model is: its files and their hashes, where it came from, what it needs to run.

`engine_build` writes `manifest.json` beside each built model; the server checks it before it loads
anything, and refuses a mismatch with the command that mends it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from riposte.errors import ModelError

MANIFEST_NAME = "manifest.json"
_CHUNK_BYTES = 1 << 20


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str  # relative to the manifest's folder
    bytes: int
    sha256: str


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the weights came from."""

    name: str
    revision: str = ""
    sha256: str = ""  # of the checkpoint's weights
    licence: str = ""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One built model. `runtime` names packages and the versions it was built and checked with."""

    id: str
    kind: str  # "asr", "llm", "tts", "vad", "turn"
    architecture: str  # "whisper", "qwen2", …
    precision: str  # "fp32", "fp16", "int4", …
    source: Source
    files: tuple[ModelFile, ...]
    rebuild: str  # the command that builds it again
    runtime: dict[str, str] = {}
    rate_hz: int | None = None
    gpu_arch: str | None = None  # "sm_89"; None: any machine
    shapes: dict[str, Any] = {}
    built: dict[str, Any] = {}  # arguments, parity figures


def describe(folder: Path, names: list[str]) -> tuple[ModelFile, ...]:
    """Hash the named files of a folder, in the order given."""
    return tuple(ModelFile(name, (folder / name).stat().st_size, sha256_of(folder / name)) for name in names)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest beside its model, in a form that people can read and git can diff."""
    text = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)
    (folder / MANIFEST_NAME).write_bytes(text + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Read a model's manifest without looking at its files. Raises ModelError."""
    path = folder / MANIFEST_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise ModelError(f"no model in {folder}: {MANIFEST_NAME} is missing; run `make engines`") from None
    except (msgspec.MsgspecError, OSError) as exc:
        raise ModelError(f"{path} cannot be read ({exc}); run `make engines` again") from exc


def check_manifest(folder: Path, *, gpu_arch: str | None = None) -> Manifest:
    """Read a manifest and verify every file's size and hash, and the GPU it was built for.

    Raises ModelError that names the file and the command that builds the model again.
    """
    manifest = read_manifest(folder)
    mend = f"run `{manifest.rebuild}`"
    for file in manifest.files:
        path = folder / file.name
        if not path.is_file():
            raise ModelError(f"{path} is missing; {mend}")
        size = path.stat().st_size
        if size != file.bytes:
            raise ModelError(f"{path} has {size} bytes, its manifest says {file.bytes}; {mend}")
        if sha256_of(path) != file.sha256:
            raise ModelError(f"{path} is damaged (its hash differs from its manifest's); {mend}")
    if manifest.gpu_arch is not None and manifest.gpu_arch != gpu_arch:
        here = gpu_arch or "not an NVIDIA GPU that Riposte can see"
        raise ModelError(f"{folder.name} was built for {manifest.gpu_arch}, this is {here}; {mend}")
    return manifest


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()
