"""Bytes on the wire: what is in golden.json is what clients in the field send and expect."""

from __future__ import annotations

import json
from typing import Any

import make_golden
import msgspec
import pytest

from riposte.wire import frames
from riposte.wire.codec import decode_client, decode_server, encode, encode_json

GOLDEN: dict[str, list[dict[str, Any]]] = json.loads(make_golden.GOLDEN.read_text())
SIDES = {
    "client": (make_golden.CLIENT, decode_client, frames.ClientFrame),
    "server": (make_golden.SERVER, decode_server, frames.ServerFrame),
}
CASES = [pytest.param(side, entry, id=f"{side}-{entry['name']}") for side in SIDES for entry in GOLDEN[side]]


@pytest.mark.parametrize(("side", "entry"), CASES)
def test_a_frame_is_encoded_as_its_golden_bytes(side: str, entry: dict[str, Any]) -> None:
    frame = SIDES[side][0][entry["name"]]
    assert encode(frame).hex() == entry["msgpack"]
    assert encode_json(frame) == entry["json"]


@pytest.mark.parametrize(("side", "entry"), CASES)
def test_golden_bytes_decode_to_their_frame(side: str, entry: dict[str, Any]) -> None:
    examples, decode, _ = SIDES[side]
    assert decode(bytes.fromhex(entry["msgpack"])) == examples[entry["name"]]
    assert decode(entry["json"]) == examples[entry["name"]]
    for older in entry["older"]:  # whatever a client of an earlier release sends
        decode(older if older.startswith("{") else bytes.fromhex(older))


@pytest.mark.parametrize("side", SIDES)
def test_every_frame_and_every_field_has_an_example(side: str) -> None:
    examples, _, union = SIDES[side]
    for struct in union.__args__:
        mine = [frame for frame in examples.values() if type(frame) is struct]
        assert mine, f"{struct.__name__} has no example"
        for field in struct.__struct_fields__:
            values = [getattr(frame, field) for frame in mine]
            assert any(value is not None and value is not msgspec.UNSET for value in values), (
                f"{struct.__name__}.{field} is set in no example"
            )


@pytest.mark.parametrize(("side", "entry"), CASES)
def test_unknown_fields_are_skipped(side: str, entry: dict[str, Any]) -> None:
    examples, decode, _ = SIDES[side]
    fields = msgspec.msgpack.decode(bytes.fromhex(entry["msgpack"]))
    fields["of_version_9"] = {"nested": [1, b"\x00", None]}
    assert decode(msgspec.msgpack.encode(fields)) == examples[entry["name"]]
    fields = {"of_version_9": [1], **json.loads(entry["json"])}
    assert decode(json.dumps(fields)) == examples[entry["name"]]


def test_the_examples_in_the_protocol_document_are_those_of_the_code() -> None:
    document = make_golden.PROTOCOL_MD.read_text()
    assert make_golden.with_examples(document) == document, "run tests/wire/make_golden.py"


def test_the_protocol_document_names_every_frame_and_field() -> None:
    document = make_golden.PROTOCOL_MD.read_text().partition(make_golden.BEGIN)[0]
    for struct in (*frames.ClientFrame.__args__, *frames.ServerFrame.__args__):
        tag = struct.__struct_config__.tag
        assert f"| `{tag}` |" in document, f"no row for {tag}"
        for field in struct.__struct_fields__:
            assert f"`{field}`" in document, f"{tag}.{field} is not described"
