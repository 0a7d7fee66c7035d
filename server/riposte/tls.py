"""TLS from a certificate and a key in files: checked before anything listens, renewed while it serves.

A browser gives a page a microphone over https only, or on the machine itself.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from riposte.errors import ConfigError

log = logging.getLogger(__name__)

# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python does not name.
_ANY_TIME = 0x20_0000
_NOT_A_PAIR = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_MAKE_ONE = "`mkcert NAME` makes a certificate and its key"


@dataclass(frozen=True, slots=True)
class PemFile:
    """A file that a setting names, and where the setting came from."""

    setting: str
    path: Path
    source: str

    def read(self) -> bytes:
        """Return what it holds. Raises ConfigError."""
        try:
            return self.path.read_bytes()
        except OSError as exc:
            raise self.wrong(f"cannot be read: {exc.strerror or exc}; a PEM file fits; {_MAKE_ONE}") from exc

    def wrong(self, why: str) -> ConfigError:
        """Return the refusal: which setting, from where, which file, and what is wrong with it."""
        return ConfigError(f"{self.setting} from {self.source} is {self.path}, which {why}")


class Tls:
    """The server's side of TLS 1.2 and 1.3. `context` stays the same object from start to end."""

    def __init__(self, cert: PemFile, key: PemFile) -> None:
        """Load both files. Raises ConfigError; a certificate that is out of date is served and warned of."""
        self._cert = cert
        self._key = key
        self.context = self._loaded()

    def reload(self) -> None:
        """Serve new connections with what the files hold now; when that does not fit, nothing changes."""
        try:
            self._loaded()  # first elsewhere: half a change would leave a certificate without its key
        except ConfigError as exc:
            log.error("the certificate was not renewed, the one before stays: %s", exc)
            return
        self.context.load_cert_chain(self._cert.path, self._key.path)
        log.info("new connections get the certificate that %s holds now", self._cert.path)

    def _loaded(self) -> ssl.SSLContext:
        cert, key = self._cert, self._key
        if b"-----BEGIN CERTIFICATE-----" not in cert.read():
            raise cert.wrong(f"holds no certificate; a PEM file with one fits; {_MAKE_ONE}")
        if b"PRIVATE KEY-----" not in key.read():
            raise key.wrong(f"holds no private key; a PEM file with one fits; {_MAKE_ONE}")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])

        def password() -> str:
            # Without this OpenSSL would ask on the terminal, where a service waits for ever.
            raise key.wrong(
                "is encrypted, and nobody is there to type its password; a key without one fits: "
                f"openssl pkey -in {key.path} -out server.key"
            )

        try:
            trusting = _trusting(cert.path)
        except (ssl.SSLError, ValueError) as exc:
            raise cert.wrong(f"holds a certificate that is damaged; a whole one fits; {_MAKE_ONE}") from exc
        try:
            context.load_cert_chain(cert.path, key.path, password)
        except ssl.SSLError as exc:
            if exc.reason in _NOT_A_PAIR:
                raise key.wrong(
                    f"is not the key of the certificate in {cert.path} ({cert.setting}); "
                    f"the one that it was made with fits; {_MAKE_ONE}"
                ) from exc
            why = f" ({exc.reason})" if exc.reason else ""
            raise key.wrong(
                f"does not do as the key of {cert.path} ({cert.setting}){why}; a whole one fits; {_MAKE_ONE}"
            ) from exc
        _warn_of_dates(context, trusting, cert)
        return context


def _trusting(cert: Path) -> ssl.SSLContext:
    """Return a client's side that takes this certificate, whatever its name and dates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _ANY_TIME
    context.load_verify_locations(cert)
    return context


def _warn_of_dates(context: ssl.SSLContext, trusting: ssl.SSLContext, cert: PemFile) -> None:
    """Log a warning when the certificate is not valid now."""
    told, now = _greeted(context, trusting), time.time()
    if not told:
        return
    ends, begins = (ssl.cert_time_to_seconds(str(told[name])) for name in ("notAfter", "notBefore"))
    if begins <= now <= ends:
        return
    verb, at = ("ended", ends) if now > ends else ("begins", begins)
    log.warning(
        "the certificate in %s is not valid now: its time %s on %s; browsers will refuse it",
        *(cert.path, verb, time.strftime("%Y-%m-%d", time.gmtime(at))),
    )


def _greeted(context: ssl.SSLContext, trusting: ssl.SSLContext) -> dict[str, object]:
    """Shake hands with oneself and return the certificate: Python shows its dates in no other way.

    Empty where that fails; real clients will say why.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(4):  # a side sends twice at most
            for side in (client, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        return dict(client.getpeercert() or {})
    except (ssl.SSLError, ValueError):
        return {}
