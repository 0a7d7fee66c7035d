"""A whole server over TLS: turns, pages, clients that speak none, and a certificate that is renewed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from certificates import Pair, issue, serial, trusting
from conftest import Served, fakes, serving

from riposte.app import open_tls, running
from riposte.config import load_config
from riposte.tls import Tls
from riposte.wire import codec
from riposte.wire import frames as wire

WAIT_S = 10.0


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return issue(tmp_path, "home")


@pytest.fixture
async def secure(pair: Pair) -> AsyncIterator[Served]:
    async with serving(fakes(tts={"char_ms": 5}), server__drain_s=0.0, **pair.settings) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting())) as session:
        yield session


async def test_a_turn_over_wss(http: aiohttp.ClientSession, secure: Served) -> None:
    assert secure.ws_url.startswith("wss://127.0.0.1:")
    async with http.ws_connect(secure.ws_url, protocols=["riposte.v1"]) as socket:
        kinds = []
        await socket.send_bytes(codec.encode(wire.Hello()))
        await socket.send_bytes(codec.encode(wire.Text("hello over there")))
        while not kinds or kinds[-1] is not wire.Done:
            kinds.append(type(codec.decode_server((await socket.receive(WAIT_S)).data)))
    assert kinds[0] is wire.Ready
    assert {wire.Token, wire.Clause, wire.AudioOut} <= set(kinds)


async def test_health_over_https(http: aiohttp.ClientSession, secure: Served) -> None:
    async with http.get(f"{secure.url}/health") as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "healthy")


@pytest.mark.parametrize(
    ("scheme", "status"),
    [("https", 200), ("http", 403)],
    ids=["its own page", "a page that was not served here"],
)
async def test_its_own_pages_are_those_of_https(
    http: aiohttp.ClientSession, secure: Served, scheme: str, status: int
) -> None:
    origin = secure.url.replace("https", scheme, 1)
    async with http.get(f"{secure.url}/voices", headers={"Origin": origin}) as answer:
        assert answer.status == status
    if status == 200:
        async with http.ws_connect(secure.ws_url, headers={"Origin": origin}):
            pass


async def test_a_client_that_speaks_plain_http_gets_nothing_and_leaves_no_trace(
    http: aiohttp.ClientSession, secure: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    plain = secure.url.replace("https", "http", 1)
    async with aiohttp.ClientSession() as other:
        with pytest.raises(aiohttp.ClientError):
            await other.get(f"{plain}/health")
        with pytest.raises(aiohttp.ClientError):  # nor does one that does not trust the certificate
            await other.get(f"{secure.url}/health")
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(secure.url))
    writer.write(b"\x00" * 300)
    async with asyncio.timeout(WAIT_S):
        await reader.read()
    writer.close()
    async with http.get(f"{secure.url}/health") as answer:  # and the server is well
        assert answer.status == 200
    assert caplog.text == ""


async def test_a_renewed_certificate_serves_new_connections(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_config(
        None,
        {},
        {
            "server.port": 0,
            "server.data_dir": str(pair.cert.parent / "data"),
            "server.tls_cert": str(pair.cert),
            "server.tls_key": str(pair.key),
        },
    )
    tls = open_tls(loaded.config, loaded.sources)
    assert isinstance(tls, Tls)
    async with running(loaded.config, fakes(), tls=tls) as url:
        first = await serial(port_of(url))
        issue(pair.cert.parent, "home")
        tls.reload()
        second = await serial(port_of(url))
        assert second != first
        pair.key.write_text("half a ke")
        tls.reload()
        assert await serial(port_of(url)) == second
    assert "the one before stays: server.tls_key from --tls-key" in caplog.text
