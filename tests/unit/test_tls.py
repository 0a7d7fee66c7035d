"""A certificate and its key: what is refused, with which sentence, and what only draws a warning."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from certificates import Pair, authority, days, issue
from cryptography.hazmat.primitives import serialization

from riposte.app import open_tls
from riposte.config import load_config
from riposte.errors import ConfigError
from riposte.tls import Tls


def opened(pair: Pair) -> Tls | None:
    flags = {"server.tls_cert": str(pair.cert), "server.tls_key": str(pair.key)}
    loaded = load_config(None, {}, flags)
    return open_tls(loaded.config, loaded.sources)


def lose_the_certificate(pair: Pair) -> None:
    pair.cert.unlink()


def make_the_key_a_folder(pair: Pair) -> None:
    pair.key.unlink()
    pair.key.mkdir()


def write_der(pair: Pair) -> None:
    pair.cert.write_bytes(ssl.PEM_cert_to_DER_cert(pair.cert.read_text()))


def cut_the_certificate(pair: Pair) -> None:
    pair.cert.write_bytes(pair.cert.read_bytes()[:300])


def cut_the_key(pair: Pair) -> None:
    pair.key.write_bytes(pair.key.read_bytes()[:100])


def swap(pair: Pair) -> None:
    cert, key = pair.cert.read_bytes(), pair.key.read_bytes()
    pair.cert.write_bytes(key)
    pair.key.write_bytes(cert)


def take_another_key(pair: Pair) -> None:
    pair.key.write_bytes(issue(pair.key.parent, "another").key.read_bytes())


def take_a_key_of_another_kind(pair: Pair) -> None:
    other = authority().issue_cert("localhost", key_type=trustme.KeyType.RSA)
    other.private_key_pem.write_to_path(pair.key)


def encrypt_the_key(pair: Pair) -> None:
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"a password")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    pair.key.write_bytes(pem)


@pytest.mark.parametrize(
    ("spoil", "setting", "why"),
    [
        (
            lose_the_certificate,
            "tls_cert",
            "which cannot be read: No such file or directory; a PEM file fits",
        ),
        (make_the_key_a_folder, "tls_key", "which cannot be read: Is a directory; a PEM file fits"),
        (write_der, "tls_cert", "which holds no certificate; a PEM file with one fits"),
        (swap, "tls_cert", "which holds no certificate; a PEM file with one fits"),
        (cut_the_certificate, "tls_cert", "which holds a certificate that is damaged"),
        (cut_the_key, "tls_key", "which does not do as the key of"),
        (take_another_key, "tls_key", "which is not the key of the certificate in"),
        (take_a_key_of_another_kind, "tls_key", "which is not the key of the certificate in"),
        (encrypt_the_key, "tls_key", "which is encrypted, and nobody is there to type its password"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_files_that_do_not_fit_are_refused_in_words(
    tmp_path: Path, spoil: Callable[[Pair], None], setting: str, why: str
) -> None:
    pair = issue(tmp_path, "home")
    spoil(pair)
    with pytest.raises(ConfigError) as caught:
        opened(pair)
    path = pair.cert if setting == "tls_cert" else pair.key
    flag = setting.replace("_", "-")
    assert str(caught.value).startswith(f"server.{setting} from --{flag} is {path}, {why}")
    assert "mkcert" in str(caught.value) or "openssl pkey" in str(caught.value)  # what to type


@pytest.mark.parametrize(("given", "lacking"), [("tls_cert", "tls_key"), ("tls_key", "tls_cert")])
def test_one_without_the_other_is_refused(given: str, lacking: str) -> None:
    with pytest.raises(
        ConfigError, match=rf'server\.{given} from RIPOSTE_.* is "x\.pem".*{lacking} is not set'
    ):
        load_config(None, {f"RIPOSTE_SERVER_{given.upper()}": "x.pem"})


def test_without_a_certificate_there_is_no_tls() -> None:
    assert open_tls(load_config(None, {}).config) is None


@pytest.mark.parametrize(
    ("begins", "ends", "said"), [(-30, -2, "ended on"), (2, 30, "begins on"), (-2, 2, None)]
)
def test_a_certificate_out_of_date_draws_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, begins: int, ends: int, said: str | None
) -> None:
    pair = issue(tmp_path, "home", not_before=days(begins), not_after=days(ends))
    assert opened(pair) is not None
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [f"{pair.cert} is not valid now: its time {said}" in line for line in warnings] == [True] * bool(
        said
    )


def test_old_versions_of_tls_are_not_spoken(tmp_path: Path) -> None:
    tls = opened(issue(tmp_path, "home"))
    assert tls is not None
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2
