"""What is built on this machine, and whether it can be served: `riposte models`, `riposte check`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from riposte.backends.registry import load_backend
from riposte.config import Config, Part, Profile, load_profile, part_folder, profile_names
from riposte.errors import ConfigError, ModelError
from riposte.manifest import MANIFEST_NAME, Manifest, check_manifest, read_manifest


def describe_models(config: Config) -> Iterator[str]:
    """Yield lines that list each profile, its parts, their sizes and licences; * marks what is served."""
    names = profile_names(config)
    if not names:
        yield f"no profile in {config.models_dir}; run `make engines`"
        return
    try:
        chosen = load_profile(config).name
    except ConfigError:
        chosen = ""
    for name in names:
        yield f"{'*' if name == chosen else ' '} {name}"
        try:
            profile = load_profile(_with_profile(config, name))
        except ConfigError as exc:
            yield f"    {exc}"
            continue
        for kind, part in profile.parts().items():
            yield f"    {kind:4} {part.backend:8} {_model_of(part_folder(config, profile, part))}"


def check_models(config: Config) -> Iterator[str]:
    """Yield what was found to be in order, part by part, and last what to type next.

    Raises ConfigError or ModelError at the first thing that is not, with what mends it.
    """
    yield "ok  settings"
    profile = load_profile(config)
    if not config.server.fake:
        yield f"ok  profile {profile.name} in {config.models_dir}"
    for kind, part in profile.parts().items():
        folder = part_folder(config, profile, part)
        if folder is not None:
            manifest = check_manifest(folder)
            if manifest.kind != kind:
                raise ModelError(f"{folder} holds a model of kind {manifest.kind}, and {kind} needs another")
        _check_backend(profile, kind, part)
        yield f"ok  {kind:4} {part.backend:8} {_model_of(folder)}"
    flag = " --fake" if config.server.fake else f" --profile {profile.name}"
    yield f"next: riposte serve{flag}"


def _check_backend(profile: Profile, kind: str, part: Part) -> None:
    try:
        load_backend(kind, part.backend)
    except ImportError as exc:
        raise ModelError(
            f"profile {profile.name}: the {kind} back end {part.backend} needs the package {exc.name}; "
            "run `make setup`"
        ) from exc
    # It is imported by a helper process when it starts, so that the import above says nothing of it.
    if part.backend == "espeak" and importlib.util.find_spec("espeakng_loader") is None:
        raise ModelError('the espeak voice needs a package; run `pip install "riposte-server[espeak]"`')


def _model_of(folder: Path | None) -> str:
    """Describe a model's folder in a line."""
    if folder is None:
        return "(no model of ours)"
    if not (folder / MANIFEST_NAME).is_file():
        return f"{folder.name}: not built; run `make engines`"
    try:
        manifest = read_manifest(folder)
    except ModelError as exc:
        return str(exc)
    licence = manifest.source.licence or "licence not stated"
    return f"{manifest.id}, {manifest.architecture}, {manifest.precision}, {_size_of(manifest)}, {licence}"


def _size_of(manifest: Manifest) -> str:
    size = sum(file.bytes for file in manifest.files)
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _with_profile(config: Config, name: str) -> Config:
    import msgspec

    server = msgspec.structs.replace(config.server, profile=name, fake=False)
    return msgspec.structs.replace(config, server=server)
