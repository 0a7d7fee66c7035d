"""Recipes: which models make a profile, from which checkpoint each is built, and how.

A recipe is `engine_build/recipes/<profile>.toml`; the file's name is the profile's.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from riposte.errors import ConfigError, ModelError

RECIPES = Path(__file__).parent / "recipes"
MODELS = Path(__file__).parents[1] / "onnx_models"
LAST_BUILT = "last_built"  # names the profile that `riposte serve` takes when none is asked for


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of a profile."""

    folder: str  # where it is built, beside profile.toml
    kind: Literal["whisper", "llm"]
    checkpoint: str  # safetensors in the layout of transformers, beside profile.toml
    name: str
    source: str  # where the weights come from, in words
    licence: str  # of the weights
    phrase_s: float | None = None  # of a whisper: see build_whisper
    precision: Literal["fp32", "int8", "int4"] = "fp32"  # of an llm; whisper graphs are fp32


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A profile as it is built. `name` is the profile's."""

    name: str
    parts: tuple[Part, ...]

    @property
    def rebuild(self) -> str:
        """The command that builds it again; manifests and refusals quote it."""
        return f"make engines PROFILE={self.name}"


def recipe_names() -> list[str]:
    """List the recipes that there are, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str) -> Recipe:
    """Read a recipe. Raises ConfigError, which lists the known ones."""
    names = recipe_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no recipe called {name!r}{hint}; there are: {', '.join(names)}")
    path = RECIPES / f"{name}.toml"
    try:
        return msgspec.convert({"name": name} | tomllib.loads(path.read_text(encoding="utf-8")), Recipe)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        raise ConfigError(f"{path.name} cannot be used: {exc}") from exc


def checkpoint_of(part: Part, home: Path) -> Path:
    """Return the folder of a part's checkpoint. Raises ModelError when it is not there."""
    folder = home / part.checkpoint
    if not (folder / "model.safetensors").is_file():
        raise ModelError(f"no checkpoint of {part.name} in {folder}: model.safetensors is missing")
    return folder
