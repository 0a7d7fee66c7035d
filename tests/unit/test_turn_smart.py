"""A model that hears whether a turn is over: what it is given, which graphs are refused, how it is served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import graphs
import numpy as np
import pytest
from conftest import load_config, serving
from smart_turn import WEIGHTS, smart_turn_folder, smart_turn_graph

from engine_build.turn_smart import main
from riposte.backends.turn_smart import SmartTurn, features
from riposte.config import FAKE_PROFILE, Part, load_profile
from riposte.errors import ConfigError, EngineError, ModelError
from riposte.inventory import check_models, describe_models
from riposte.mel import log_mel

RATE = 16_000
RNG = np.random.default_rng(4)


def test_short_sound_is_filled_up_in_front_and_brought_to_unit_variance() -> None:
    speech = RNG.normal(0.2, 0.05, 3 * RATE).astype(np.float32)
    window = np.concatenate([np.zeros(5 * RATE), speech])
    wanted = log_mel(((window - window.mean()) / window.std()).astype(np.float32), 80)
    made = features(speech)
    assert made.shape == (1, 80, 800)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, wanted, atol=1e-4)
    np.testing.assert_allclose(features(speech * 3), made, atol=1e-4)  # loud or quiet is the same


def test_silence_has_features() -> None:
    assert np.isfinite(features(np.zeros(0, np.float32))).all()


async def test_probability_is_the_graphs(tmp_path: Path) -> None:
    turn = SmartTurn(smart_turn_folder(tmp_path))
    speech = RNG.normal(0, 0.05, RATE).astype(np.float32)
    logit = float(features(speech).ravel() @ WEIGHTS[:, 0])
    assert await turn.finished(speech) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)
    assert turn.name == "tiny-turn"
    await turn.aclose()


@pytest.mark.parametrize(
    ("graph", "difference"),
    [
        ({"name": "input_values"}, "it takes input_values, and input_features alone is needed"),
        ({"kind": graphs.INT64}, r"input_features is tensor\(int64\), and tensor\(float\) is needed"),
        (
            {"shape": ("batch", 128, 800)},
            r"input_features has shape \['batch', 128, 800\], and \[1, 80, 800\] is needed",
        ),
        ({"shape": (1, 80, 3000)}, r"has shape \[1, 80, 3000\], and \[1, 80, 800\] is needed"),
        ({"shape": (2, 80, 800)}, r"has shape \[2, 80, 800\], and \[1, 80, 800\] is needed"),
        ({"last": "Identity"}, "which is no probability"),
    ],
)
def test_a_graph_of_another_contract_is_refused_with_the_difference(
    tmp_path: Path, graph: dict[str, Any], difference: str
) -> None:
    folder = smart_turn_folder(tmp_path, smart_turn_graph(**graph))
    with pytest.raises(ModelError, match=difference):
        SmartTurn(folder)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"kind": "vad"}, "a smart-turn model of kind 'vad', and a smart-turn one of kind 'turn' is needed"),
        ({"architecture": "namo"}, "holds a namo model of kind 'turn'"),
        ({"files": ()}, "names 0 .onnx files; it needs exactly one"),
    ],
)
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, manifest: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        SmartTurn(smart_turn_folder(tmp_path, **manifest))


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not load"):
        SmartTurn(smart_turn_folder(tmp_path, b"not a graph"))
    with pytest.raises(ModelError, match=r"manifest\.json is missing"):
        SmartTurn(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="a whole number from 1 up fits"):
        SmartTurn(smart_turn_folder(tmp_path), threads=0)


async def test_a_probability_that_is_none_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = SmartTurn(smart_turn_folder(tmp_path))
    nan = np.full((1, 1), np.nan, np.float32)
    monkeypatch.setattr(turn, "_session", type("Broken", (), {"run": lambda *_: [nan]})())
    with pytest.raises(EngineError, match="no probability"):
        await turn.finished(np.zeros(RATE, np.float32))
    await turn.aclose()


def test_a_profile_may_have_a_model_of_turn_ends(tmp_path: Path) -> None:
    profile = tmp_path / "mine" / "profile.toml"
    smart_turn_folder(profile.parent / "ends")
    roles = "".join(f'[{kind}]\nbackend = "fake"\n' for kind in ("asr", "llm", "tts", "vad"))
    profile.write_text(roles + '[turn]\nbackend = "smart"\nfolder = "ends"\n')
    environ = {"RIPOSTE_SERVER_MODELS_DIR": str(tmp_path), "RIPOSTE_SERVER_PROFILE": "mine"}
    config = load_config(None, environ).config
    assert load_profile(config).turn == Part("smart", "ends")
    assert any("turn smart    tiny-turn, smart-turn" in line for line in describe_models(config))
    assert any(line.startswith("ok  turn smart") for line in check_models(config))
    shutil.rmtree(profile.parent / "ends")
    with pytest.raises(ModelError, match="ends"):
        list(check_models(config))


def test_a_published_graph_is_taken_into_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = tmp_path / "smart-turn-v9.onnx"
    graph.write_bytes(smart_turn_graph())
    folder = tmp_path / "mine" / "ends"
    assert main([str(graph), str(folder)]) == 0
    assert '[turn]\nbackend = "smart"\nfolder = "ends"' in capsys.readouterr().out
    assert SmartTurn(folder).name == "smart-turn-v9"


def test_a_graph_that_is_refused_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = tmp_path / "other.onnx"
    graph.write_bytes(smart_turn_graph(name="audio"))
    assert main([str(graph), str(tmp_path / "ends")]) == 3
    assert "it takes audio" in capsys.readouterr().err
    assert not list((tmp_path / "ends").iterdir())
    assert graph.exists()


async def test_health_names_the_model_of_turn_ends_where_there_is_one() -> None:
    async def parts(turn: Part | None) -> list[str]:
        profile = type(FAKE_PROFILE)("fake", *[Part("fake")] * 4, turn=turn)
        async with (
            serving(profile) as server,
            aiohttp.ClientSession() as http,
            http.get(f"{server.url}/health") as response,
        ):
            return list(json.loads(await response.text()))

    without, with_one = await parts(None), await parts(Part("fake"))
    assert "turn" not in without
    assert [name for name in with_one if name != "turn"] == without
