"""The codec turns anything a stranger can send into a frame or BadFrame, and nothing else."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riposte.errors import BadFrame
from riposte.wire.codec import decode_client, decode_server, encode, encode_json
from riposte.wire.frames import AudioIn, AudioOut, Hello, Mark, Played, Text


def packed(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


WRONG = {
    "empty": b"",
    "not MessagePack": b"\xc1",
    "cut short": packed({"type": "text", "text": "hello"})[:-2],
    "trailing bytes": packed({"type": "end"}) + b"\x00",
    "no map": packed([1, 2, 3]),
    "no type": packed({"text": "hello"}),
    "type is no string": packed({"type": 5}),
    "unknown type": packed({"type": "shout", "text": "hello"}),
    "a server's frame": packed({"type": "token", "turn": 1, "text": "x"}),
    "missing field": packed({"type": "text"}),
    "wrong type": packed({"type": "played", "turn": "1", "ms": 3}),
    "bool for int": packed({"type": "mark", "id": True}),
    "text for bytes, no base64": packed({"type": "audio", "pcm": "???"}),
    "bytes for text": packed({"type": "text", "text": b"hello"}),
    "text is no UTF-8": b"\x82\xa4type\xa4text\xa4text\xa2\xff\xfe",
    "unknown modality": packed({"type": "hello", "modalities": ["smell"]}),
    "unknown turn detection": packed({"type": "hello", "turn_detection": "always"}),
    "tools are no maps": packed({"type": "hello", "tools": ["light"]}),
    "odd PCM": packed({"type": "audio", "pcm": b"\x00\x01\x02"}),
    "not JSON": "hello there",
    "empty text": "",
    "JSON without a type": "{}",
    "JSON with NaN": '{"type":"hello","patience":NaN}',
    "JSON, no base64": '{"type":"audio","pcm":"a"}',
    "JSON, odd PCM": '{"type":"audio","pcm":"AAEC"}',
    "lone surrogate in JSON": '{"type":"text","text":"\\ud800"}',
    "a raw surrogate": '{"type":"text","text":"\ud800"}',
}


@pytest.mark.parametrize("message", WRONG.values(), ids=WRONG.keys())
def test_what_does_not_decode_is_a_bad_frame(message: bytes | str) -> None:
    with pytest.raises(BadFrame) as caught:
        decode_client(message)
    assert str(caught.value)


def test_an_integer_that_messagepack_cannot_hold_is_a_bad_frame() -> None:
    with pytest.raises(BadFrame):
        decode_client('{"type":"mark","id":123456789012345678901234567890}')


def test_a_bad_frame_names_the_field() -> None:
    with pytest.raises(BadFrame, match=r"\$\.turn"):
        decode_client(packed({"type": "played", "turn": "1", "ms": 3}))


@pytest.mark.parametrize("depth", [2_000, 100_000])
def test_deep_nesting_is_a_bad_frame_and_no_crash(depth: int) -> None:
    head = packed({"type": "hello"})[1:]  # without its map header, to add a field by hand
    deep = b"\x91" * depth + b"\x01"
    for field in ("tools", "unknown"):
        with pytest.raises(BadFrame):
            decode_client(b"\x82" + head + packed(field) + deep)
        with pytest.raises(BadFrame):
            decode_client('{"type":"hello","' + field + '":' + "[" * depth + "1" + "]" * depth + "}")


def test_a_bad_frames_sentence_stays_short() -> None:
    with pytest.raises(BadFrame) as caught:
        decode_client(packed({"type": "x" * 100_000}))
    assert len(str(caught.value)) <= 300


def test_tools_may_nest_like_any_json_schema() -> None:
    frame = Hello(tools=[{"function": {"parameters": nested(50)}}])
    assert decode_client(encode(frame)) == frame
    assert decode_client(encode_json(frame)) == frame


def test_absent_and_null_settings_differ() -> None:
    assert decode_client(packed({"type": "hello"})) == Hello()
    assert decode_client(packed({"type": "hello", "voice": None})) == Hello(voice=None)
    assert Hello() != Hello(voice=None)
    assert b"voice" not in encode(Hello())


def test_empty_audio_and_empty_text_are_frames() -> None:
    assert decode_client(packed({"type": "audio", "pcm": b""})) == AudioIn(b"")
    assert decode_client(packed({"type": "text", "text": ""})) == Text("")


def test_bytes_travel_as_base64_in_json() -> None:
    pcm = bytes(range(256))
    message = encode_json(AudioOut(turn=1, seq=0, pcm=pcm))
    assert json.loads(message)["pcm"] == base64.b64encode(pcm).decode()
    assert decode_server(message) == AudioOut(turn=1, seq=0, pcm=pcm)


def test_pcm_is_one_binary_value_in_messagepack() -> None:
    pcm = b"\x01\x02" * 960  # 60 ms at 16 kHz
    assert len(encode(AudioIn(pcm))) < len(pcm) + 32


def test_what_a_server_sends_is_checked_the_same_way() -> None:
    with pytest.raises(BadFrame):
        decode_server(packed({"type": "cancel"}))
    with pytest.raises(BadFrame):
        decode_server("[]")


@given(st.binary(max_size=200))
def test_random_bytes_are_a_frame_or_a_bad_frame(message: bytes) -> None:
    try:
        frame = decode_client(message)
    except BadFrame:
        return
    assert decode_client(encode(frame)) == frame


@given(st.text(max_size=200))
def test_random_text_is_a_frame_or_a_bad_frame(message: str) -> None:
    try:
        frame = decode_client(message)
    except BadFrame:
        return
    assert decode_client(encode(frame)) == frame


_values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
_types = st.sampled_from(
    ["hello", "audio", "end", "text", "say", "cancel", "played", "tool_result", "clear", "mark"]
)
_fields = st.sampled_from(
    ["version", "session", "voice", "tools", "pcm", "text", "turn", "ms", "call", "content", "id"]
)


@given(_types, st.dictionaries(_fields, _values | st.lists(_values, max_size=3), max_size=4))
def test_a_map_of_any_values_is_a_frame_or_a_bad_frame(tag: str, fields: dict[str, Any]) -> None:
    try:
        frame = decode_client(packed({"type": tag, **fields}))
    except BadFrame:
        return
    assert encode(decode_client(encode(frame))) == encode(frame)  # bytes: NaN is not equal to itself


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.integers(-(2**63), 2**63 - 1))
def test_numbers_survive_both_encodings(turn: int, ms: int, mark: int) -> None:
    for frame in (Played(turn, ms), Mark(mark)):
        assert decode_client(encode(frame)) == frame
        assert decode_client(encode_json(frame)) == frame
