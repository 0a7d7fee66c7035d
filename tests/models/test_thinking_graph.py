"""The bundled language model says what transformers said with the same weights.

tests/models/data/thinking.json is written by `python -m engine_build.reference`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riposte.backends.chat_template import ChatFormat
from riposte.backends.llm_graph import Graph, read_graph_config
from riposte.interfaces import Message
from riposte.manifest import check_manifest

FOLDER = Path(
    os.environ.get("RIPOSTE_TEST_LLM") or Path(__file__).parents[2] / "onnx_models" / "pico" / "thinking"
)
DATA = Path(__file__).parent / "data" / "thinking.json"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "manifest.json").is_file() or not DATA.is_file(),
    reason=f"no model in {FOLDER}, or no {DATA.name}: run `make engines PROFILE=pico`",
)


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(DATA.read_text())
    assert stored["weights_sha256"] == check_manifest(FOLDER).source.sha256, (
        "the model was trained again: run `python -m engine_build.reference` as its docstring says"
    )
    return stored


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(FOLDER, read_graph_config(FOLDER), rows=2, context_tokens=512, threads=1)


def test_greedy_replies_equal_the_stored_ones(reference: dict[str, Any], graph: Graph) -> None:
    ends = list(read_graph_config(FOLDER).end_ids)
    for case in reference["cases"]:
        ids, length, made = np.array([case["prompt"]]), 0, []
        for _ in case["greedy"]:
            logits = graph.forward(1, 2, ids, np.array([length]))
            length += ids.shape[1]
            allowed = logits[0].copy()
            allowed[ends] = -np.inf
            made.append(int(np.argmax(allowed)))
            ids = np.array([[made[-1]]])
        assert made == case["greedy"]


def test_logits_equal_the_stored_ones(reference: dict[str, Any], graph: Graph) -> None:
    for case in reference["cases"]:
        logits = graph.forward(0, 1, np.array([case["prompt"]]), np.array([0]))[0]
        scale = float(np.abs(logits).max())
        assert np.abs(logits[case["best"]] - case["logits"]).max() / scale < 1e-4


def test_chunks_rewinding_and_neighbours_change_nothing(reference: dict[str, Any], graph: Graph) -> None:
    prompt = max((case["prompt"] for case in reference["cases"]), key=len)
    ids, none = np.array([prompt]), np.array([0])
    whole = graph.forward(0, 1, ids, none).copy()
    graph.forward(1, 2, ids[:, :40], none)
    graph.forward(1, 2, ids[:, :7] * 0, np.array([40]))  # a reply that was interrupted
    chunked = graph.forward(1, 2, ids[:, 40:], np.array([40])).copy()
    assert np.array_equal(whole, chunked)
    token = np.array([[int(np.argmax(whole))]])
    alone = graph.forward(0, 1, token, np.array([len(prompt)])).copy()
    graph.swap(0, 1, len(prompt))
    together = graph.forward(0, 2, np.repeat(token, 2, 0), np.array([20, len(prompt)]))[1]
    assert np.abs(alone[0] - together).max() / np.abs(alone).max() < 1e-5


def test_end_of_a_message_ends_a_reply() -> None:
    assert ChatFormat(FOLDER).special["<|im_end|>"] in read_graph_config(FOLDER).end_ids


def test_stored_prompt_is_what_the_chat_format_makes(reference: dict[str, Any]) -> None:
    prompt = ChatFormat(FOLDER).encode((Message("user", "hello"),))
    assert prompt.tolist() == reference["cases"][0]["prompt"]
