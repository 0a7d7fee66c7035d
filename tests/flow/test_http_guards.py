"""Who may ask, from where, with what; and every failure in one shape."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from conftest import Served, serving
from test_http import PATIENCE_S, chat, http

from riposte.app import build_app
from riposte.config import Config
from riposte.endpoints.keys import ServerState
from riposte.metrics import Metrics
from riposte.sessions import SessionTable

__all__ = ["http"]  # a fixture

KEY = "sixteen characters and more"
PAGE = "https://page.example"


@pytest.fixture
async def guarded() -> AsyncIterator[Served]:
    """A server with a key, a page of another origin and a name of its own."""
    async with serving(
        server__fake=True,
        server__drain_s=0.0,
        server__keys=["another key, which is not used", KEY],
        server__origins=[PAGE],
        server__hosts=["box.example", "proxy.example:9000"],
    ) as server:
        yield server


def bearer(key: str = KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def code_of(answer: aiohttp.ClientResponse) -> str:
    body = await answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    return str(body["error"]["code"])


async def test_an_unknown_path_is_not_found(http: aiohttp.ClientSession, served: Served) -> None:
    for method in ("GET", "POST", "DELETE"):
        async with http.request(method, f"{served.url}/nothing") as answer:
            assert (answer.status, await code_of(answer)) == (404, "not_found")


async def test_a_wrong_method_is_told_which_are_right(http: aiohttp.ClientSession, served: Served) -> None:
    async with http.get(f"{served.url}/chat") as answer:
        assert (answer.status, await code_of(answer)) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_a_body_that_a_form_can_send_is_refused(
    http: aiohttp.ClientSession, served: Served, kind: str
) -> None:
    async with http.post(f"{served.url}/chat", data=b"{}", headers={"Content-Type": kind}) as answer:
        assert (answer.status, await code_of(answer)) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (None, 200),
        ("localhost", 200),
        ("LOCALHOST:99", 200),
        ("[::1]:8000", 200),
        ("127.0.0.1:1", 200),
        ("box.example", 200),
        ("box.example:8080", 200),
        ("proxy.example:9000", 200),
        ("proxy.example:9001", 403),
        ("proxy.example", 403),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("[::1]", 200),
        ("[::2]:8000", 403),
        ("[::1", 403),
        ("::1", 403),
        ("127.0.0.1.nip.example:8000", 403),  # a name that another site lets stand for this machine
        ("localhost.", 403),
        ("0.0.0.0:8000", 403),
        ("127.0.0.2", 403),
        ("2130706433", 403),  # 127.0.0.1, as browsers once wrote it
        ("localhost:port", 403),
        ("box.example.", 403),
        ("evil@localhost", 403),
        ("localhost/x", 403),
        ("", 403),
    ],
)
async def test_only_our_own_names_are_answered(
    http: aiohttp.ClientSession, guarded: Served, host: str | None, status: int
) -> None:
    headers = {} if host is None else {"Host": host}
    async with http.get(f"{guarded.url}/health", headers=headers) as answer:
        assert answer.status == status
        if status == 403:
            assert await code_of(answer) == "forbidden"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("{url}", 200),
        (PAGE, 200),
        (PAGE.upper(), 200),
        ("https://other.example", 403),
        ("http://127.0.0.1:1", 403),  # another program of this machine
        ("null", 403),
        ("", 403),
        ("file://", 403),
        ("http://[", 403),
    ],
)
async def test_only_our_own_pages_may_ask(
    http: aiohttp.ClientSession, guarded: Served, origin: str, status: int
) -> None:
    headers = {"Origin": origin.format(url=guarded.url), **bearer()}
    async with http.get(f"{guarded.url}/voices", headers=headers) as answer:
        assert answer.status == status
    # A page cannot read a refused upgrade's status; that there is no socket is what counts.
    if status == 403:
        for path in ("/ws", "/ws/chat"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(f"{guarded.url}{path}", headers=headers)
            assert caught.value.status == 403


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("cross-site", "no-cors", "image", 403),
        ("same-site", "no-cors", "script", 403),  # another port of this machine
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "navigate", "document", 200),  # somebody follows a link
        ("same-origin", "no-cors", "audio", 200),
        ("none", "navigate", "document", 200),  # somebody types the address
    ],
)
async def test_another_sites_page_may_not_embed_us(
    http: aiohttp.ClientSession, served: Served, site: str, mode: str, dest: str, status: int
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    async with http.get(f"{served.url}/voices", headers=headers) as answer:
        assert answer.status == status


@pytest.mark.parametrize("origin", ["https://other.example", "http://127.0.0.1:1", "null"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_another_sites_page_may_do_nothing_whatever_the_method(
    http: aiohttp.ClientSession, served: Served, method: str, origin: str
) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "DELETE"}
    for path in ("/sessions", "/sessions/some", "/chat", "/health"):
        async with http.request(method, f"{served.url}{path}", headers=headers) as answer:
            assert answer.status == 403
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_listed_page_may_delete_once_it_has_asked(
    http: aiohttp.ClientSession, guarded: Served
) -> None:
    asked = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}
    path = f"{guarded.url}/sessions/some"
    async with http.options(path, headers={"Origin": PAGE, **asked}) as answer:
        assert answer.status == 204
        assert "DELETE" in answer.headers["Access-Control-Allow-Methods"].split(", ")
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    async with http.delete(path, headers={"Origin": PAGE}) as answer:
        assert answer.status == 401  # the answer to a preflight gives nothing away
    async with http.delete(path, headers={"Origin": PAGE, **bearer()}) as answer:
        assert answer.status == 404
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE


async def test_a_program_that_names_no_origin_may_delete(
    http: aiohttp.ClientSession, guarded: Served
) -> None:
    async with http.delete(f"{guarded.url}/sessions/some", headers=bearer()) as answer:
        assert (answer.status, await code_of(answer)) == (404, "unknown_session")


async def test_a_listed_page_may_read_the_answer_and_the_error(
    http: aiohttp.ClientSession, guarded: Served
) -> None:
    headers = {"Origin": PAGE, **bearer()}
    for path, body, status in (
        ("/chat", chat("hello"), 200),
        ("/chat/stream", chat("hello"), 200),
        ("/tts", {"text": "hello you"}, 200),
        ("/chat", {}, 400),
        ("/nothing", {}, 404),
    ):
        async with http.post(f"{guarded.url}{path}", json=body, headers=headers) as answer:
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            assert answer.headers["Vary"] == "Origin"


async def test_a_preflight_is_answered_without_a_key(http: aiohttp.ClientSession, guarded: Served) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with http.options(f"{guarded.url}/chat", headers={"Origin": PAGE, **asked}) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    async with http.options(
        f"{guarded.url}/chat", headers={"Origin": "https://x.example", **asked}
    ) as answer:
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer kéy", KEY]
)
async def test_without_the_key_nothing_but_health_answers(
    http: aiohttp.ClientSession, guarded: Served, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in ("/voices", "/metrics", "/nothing"):
        async with http.get(f"{guarded.url}{path}", headers=headers) as answer:
            assert (answer.status, await code_of(answer)) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    async with http.get(f"{guarded.url}/health", headers=headers) as answer:
        assert answer.status == 200
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(guarded.ws_url, headers=headers)
    assert caught.value.status == 401


async def test_with_the_key_everything_answers(http: aiohttp.ClientSession, guarded: Served) -> None:
    for header in (bearer(), {"Authorization": f"bearer  {KEY}"}):
        async with http.get(f"{guarded.url}/voices", headers=header) as answer:
            assert answer.status == 200
    async with http.ws_connect(guarded.ws_url, headers=bearer()):
        pass


async def test_a_browser_offers_the_key_as_a_subprotocol(
    http: aiohttp.ClientSession, guarded: Served
) -> None:
    encoded = base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")
    offered = ("riposte.v1", f"riposte.key.{encoded}")
    async with http.ws_connect(guarded.ws_url, protocols=offered) as socket:
        assert socket.protocol == "riposte.v1"
    for wrong in ("AAAA", "!", ""):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(guarded.ws_url, protocols=("riposte.v1", f"riposte.key.{wrong}"))
        assert caught.value.status == 401


@pytest.mark.parametrize("path", ["/ws", "/ws/chat"])
@pytest.mark.parametrize("chosen", ["riposte.v1", None])
async def test_no_key_reaches_the_log(
    http: aiohttp.ClientSession,
    guarded: Served,
    caplog: pytest.LogCaptureFixture,
    path: str,
    chosen: str | None,
) -> None:
    caplog.set_level(logging.DEBUG)
    encoded = base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")
    offered = [f"riposte.key.{encoded}", *([chosen] if chosen else ["chat"])]
    async with http.ws_connect(f"{guarded.url}{path}", protocols=offered) as socket:
        assert socket.protocol == chosen
    if chosen is None:  # aiohttp still says what it did not like
        assert "'chat'" in caplog.text
    assert encoded not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Encoding: gzip\r\nContent-Length: 5\r\n", "abcde"),
        ("Content-Encoding: deflate\r\nContent-Length: 5\r\n", "abcde"),
    ],
)
async def test_a_body_that_is_not_what_its_headers_say_is_refused(
    served: Served, caplog: pytest.LogCaptureFixture, head: str, body: str
) -> None:
    head = f"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}"
    answer = await raw(served, f"{head}\r\n{body}".encode())
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b'{"error":{"code":"bad_request","message":"the body is not what its headers say' in answer
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nAuthorization: Bearer a secret\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: Bearer a secret" + b"y" * 9_000 + b"\r\n\r\n",
        b"a secret\r\n\r\n",
    ],
    ids=["a null byte", "too long", "no method"],
)
async def test_what_is_no_http_leaves_none_of_its_bytes_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture, request_bytes: bytes
) -> None:
    caplog.set_level(logging.INFO)
    assert re.match(rb"HTTP/1\.\d 400 ", await raw(served, request_bytes))
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


async def raw(served: Served, request: bytes) -> bytes:
    """Send bytes, and return what is answered up to the end of the connection."""
    reader, writer = await asyncio.open_connection(*served.url.removeprefix("http://").split(":"))
    writer.write(request)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        writer.close()


@pytest.fixture
async def starting() -> AsyncIterator[str]:
    """A server whose models are still loading, with a route that fails."""

    async def fails(request: web.Request) -> web.Response:
        raise RuntimeError("/a/secret/path")

    async def fails_late(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"half of ")
        raise RuntimeError("/a/secret/path")

    config, metrics = Config(), Metrics()
    state = ServerState("starting", "pico", parts={"asr": True, "llm": False})
    app = build_app(config, metrics, state, SessionTable(config, metrics))
    app.router.add_get("/fails", fails)
    app.router.add_get("/fails-late", fails_late)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_a_server_that_loads_says_so(http: aiohttp.ClientSession, starting: str) -> None:
    async with http.get(f"{starting}/health") as answer:
        body = await answer.json()
        assert (answer.status, body["status"]) == (503, "starting")
        assert (body["whisper"], body["llm"]) == (True, False)
    async with http.post(f"{starting}/chat", json=chat("hello")) as answer:
        assert (answer.status, await code_of(answer)) == (503, "busy")
    async with http.get(f"{starting}/voices") as answer:
        assert (answer.status, await code_of(answer)) == (503, "busy")


async def test_what_nobody_expected_shows_no_trace(
    http: aiohttp.ClientSession, starting: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with http.get(f"{starting}/fails") as answer:
        assert (answer.status, await code_of(answer)) == (500, "internal")
        assert "secret" not in await answer.text()
    assert "/a/secret/path" in caplog.text


async def test_an_answer_that_fails_late_is_broken_off(http: aiohttp.ClientSession, starting: str) -> None:
    async with http.get(f"{starting}/fails-late") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
