"""Addresses as people write them, and whom to trust."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from riposte.client import CannotConnect
from riposte.client.link import native_url, trust


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("ws://127.0.0.1:8000/ws", "ws://127.0.0.1:8000/ws"),
        ("wss://box.lan/ws", "wss://box.lan/ws"),
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws"),
        ("https://box.lan/", "wss://box.lan/ws"),
        ("https://box.lan/riposte/ws?a=b", "wss://box.lan/riposte/ws?a=b"),
        ("192.168.1.5", "ws://192.168.1.5:8000/ws"),
        ("box:9000", "ws://box:9000/ws"),
        ("[::1]", "ws://[::1]:8000/ws"),
    ],
)
def test_an_address_is_completed(written: str, url: str) -> None:
    assert native_url(written) == url


@pytest.mark.parametrize("written", ["", "ftp://box", "ws://", "box:port", "ws://[::1", "two words"])
def test_what_is_no_address_is_told_what_one_is(written: str) -> None:
    with pytest.raises(CannotConnect, match="is no address of a server; ws://127"):
        native_url(written)


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotConnect, match=r"none\.pem cannot be read: No such file"):
        trust(tmp_path / "none.pem")
    empty = tmp_path / "words.pem"
    empty.write_text("no certificate")
    with pytest.raises(CannotConnect, match=r"words\.pem holds no certificate; it must be a PEM file"):
        trust(empty)


def test_a_context_of_ones_own_is_used_as_it_is() -> None:
    context = ssl.create_default_context()
    assert trust(context) is context
    assert trust(None) is True
