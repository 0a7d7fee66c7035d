"""Certificates that are made on the spot, by an authority that only a test trusts."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    cert: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        """What `serving` takes."""
        return {"server__tls_cert": str(self.cert), "server__tls_key": str(self.key)}


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def trusting() -> ssl.SSLContext:
    """Return a client's side that trusts the authority."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def issue(folder: Path, name: str, **options: object) -> Pair:
    """Write a certificate for this machine, and its key."""
    made = authority().issue_cert("localhost", "127.0.0.1", **options)
    pair = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem")
    pair.cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    made.private_key_pem.write_to_path(pair.key)
    return pair


def days(number: int) -> datetime.datetime:
    """Return the time so many days from now."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=number)


async def serial(port: int) -> str:
    """Return the serial number of the certificate that a new connection gets."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
    told = writer.get_extra_info("peercert")
    writer.close()
    await writer.wait_closed()
    return str(told["serialNumber"])
