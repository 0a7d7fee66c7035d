"""Store weights in half the space where that loses nothing."""

from __future__ import annotations

import warnings

import numpy as np
import onnx_ir as ir

_SMALL = 1024  # elements; below it a Cast costs more than the bytes it saves


def halve_weights(model: ir.Model) -> int:
    """Store every f32 weight that fp16 holds exactly as fp16 and a Cast; return how many there were.

    onnxruntime folds the Cast when it loads the graph, so what runs is the same as without.
    """
    graph = model.graph
    casts: list[ir.Node] = []
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < _SMALL:
            continue
        full = tensor.numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # beyond fp16's range: inf, hence unequal
            half = full.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), full):
            continue
        shape = ir.Shape(full.shape)
        stored = ir.Value(
            name=f"{name}_fp16",
            type=ir.TensorType(ir.DataType.FLOAT16),
            shape=shape,
            const_value=ir.tensor(half, name=f"{name}_fp16"),
        )
        cast = ir.node("Cast", [stored], {"to": int(ir.DataType.FLOAT)})
        cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), shape
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        del graph.initializers[name]
        cast.outputs[0].name = name
        graph.register_initializer(stored)
        casts.append(cast)
    if casts:
        graph.insert_before(graph[0], casts)
    return len(casts)
