"""Tokens into text as they come: whole characters only, special tokens never, stop strings cut.

A byte-level token is some bytes, not some characters: a character may span tokens, and a token may
hold bytes that are no text at all. Joining bytes and decoding them incrementally loses neither.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Sequence

from tokenizers import Tokenizer

from riposte.errors import ModelError


def token_bytes(tokenizer: Tokenizer, visible: Collection[str] = ()) -> list[bytes]:
    """Return what each token id adds to the text, in bytes; special tokens add nothing.

    `visible` are special tokens that are text all the same: some tokenizers hide the marks of a tool call,
    Qwen2.5's does not.
    Raises ModelError for a tokenizer that is not byte-level (GPT-2's alphabet, as in Qwen and Llama 3).
    """
    decoder = json.loads(tokenizer.to_str()).get("decoder") or {}
    parts = decoder.get("decoders", [decoder])
    if not any(part.get("type") == "ByteLevel" for part in parts):
        raise ModelError(
            f"a tokenizer with the decoder {decoder.get('type')!r} is not served, only byte-level"
        )
    alphabet = _alphabet()
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    table = [b""] * (max(vocabulary.values()) + 1)
    added = tokenizer.get_added_tokens_decoder()
    for token, number in vocabulary.items():
        if number not in added:
            # What lies outside the alphabet was put into the vocabulary as plain text.
            shown = token.translate(alphabet)
            table[number] = (
                shown.encode("latin-1") if max(map(ord, shown), default=0) < 256 else token.encode()
            )
        elif not added[number].special or token in visible:
            table[number] = added[number].content.encode()
    return table


class Detokenizer:
    """One reply's text so far. `table` is `token_bytes` of its tokenizer.

    Invalid bytes become U+FFFD, one at a time, and leave their neighbours alone.
    """

    def __init__(self, table: Sequence[bytes]) -> None:
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """Return the text that this token completes, often "" inside a character.

        An id beyond the table (a vocabulary is padded to a round size) adds nothing.
        """
        piece = self._table[token] if 0 <= token < len(self._table) else b""
        return self._decoder.decode(piece)


class StopStrings:
    """Cuts a text that comes in pieces before the first of some strings.

    What may be the beginning of one is held back until it is decided, at most the longest string
    less a character. Empty strings are ignored.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Return the text that may go out now; `found` says that a string was met and all is over."""
        if not self._stops:
            return text
        text = self._held + text
        self._held = ""
        ends = [text.find(stop) + len(stop) for stop in self._stops if stop in text]
        if ends:
            # The first that is whole counts: so the cut is the same however the text was cut into pieces.
            self.found = True
            heard = text[: min(ends)]
            return heard[: min(heard.find(stop) for stop in self._stops if stop in heard)]
        keep = max(overlap(text, stop) for stop in self._stops)
        if keep:
            text, self._held = text[:-keep], text[-keep:]
        return text

    def rest(self) -> str:
        """Return what is held back, for a reply that ended without meeting a string."""
        text, self._held = self._held, ""
        return text


def overlap(text: str, stop: str) -> int:
    """Return how long the longest end of the text is that begins, but does not complete, `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


def _alphabet() -> dict[int, str]:
    # GPT-2 writes printable Latin-1 as itself and the other 68 bytes as the code points from 256 on.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    table = {byte: chr(byte) for byte in printable}
    table.update({256 + index: chr(byte) for index, byte in enumerate(others)})
    return table
