"""A model of Smart Turn's contract, made on the spot: one weight for each number that it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import msgspec
import numpy as np

from riposte.manifest import Manifest, Source, describe, write_manifest

WEIGHTS = np.random.default_rng(3).normal(0, 0.01, (80 * 800, 1)).astype(np.float32)


def smart_turn_graph(
    *,
    name: str = "input_features",
    kind: int = graphs.FLOAT,
    shape: tuple[int | str, ...] = ("batch", 80, 800),
    last: str = "Sigmoid",
) -> bytes:
    """Return the graph: sigmoid(weights · features), f32[batch, 1]."""
    weights = WEIGHTS if shape[1:] == (80, 800) else np.zeros((int(np.prod(shape[1:])), 1), np.float32)
    nodes = [
        graphs.node("Cast", [name], "real", to=graphs.FLOAT),
        graphs.node("Flatten", ["real"], "row", axis=1),
        graphs.node("MatMul", ["row", "weights"], "logits"),
        graphs.node(last, ["logits"], "probability"),
    ]
    made = graphs.value("probability", graphs.FLOAT, ("batch", 1))
    return graphs.graph(nodes, [graphs.value(name, kind, shape)], [made], [graphs.weight("weights", weights)])


def smart_turn_folder(folder: Path, graph: bytes | None = None, **manifest: Any) -> Path:
    """Write a graph and its manifest, as a profile's part has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(smart_turn_graph() if graph is None else graph)
    whole = Manifest(
        id="tiny-turn",
        kind="turn",
        architecture="smart-turn",
        precision="fp32",
        source=Source("made by a test"),
        files=describe(folder, ["model.onnx"]),
        rebuild="make engines",
    )
    write_manifest(folder, msgspec.structs.replace(whole, **manifest))
    return folder
