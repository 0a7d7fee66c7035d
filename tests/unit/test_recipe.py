"""Recipes are found, read, and refused in sentences that say what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine_build.recipe import checkpoint_of, load_recipe, recipe_names
from riposte.config import load_config, load_profile, part_folder
from riposte.errors import ConfigError, ModelError

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_can_be_read(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.parts
    assert recipe.rebuild == f"make engines PROFILE={name}"


@pytest.mark.parametrize("name", ["whisky", "", "../pico", "pico.toml"])
def test_an_unknown_recipe_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"there are: .*pico"):
        load_recipe(name)


def test_a_near_miss_is_pointed_out() -> None:
    with pytest.raises(ConfigError, match="did you mean pico"):
        load_recipe("pcio")


def test_pico_is_built_where_its_profile_looks() -> None:
    config = load_config(environ={}, flags={"server.profile": "pico"}).config
    profile = load_profile(config)
    wanted = {folder for part in profile.parts().values() if (folder := part_folder(config, profile, part))}
    built = {CHECKOUT / "onnx_models" / "pico" / part.folder for part in load_recipe("pico").parts}
    assert built <= wanted


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    part = load_recipe("pico").parts[0]
    with pytest.raises(ModelError, match=r"pico-hearing.*model\.safetensors is missing"):
        checkpoint_of(part, tmp_path)
