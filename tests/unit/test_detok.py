"""Tokens into text: whole characters, nothing lost, stop strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from riposte.backends.detok import Detokenizer, StopStrings, token_bytes
from riposte.errors import ModelError

BYTES = [bytes([byte]) for byte in range(256)]


def push(pieces: list[bytes]) -> list[str]:
    detokenizer = Detokenizer(pieces)
    return [detokenizer.push(token) for token in range(len(pieces))]


@pytest.mark.parametrize(
    ("pieces", "texts"),
    [
        ([b"hello", b" world"], ["hello", " world"]),
        ([b"\xc3", b"\xa9"], ["", "é"]),
        ([b"\xf0\x9f", b"\x99", b"\x82!"], ["", "", "🙂!"]),
        ([b"caf\xc3", b"\xa9 au"], ["caf", "é au"]),
        ([b"\xe7", b" hello world"], ["", "\ufffd hello world"]),  # the neighbour stays
        ([b"\xff\xfe", b"a"], ["\ufffd\ufffd", "a"]),
        ([b"a\x00b"], ["a\x00b"]),
        ([b"", b"x", b""], ["", "x", ""]),
        ([b"end\xe6\x97"], ["end"]),  # what the end cuts off stays unsaid
    ],
)
def test_bytes_become_text(pieces: list[bytes], texts: list[str]) -> None:
    assert push(pieces) == texts


@given(st.text(), st.lists(st.integers(1, 4)))
def test_any_text_survives_any_cuts(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "ignore")
    pieces, at = [], 0
    for size in cuts:
        pieces.append(data[at : at + size])
        at += size
    pieces.append(data[at:])
    assert "".join(push(pieces)) == data.decode()


@given(st.binary())
def test_invalid_bytes_leave_ascii_neighbours_alone(data: bytes) -> None:
    text = "".join(push([data[at : at + 1] for at in range(len(data))] + [b"."]))
    assert [c for c in text if c < "\x80"] == [chr(b) for b in data if b < 0x80] + ["."]


def test_token_beyond_the_vocabulary_adds_nothing() -> None:
    assert Detokenizer([b"a"]).push(7) == ""


def tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({char: n for n, char in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|im_end|>"])
    made.add_tokens([AddedToken("<tool_call>", special=False)])
    return made


def test_table_holds_every_byte_and_no_special_token() -> None:
    made = tokenizer()
    table = token_bytes(made)
    assert sorted(table[:256]) == BYTES
    assert table[made.token_to_id("<|im_end|>")] == b""
    assert table[made.token_to_id("<tool_call>")] == b"<tool_call>"


@given(st.text())
def test_encoded_text_comes_back(text: str) -> None:
    made = tokenizer()
    text = text.encode("utf-8", "ignore").decode()
    detokenizer = Detokenizer(token_bytes(made))
    assert "".join(detokenizer.push(n) for n in made.encode(text, add_special_tokens=False).ids) == text


def test_other_tokenizers_are_refused() -> None:
    made = tokenizer()
    made.decoder = decoders.Metaspace()
    with pytest.raises(ModelError, match="byte-level"):
        token_bytes(made)


@pytest.mark.parametrize(
    ("stops", "pieces", "sent", "rest", "found"),
    [
        ((), ["a", "b"], ["a", "b"], "", False),
        (("",), ["a"], ["a"], "", False),
        (("x",), ["a", "bxc"], ["a", "b"], "", True),
        (("User:",), ["hi Us", "er", ": no"], ["hi ", "", ""], "", True),
        (("User:",), ["hi Us", "eful"], ["hi ", "Useful"], "", False),
        (("User:",), ["hi Use"], ["hi "], "Use", False),
        (("\n\n",), ["a\n", "b\n", "\nc"], ["a", "\nb", ""], "", True),
        (("aab",), ["aa", "ab"], ["", "a"], "", True),
        (("bc", "abcd"), ["ab", "cd"], ["", "a"], "", True),  # the first that is whole
        (("cd", "b"), ["abcd"], ["a"], "", True),  # the first in the text
    ],
)
def test_stop_strings(
    stops: tuple[str, ...], pieces: list[str], sent: list[str], rest: str, found: bool
) -> None:
    watch = StopStrings(stops)
    assert [watch.push(piece) for piece in pieces] == sent
    assert watch.rest() == rest
    assert watch.found is found


@given(
    st.lists(st.text("ab", max_size=4), max_size=10),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_cut_does_not_depend_on_the_pieces(pieces: list[str], stops: list[str]) -> None:
    watch, sent, text = StopStrings(stops), "", "".join(pieces)
    for piece in pieces:
        sent += watch.push(piece)
        if watch.found:
            break
    else:
        sent += watch.rest()
    ends = [text.index(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        assert sent == text
        return
    heard = text[: min(ends)]  # the character that completes the first string
    assert sent == heard[: min(heard.find(stop) for stop in stops if stop in heard)]


def test_special_token_that_is_text_all_the_same_is_shown() -> None:
    made = tokenizer()
    made.add_special_tokens(["<tool_call>", "<|hidden|>"])
    table = token_bytes(made, visible=["<tool_call>", "never"])
    assert table[made.token_to_id("<tool_call>")] == b"<tool_call>"
    assert table[made.token_to_id("<|hidden|>")] == b""
