"""Build a profile's models from their checkpoints, check them, and make it the profile that is served.

    python -m engine_build [pico]

Each builder measures parity with its checkpoint, and a build that fails leaves the model that was there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tqdm import tqdm

from engine_build.recipe import LAST_BUILT, MODELS, Part, Recipe, checkpoint_of, load_recipe, recipe_names
from riposte.errors import RiposteError
from riposte.manifest import Manifest, Source, check_manifest

DEFAULT = "pico"
FAILED, UNUSABLE = 3, 2  # the statuses of ModelError and ConfigError, as everywhere in Riposte


def main() -> int:
    """Build the recipe that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m engine_build", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", nargs="?", default=DEFAULT, help=f"one of: {', '.join(recipe_names())}")
    parser.add_argument("--models", type=Path, default=MODELS, help="where profiles are (onnx_models)")
    options = parser.parse_args()
    try:
        recipe = load_recipe(options.recipe)
    except RiposteError as exc:
        print(exc, file=sys.stderr)
        return UNUSABLE
    try:
        build(recipe, options.models)
    except RiposteError as exc:
        print(exc, file=sys.stderr)
        return FAILED
    return 0


def build(recipe: Recipe, models: Path) -> None:
    """Build every part of a recipe, and remember it as the one to serve. Raises ModelError."""
    home = models / recipe.name
    checkpoints = [checkpoint_of(part, home) for part in recipe.parts]  # all, before an hour goes into one
    began = time.perf_counter()
    shape = "{desc}: {bar} {n_fmt}/{total_fmt} parts, {elapsed}"
    with tqdm(total=len(recipe.parts), bar_format=shape, file=sys.stderr) as bar:
        for part, checkpoint in zip(recipe.parts, checkpoints, strict=True):
            bar.set_description(f"building {part.name}")
            manifest = build_part(part, checkpoint, home / part.folder, recipe.rebuild)
            bar.update()
            bar.write(summary(manifest), file=sys.stderr)
    (models / LAST_BUILT).write_text(f"{recipe.name}\n", encoding="utf-8")
    print(f"{recipe.name} is built, in {time.perf_counter() - began:.0f} s; `make run` serves it")


def build_part(part: Part, checkpoint: Path, out: Path, rebuild: str) -> Manifest:
    """Build one model and check what is there as the server will. A failed build leaves `out` as it was."""
    source = Source(name=part.source, licence=part.licence)
    # torch and transformers take seconds to import: only for the kind that is built.
    if part.kind == "whisper":
        from engine_build.whisper.build import build_whisper

        build_whisper(checkpoint, out, name=part.name, rebuild=rebuild, source=source, phrase_s=part.phrase_s)
    else:
        from engine_build.llm_onnx import build_llm

        build_llm(checkpoint, out, name=part.name, precision=part.precision, rebuild=rebuild, source=source)
    return check_manifest(out)


def summary(manifest: Manifest) -> str:
    """Say in a line what was built and how well it agrees with its checkpoint."""
    mib = sum(file.bytes for file in manifest.files) / (1 << 20)
    figures = ", ".join(f"{name} {value}" for name, value in manifest.built.get("parity", {}).items())
    return f"{manifest.id}: {manifest.architecture}, {manifest.precision}, {mib:.1f} MiB; parity: {figures}"


if __name__ == "__main__":
    sys.exit(main())
