"""The served graphs of pico's hearing against what transformers computed (data/hearing.json); no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hearing_sound import voiced

from riposte.backends.whisper_graph import Decoding, Stop, WhisperGraph
from riposte.manifest import MANIFEST_NAME, check_manifest
from riposte.mel import log_mel

HEARING = Path(__file__).parents[2] / "onnx_models" / "pico" / "hearing"
STORED: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "hearing.json").read_text())

pytestmark = pytest.mark.skipif(
    not (HEARING / MANIFEST_NAME).is_file(), reason="no hearing built; run `make engines PROFILE=pico`"
)


@pytest.fixture(scope="module")
def graph() -> WhisperGraph:
    built_from = check_manifest(HEARING).source.sha256
    assert built_from == STORED["weights_sha256"], (
        "another checkpoint: run tests/models/make_hearing_reference.py"
    )
    return WhisperGraph(HEARING, threads=1)


@pytest.fixture(params=STORED["cases"], ids=lambda case: f"{case['seconds']} s")
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    stored: dict[str, Any] = request.param
    return stored


def test_the_encoder_says_what_transformers_says(graph: WhisperGraph, case: dict[str, Any]) -> None:
    cross = graph.encode(log_mel(voiced(case["seconds"]), graph.mels), Stop())
    assert len(cross) == len(case["cross"])
    for name, wanted in zip(graph.cross_names, case["cross"], strict=True):
        array = cross[name].numpy()
        assert list(array.shape) == wanted["shape"]
        flat = array.reshape(-1)
        # Where the largest are about ten times the mean, this is 1e-3 of the largest: another
        # processor's spectrogram differs by 1e-5 already.
        near = {"abs": 1e-2 * wanted["size"], "rel": 1e-3}
        assert float(np.abs(flat).mean()) == pytest.approx(wanted["size"], rel=1e-3)
        assert flat[:: len(flat) // 8][:8].tolist() == pytest.approx(wanted["some"], **near)


def test_the_decoder_says_what_transformers_says(graph: WhisperGraph, case: dict[str, Any]) -> None:
    stop = Stop()
    cross = graph.encode(log_mel(voiced(case["seconds"]), graph.mels), stop)
    decoding = Decoding(graph, cross, graph.take_cache())
    bias = np.zeros((1, graph.vocab), np.float32)
    tokens, logprobs = STORED["prompt"], []
    said: list[int] = []
    while len(said) < len(case["tokens"]):
        token, logprob = decoding.step(tokens, bias, stop)[-1]
        said.append(token)
        logprobs.append(logprob)
        tokens = [token]
    assert said == case["tokens"]
    assert logprobs == pytest.approx(case["logprobs"], abs=5e-3)


def test_a_draft_is_verified_in_one_pass(graph: WhisperGraph, case: dict[str, Any]) -> None:
    stop = Stop()
    cross = graph.encode(log_mel(voiced(case["seconds"]), graph.mels), stop)
    bias = np.zeros((1, graph.vocab), np.float32)
    decoding = Decoding(graph, cross, graph.take_cache())
    prompt, said = STORED["prompt"], case["tokens"]
    assert decoding.step(prompt, bias, stop)[-1][0] == said[0]
    # A draft that is wrong in its last token: what follows each of the others is told, and it is run over.
    wrong = (*said[:-2], (said[-2] + 1) % 256)
    assert [token for token, _ in decoding.step(wrong, bias, stop)[:-1]] == said[1:-1]
    decoding.rewind(decoding.position - 1)
    assert decoding.step(said[-2:-1], bias, stop)[-1][0] == said[-1]
