"""Who may ask, from where, with what; and every failure in one shape.

In this order: errors become {"error": {"code", "message"}}; the Host must be ours (DNS rebinding), the
Origin too (another site's page); a preflight is answered; the key must fit; a body must be JSON, which no
form of another site can send (CSRF).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from riposte.config import Config
from riposte.endpoints.keys import CONFIG, METRICS
from riposte.errors import ClientError
from riposte.wire.frames import KEY_SUBPROTOCOL_PREFIX

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

INTERNAL = "internal error; the server's log has it"
_OPEN_PATHS = frozenset({"/health"})  # answers without a key
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PREFLIGHT_S = 600
_SENTENCES = {
    400: ("bad_request", "the request cannot be understood"),
    401: ("unauthorized", "the key is wrong or missing; send Authorization: Bearer KEY"),
    404: ("not_found", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not answer that method"),
    413: ("too_large", "the body is larger than this server takes"),
    415: ("unsupported_media_type", "the body must be application/json"),
}


class _Refused(Exception):
    """A request that is answered with this status before any handler sees it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.response = failure(status, code, message)


def middlewares(config: Config) -> list[Middleware]:
    """Return the middlewares, outermost first."""
    keys = tuple(key.encode() for key in config.server.keys)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_host(request, config)
        _check_origin(request, config.server.origins)
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return web.Response(status=204)  # `allow_origin` adds what is allowed
        if keys and request.path not in _OPEN_PATHS and not _has_key(request, keys):
            raise _refused(401)
        found = request.match_info.http_exception is None
        if found and request.method == hdrs.METH_POST and request.content_type != "application/json":
            raise _refused(415)
        return await handler(request)

    return [errors, guard]


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into the one shape. Traces go to the log alone."""
    try:
        return await handler(request)
    except ClientError as exc:
        request.app[METRICS].count_error(exc.code)
        return failure(exc.http_status, exc.code, str(exc))
    except _Refused as exc:
        return exc.response
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        code, message = _SENTENCES.get(exc.status, ("bad_request", exc.reason))
        response = failure(exc.status, code, message)
        if hdrs.ALLOW in exc.headers:
            response.headers[hdrs.ALLOW] = exc.headers[hdrs.ALLOW]
        return response
    except ConnectionError:
        raise  # the client is gone; there is nobody to answer
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        request.app[METRICS].count_error(ClientError.code)
        return failure(500, ClientError.code, INTERNAL)


def failure(status: int, code: str, message: str) -> web.Response:
    """Return the answer to what went wrong."""
    body = msgspec.json.encode({"error": {"code": code, "message": message}})
    response = web.Response(status=status, body=body, content_type="application/json", charset="utf-8")
    if status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return response


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Let a page of a configured origin read the answer. For `app.on_response_prepare`."""
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


def _check_host(request: web.Request, config: Config) -> None:
    """Refuse a Host that is not ours. Any port goes for our own names: it may be forwarded."""
    host = request.headers.get(hdrs.HOST, "").lower()
    name = _name_of(host)
    own = {config.server.host.strip("[]").lower(), *_LOOPBACK}
    # Bound to every address, the server is also called by the one that the client reached.
    address = request.get_extra_info("sockname")
    if address:
        own.add(str(address[0]))
    listed = _lower(config.server.hosts)
    if not name or (name not in own and name not in listed and host not in listed):
        raise _Refused(403, "forbidden", "this server does not go by that Host; list it in server.hosts")


def _check_origin(request: web.Request, origins: Collection[str]) -> None:
    """Refuse a page that was not served here, unless it is listed. Programs send no Origin."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or origin.lower() in _lower(origins):
        return
    try:
        parts = urlsplit(origin.lower())
        page, page_port = parts.hostname, parts.port
    except ValueError:
        parts, page, page_port = urlsplit(""), None, None
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = urlsplit(f"//{request.headers.get(hdrs.HOST, '').lower()}")
    # The port counts: what another program serves on this machine is another site.
    same = page is not None and (page, page_port or default) == (host.hostname, host.port or default)
    if default is None or not same:
        raise _Refused(403, "forbidden", "pages of that Origin may not use this server; see server.origins")


def _has_key(request: web.Request, keys: Collection[bytes]) -> bool:
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
    # Every pair is compared, so that the time taken tells nothing about which of the keys is near.
    return any([hmac.compare_digest(one, key) for one in offered for key in keys])


def _name_of(host: str) -> str:
    """Return the name in a Host header, without the port; "" when it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError for a port that is none
    except ValueError:
        return ""
    return parts.hostname or "" if parts.path == "" and "@" not in host else ""


def _refused(status: int) -> _Refused:
    return _Refused(status, *_SENTENCES[status])


def _lower(names: Collection[str]) -> set[str]:
    return {name.lower() for name in names}
