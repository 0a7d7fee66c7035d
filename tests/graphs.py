"""Small ONNX graphs made on the spot: protobuf by hand, because the `onnx` package is for building models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLOAT, INT64 = 1, 7
_IR, _OPSET = 8, 13


def graph(
    nodes: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes], weights: Sequence[bytes] = ()
) -> bytes:
    """Return a model of these `node`s, `value`s and `weight`s."""
    body = b"".join(
        [*(_field(1, each) for each in nodes), _field(2, b"test"), *(_field(5, each) for each in weights),
         *(_field(11, each) for each in inputs), *(_field(12, each) for each in outputs)]
    )  # fmt: skip
    return _number(1, _IR) + _field(7, body) + _field(8, _number(2, _OPSET))


def node(kind: str, inputs: Sequence[str], output: str, **numbers: int) -> bytes:
    """Return one operation; `numbers` are its integer attributes."""
    attributes = [
        _field(5, _field(1, name.encode()) + _number(3, value) + _number(20, 2))
        for name, value in numbers.items()
    ]
    given = [_field(1, name.encode()) for name in inputs]
    return b"".join([*given, _field(2, output.encode()), _field(4, kind.encode()), *attributes])


def value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    """Return an input's or output's declaration; a size that is a word is open."""
    sizes = [
        _field(1, _number(1, size) if isinstance(size, int) else _field(2, size.encode())) for size in shape
    ]
    tensor = _number(1, kind) + _field(2, b"".join(sizes))
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def weight(name: str, array: np.ndarray) -> bytes:
    """Return a constant, f32."""
    sizes = b"".join(_number(1, size) for size in array.shape)
    raw = array.astype("<f4").tobytes()
    return sizes + _number(2, FLOAT) + _field(8, name.encode()) + _field(9, raw)


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content
