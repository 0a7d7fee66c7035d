"""Who may ask, from where, with what; and every failure in one shape.

In this order: an answer is sent, though not for ever; errors become {"error": {"code", "message"}}; the Host
must be ours (DNS rebinding), the Origin too (another site's page); a preflight is answered; the key must
fit, and its owner not ask too often; a body must be JSON, which no form of another site can send (CSRF).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from riposte.config import Config
from riposte.endpoints.allowance import CLIENT, Allowance, address_of, spend
from riposte.endpoints.keys import CONFIG, METRICS
from riposte.errors import ClientError, RateLimited
from riposte.log import guard_aiohttp
from riposte.wire.frames import KEY_SUBPROTOCOL_PREFIX

log = logging.getLogger(__name__)

INTERNAL = "internal error; the server's log has it"
_OPEN_PATHS = frozenset({"/health"})  # answers without a key
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PREFLIGHT_S = 600
_KEYS_OFFERED = 2  # in a request: the header and a subprotocol; more would be guesses
_SENTENCES = {
    400: ("bad_request", "the request cannot be understood"),
    401: ("unauthorized", "the key is wrong or missing; send Authorization: Bearer KEY"),
    404: ("not_found", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not answer that method"),
    408: ("timeout", "the body did not arrive in time"),
    413: ("too_large", "the body is larger than this server takes"),
    415: ("unsupported_media_type", "the body must be application/json"),
}


def middlewares(config: Config) -> list[Middleware]:
    """Return the middlewares, outermost first. From here on aiohttp logs no key."""
    guard_aiohttp()
    keys = tuple(key.encode() for key in config.server.keys)
    # Without a certificate of our own, https may be the doing of a proxy before us.
    schemes = {"https": 443} if config.server.tls_cert else {"http": 80, "https": 443}

    wrong_keys = Allowance(config.limits.wrong_keys_per_minute)

    def client_of(request: web.Request) -> str:
        """Name whose allowance a request takes from: its key's, else its address's."""
        address = address_of(request.remote)
        if not keys:
            return address
        # Before the key is looked at: else who guesses would still learn which one is right.
        if wait_s := wrong_keys.wait_s(address):
            raise RateLimited(f"too many wrong keys from your address; try in {wait_s} s", wait_s)
        offered = _offered_keys(request)
        number = _fitting(offered, keys)
        if number is None:
            if offered:
                wrong_keys.take(address)
            raise web.HTTPUnauthorized
        return f"key {number}"

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_our_host(request, config):
            return _refused(
                request, 403, "forbidden", "this server does not go by that Host; see server.hosts"
            )
        if not _is_our_origin(request, config.server.origins, schemes):
            return _refused(request, 403, "forbidden", "pages of that Origin may not ask; see server.origins")
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return web.Response(status=204)  # `add_headers` adds what is allowed
        if request.path not in _OPEN_PATHS:
            request[CLIENT] = client_of(request)
            spend(request)
        found = request.match_info.http_exception is None
        if found and request.method == hdrs.METH_POST and request.content_type != "application/json":
            return _refused(request, 415, *_SENTENCES[415])
        return await handler(request)

    return [sent_in_time, errors, guard]


@web.middleware
async def sent_in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send what is left of an answer here: aiohttp would wait for ever for a client that does not read it."""
    answer = await handler(request)
    if isinstance(answer, web.WebSocketResponse):
        return answer  # its handler closed it
    limit_s = request.app[CONFIG].limits.slow_client_s
    try:
        async with asyncio.timeout(limit_s):
            await answer.prepare(request)
            await answer.write_eof()
    except TimeoutError:
        log.info("broke off %s %s: the client did not read for %g s", request.method, request.path, limit_s)
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        log.debug("%s %s: the client left", request.method, request.path)
    return answer


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into the one shape. Traces go to the log alone.

    An answer that has begun cannot be taken back: it is broken off, so that its client sees that it is
    not whole.
    """
    try:
        return await handler(request)
    except ClientError as exc:
        request.app[METRICS].count_error(exc.code)
        answer = failure(exc.http_status, exc.code, str(exc))
        if isinstance(exc, RateLimited):
            answer.headers[hdrs.RETRY_AFTER] = str(exc.retry_s)
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        answer = _refused(request, exc.status, *_SENTENCES.get(exc.status, ("bad_request", exc.reason)))
        if hdrs.ALLOW in exc.headers:
            answer.headers[hdrs.ALLOW] = exc.headers[hdrs.ALLOW]
    except web.RequestPayloadError:
        answer = _refused(
            request, 400, "bad_request", "the body is not what its headers say, and cannot be read"
        )
    except Exception as exc:
        answer = failure(500, ClientError.code, INTERNAL)
        if isinstance(exc, ConnectionError) and is_gone(request):
            log.debug("%s %s: the client left", request.method, request.path)
            return answer  # which aiohttp drops without a word
        log.exception("%s %s failed", request.method, request.path)
        request.app[METRICS].count_error(ClientError.code)
    if request.writer.output_size and request.transport is not None:
        request.transport.abort()
    return answer


def is_gone(request: web.Request) -> bool:
    """Has the client left?"""
    return request.transport is None or request.transport.is_closing()


def _refused(request: web.Request, status: int, code: str, message: str) -> web.Response:
    request.app[METRICS].count_error(code)
    return failure(status, code, message)


def failure(status: int, code: str, message: str) -> web.Response:
    """Return the answer to what went wrong."""
    body = msgspec.json.encode({"error": {"code": code, "message": message}})
    response = web.Response(status=status, body=body, content_type="application/json", charset="utf-8")
    if status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Let a page of a configured origin read the answer. For `app.on_response_prepare`."""
    response.headers[hdrs.SERVER] = "riposte"  # else it names the versions of Python and aiohttp
    response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    response.headers["X-Content-Type-Options"] = "nosniff"
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or origin.lower() not in _lower(request.app[CONFIG].server.origins):
        return
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    if request.method == hdrs.METH_OPTIONS:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = "GET, POST, DELETE"
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = "Authorization, Content-Type"
        response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(_PREFLIGHT_S)


def _is_our_host(request: web.Request, config: Config) -> bool:
    """Tell whether the Host names this server. Any port goes with our own names: it may be forwarded."""
    host = request.headers.get(hdrs.HOST, "").lower()
    name = _name_of(host)
    own = {config.server.host.strip("[]").lower(), *_LOOPBACK}
    # Bound to every address, the server also goes by the one that the client reached.
    if address := request.get_extra_info("sockname"):
        own.add(str(address[0]))
    return name != "" and (name in own or not _lower(config.server.hosts).isdisjoint({name, host}))


def _is_our_origin(request: web.Request, origins: Collection[str], schemes: Mapping[str, int]) -> bool:
    """Tell whether the page that asks was served here, or is listed. Programs send no Origin.

    `schemes` are those that this server's own pages have, with their default ports.
    """
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return not _is_embedded(request)
    if origin.lower() in _lower(origins):
        return True
    scheme, _, place = origin.lower().partition("://")
    default = schemes.get(scheme)
    if default is None or not _name_of(place):
        return False
    # The port counts: what another program serves on this machine is another site.
    page, here = urlsplit(f"//{place}"), urlsplit(f"//{request.headers[hdrs.HOST].lower()}")
    return (page.hostname, page.port or default) == (here.hostname, here.port or default)


def _is_embedded(request: web.Request) -> bool:
    """Tell whether another site's page asks by an image, a script or a frame: those name no Origin.

    It could not read the answer, but it could spend the allowance of whoever looks at it.
    """
    site, mode, dest = (request.headers.get(f"Sec-Fetch-{name}") for name in ("Site", "Mode", "Dest"))
    followed_a_link = (mode, dest) == ("navigate", "document")
    return site in ("cross-site", "same-site") and not followed_a_link


def _offered_keys(request: web.Request) -> list[bytes]:
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    offered = [given.strip().encode("utf-8", "surrogateescape")] if scheme.lower() == "bearer" else []
    # A browser cannot set headers on a WebSocket, but it can offer subprotocols.
    for protocol in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(","):
        if protocol.strip().startswith(KEY_SUBPROTOCOL_PREFIX):
            encoded = protocol.strip().removeprefix(KEY_SUBPROTOCOL_PREFIX)
            try:
                offered.append(base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True))
            except (binascii.Error, ValueError):
                continue
    return offered[:_KEYS_OFFERED]


def _fitting(offered: Sequence[bytes], keys: Sequence[bytes]) -> int | None:
    """Return the number of the key that was offered."""
    # Every pair is compared, so that the time taken tells nothing about which of the keys is near.
    fits = [any(tuple(hmac.compare_digest(one, key) for one in offered)) for key in keys]
    return fits.index(True) if any(fits) else None


def _name_of(host: str) -> str:
    """Return the name in a Host header, without the port; "" when it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError for a port that is none
    except ValueError:
        return ""
    whole = parts.netloc == host and "@" not in host  # no path, no user
    return (parts.hostname or "") if whole else ""


def _lower(names: Collection[str]) -> set[str]:
    return {name.lower() for name in names}
