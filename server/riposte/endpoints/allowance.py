"""So many requests a minute and client, and so many wrong keys a minute and address."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from riposte.endpoints.keys import CONFIG
from riposte.errors import RateLimited

CLIENTS = 4_096  # who was seen last; to forget somebody is to forgive them


class Allowance:
    """A bucket for each client, which refills evenly over a minute. Bounded: the longest unseen goes."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._full = float(per_minute)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was left, and when

    def __len__(self) -> int:
        return len(self._left)

    def take(self, client: str) -> int:
        """Take one; return 0, or in how many whole seconds there will be one to take."""
        now = self._clock()
        left = self._now_left(client, now)
        if left < 1:
            return math.ceil((1 - left) * 60 / self._full)
        self._left[client] = (left - 1, now)
        self._left.move_to_end(client)
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return 0

    def wait_s(self, client: str) -> int:
        """Return what `take` would, and take nothing."""
        left = self._now_left(client, self._clock())
        return 0 if left >= 1 else math.ceil((1 - left) * 60 / self._full)

    def _now_left(self, client: str, now: float) -> float:
        left, at = self._left.get(client, (self._full, now))
        return min(self._full, left + (now - at) * self._full / 60)


ALLOWANCE = web.AppKey("allowance", Allowance)
CLIENT = web.RequestKey("client", str)  # for whom a request counts


def spend(request: web.Request) -> None:
    """Count one more request of this request's client. Raises RateLimited."""
    if wait_s := request.app[ALLOWANCE].take(request[CLIENT]):
        limit = request.app[CONFIG].limits.requests_per_minute
        raise RateLimited(f"more than {limit} requests a minute; try in {wait_s} s", wait_s)


def address_of(remote: str | None) -> str:
    """Return who an address stands for: a network of IPv6 is one household, whose devices change theirs."""
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return remote or ""
    if address.version == 4 or address.is_loopback or address.is_link_local:
        return str(address)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
