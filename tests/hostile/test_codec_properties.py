"""The codec against anything: a frame or BadFrame, and what is encoded comes back as it was."""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riposte.errors import BadFrame
from riposte.wire import frames as wire
from riposte.wire.codec import decode_client, decode_server, encode, encode_json

INT64 = st.integers(-(2**63), 2**63 - 1)
_json = st.recursive(
    st.none()
    | st.booleans()
    | INT64
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return what a field of this type may hold."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(each) for each in arguments])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is typing.Annotated:
        return values(arguments[0])
    if origin is list:
        return st.lists(values(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(st.text(max_size=9), _json, max_size=3)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return frames_of(kind)
    return {
        int: INT64,
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        str: st.text(max_size=40),
        bytes: st.binary(max_size=40),
        type(None): st.none(),
        msgspec.UnsetType: st.just(msgspec.UNSET),
        Any: _json,
    }[kind]


def frames_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.name: values(hints[field.name]) for field in msgspec.structs.fields(kind)}
    if kind is wire.AudioIn:
        fields["pcm"] = st.binary(max_size=20).map(lambda half: half * 2)
    return st.builds(kind, **fields)


CLIENT = [frames_of(kind) for kind in typing.get_args(wire.ClientFrame)]
SERVER = [frames_of(kind) for kind in typing.get_args(wire.ServerFrame)]


@given(st.one_of(CLIENT))
def test_a_clients_frame_comes_back_as_it_was(frame: wire.ClientFrame) -> None:
    assert decode_client(encode(frame)) == frame
    assert decode_client(encode_json(frame)) == frame


@given(st.one_of(SERVER))
def test_a_servers_frame_comes_back_as_it_was(frame: wire.ServerFrame) -> None:
    assert decode_server(encode(frame)) == frame
    assert decode_server(encode_json(frame)) == frame


def is_frame_or_bad_frame(message: bytes | str) -> None:
    for decode in (decode_client, decode_server):
        frame: wire.ClientFrame | wire.ServerFrame
        sentence = None
        try:
            frame = decode(message)
        except BadFrame as exc:
            sentence = str(exc)
            frame = wire.Error(exc.code, sentence)
        assert sentence is None or 0 < len(sentence) <= 300
        assert type(frame) in typing.get_args(wire.ClientFrame | wire.ServerFrame)
        encode(frame)  # a refusal too must be fit to be sent


@given(st.one_of(*CLIENT, *SERVER), st.data())
def test_a_frame_with_bytes_changed_is_a_frame_or_a_bad_frame(frame: Any, data: st.DataObject) -> None:
    message = bytearray(encode(frame))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(message) - 1)))
        match data.draw(st.sampled_from(("set", "insert", "delete", "cut", "double"))):
            case "set" if message:
                message[at] = data.draw(st.integers(0, 255))
            case "insert":
                message[at:at] = data.draw(st.binary(max_size=4))
            case "delete":
                del message[at : at + 2]
            case "cut":
                del message[at:]
            case "double":
                message += message[at:]
    is_frame_or_bad_frame(bytes(message))


@given(st.one_of(*CLIENT, *SERVER), st.data())
def test_json_with_characters_changed_is_a_frame_or_a_bad_frame(frame: Any, data: st.DataObject) -> None:
    message = encode_json(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message)))
        odd = data.draw(
            st.sampled_from(['"', "{", "\\ud800", "\ud800", "1e999", "-", "\0", "9" * 30, "null", ""])
        )
        message = message[:at] + odd + message[at + data.draw(st.integers(0, 3)) :]
    is_frame_or_bad_frame(message)


@given(st.dictionaries(st.sampled_from(["type", "turn", "text", "pcm", "id"]), _json, max_size=5))
def test_any_map_is_a_frame_or_a_bad_frame(fields: dict[str, Any]) -> None:
    is_frame_or_bad_frame(msgspec.msgpack.encode(fields))
    is_frame_or_bad_frame(msgspec.json.encode(fields).decode())


@pytest.mark.parametrize("kind", typing.get_args(wire.ClientFrame), ids=lambda kind: kind.__name__)
def test_a_field_of_the_wrong_type_is_a_bad_frame(kind: type[msgspec.Struct]) -> None:
    """Every field of every frame, with every kind of value that it does not take."""
    tag = kind.__struct_config__.tag
    required = {
        field.name: {str: "x", int: 1, bytes: b""}.get(field.type, 1)
        for field in msgspec.structs.fields(kind)
        if field.required
    }
    hints = typing.get_type_hints(kind)
    refused = 0
    for name, hint in hints.items():
        for wrong in (None, True, 1, 1.5, "x", b"x", [], [1], {}, {"a": 1}):
            try:
                msgspec.convert(wrong, hint)
            except msgspec.ValidationError:
                with pytest.raises(BadFrame):
                    decode_client(msgspec.msgpack.encode({"type": tag, **required, name: wrong}))
                refused += 1
    assert refused >= 4 * len(hints)
