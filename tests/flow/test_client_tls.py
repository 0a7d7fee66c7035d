"""The client over TLS: whom it trusts, and what it says when it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from certificates import authority, issue, trusting
from conftest import Served, serving

from riposte.client import CannotConnect, connect
from riposte.terminal import chat

KEY = "sixteen characters and more"


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "home-ca.pem"
    authority().cert_pem.write_to_path(path)
    return path


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Served]:
    pair = issue(tmp_path, "home")
    settings = {"server__keys": [KEY], "server__drain_s": 0.0, "server__fake": True, **pair.settings}
    async with serving(**settings) as server:
        yield server


async def test_a_private_certificate_is_trusted_by_its_file_or_a_context(secure: Served, ca: Path) -> None:
    for trusted in (ca, str(ca), trusting()):
        async with connect(secure.url, ca=trusted, key=KEY, modalities=["text"]) as client:
            assert (await client.turn("hello").reply()).text == "You said: hello"


async def test_a_certificate_that_nobody_vouches_for_is_told_with_the_way_out(secure: Served) -> None:
    with pytest.raises(CannotConnect, match=r"is not trusted \(.*\); name a private one with ca=FILE"):
        async with connect(secure.ws_url, key=KEY):
            pass


async def test_speaking_plainly_to_a_server_of_tls_is_told_how_to_write_it(secure: Served) -> None:
    with pytest.raises(CannotConnect, match="write wss:// or https://"):
        async with connect(secure.ws_url.replace("wss", "ws"), key=KEY):
            pass


async def test_speaking_tls_to_a_plain_server_is_told(served: Served) -> None:
    with pytest.raises(CannotConnect, match="does not speak TLS as asked"):
        async with connect(served.ws_url.replace("ws", "wss", 1)):
            pass


async def test_a_wrong_key_over_tls_is_told(secure: Served, ca: Path) -> None:
    with pytest.raises(CannotConnect, match="the key is wrong or missing"):
        await chat(secure.url, key="another one", session=None, ca=ca)
