"""From an address to an open WebSocket: addresses as people write them, TLS, keys, and why it failed."""

from __future__ import annotations

import asyncio
import socket as socketlib
import ssl
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from riposte.client.failures import CannotConnect
from riposte.wire.frames import SUBPROTOCOL

DEFAULT_PORT = 8000
CLOSE_S = 2.0  # for the closing handshake
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_HANDSHAKE = {
    401: "the key is wrong or missing",
    403: "it does not accept this host name or origin",
    404: "there is no such path; the native socket is /ws",
    503: "it is not ready, or shutting down",
}


def native_url(address: str) -> str:
    """Return the native socket's URL: of itself, of the server's http address, or of a bare host.

    `192.168.1.5` is ws://192.168.1.5:8000/ws, `https://box` is wss://box/ws. Raises CannotConnect.
    """
    bare = "://" not in address
    try:
        parts = urlsplit(f"ws://{address}" if bare else address)
        scheme, host, port = _SCHEMES.get(parts.scheme), parts.hostname, parts.port
    except ValueError:
        scheme = host = port = None
    if scheme is None or not host or any(char.isspace() for char in address):
        raise CannotConnect(f"{address!r} is no address of a server; ws://127.0.0.1:8000/ws is one")
    netloc = f"{parts.netloc}:{DEFAULT_PORT}" if bare and port is None else parts.netloc
    return urlunsplit((scheme, netloc, parts.path if parts.path.strip("/") else "/ws", parts.query, ""))


def trust(ca: str | Path | ssl.SSLContext | None) -> ssl.SSLContext | bool:
    """Return whom to trust: the system's authorities, or only the certificate in this PEM file."""
    if ca is None:
        return True
    if isinstance(ca, ssl.SSLContext):
        return ca
    try:
        return ssl.create_default_context(cafile=str(ca))
    except ssl.SSLError as exc:
        raise CannotConnect(f"{ca} holds no certificate; it must be a PEM file") from exc
    except OSError as exc:
        raise CannotConnect(f"{ca} cannot be read: {exc.strerror or exc}") from exc


async def dial(
    http: aiohttp.ClientSession,
    url: str,
    *,
    key: str | None,
    tls: ssl.SSLContext | bool,
    timeout_s: float,
) -> aiohttp.ClientWebSocketResponse:
    """Open the WebSocket. Raises CannotConnect with the reason."""
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    try:
        async with asyncio.timeout(timeout_s):
            socket = await http.ws_connect(
                url,
                protocols=(SUBPROTOCOL,),
                headers=headers,
                ssl=tls,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
            )
    except aiohttp.WSServerHandshakeError as exc:
        refusal = _HANDSHAKE.get(exc.status, exc.message)
        raise CannotConnect(f"the server at {url} refused with status {exc.status}: {refusal}") from exc
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as exc:
        reason = getattr(getattr(exc, "certificate_error", exc), "verify_message", exc)
        raise CannotConnect(
            f"the certificate of {url} is not trusted ({reason}); name a private one with ca=FILE (--ca FILE)"
        ) from exc
    except aiohttp.ClientConnectorSSLError as exc:
        raise CannotConnect(f"{url} does not speak TLS as asked; is it ws:// rather than wss://?") from exc
    except (aiohttp.InvalidURL, ValueError) as exc:
        raise CannotConnect(f"{url} is no address of a server; ws://127.0.0.1:8000/ws is one") from exc
    except aiohttp.ServerDisconnectedError as exc:
        raise CannotConnect(f"{url} hung up at once; if it speaks TLS, write wss:// or https://") from exc
    except (aiohttp.ClientError, OSError) as exc:
        # TimeoutError is an OSError too.
        raise CannotConnect(f"no server answers at {url}; start one with `riposte serve`") from exc
    _notice_silence(socket)
    return socket


def _notice_silence(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Have the kernel find out, within about 40 s, that the server's machine is gone."""
    sock = socket.get_extra_info("socket")
    if sock is None or not hasattr(socketlib, "TCP_KEEPIDLE"):
        return
    sock.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        sock.setsockopt(socketlib.IPPROTO_TCP, getattr(socketlib, option), value)
