"""How often a client may ask."""

from __future__ import annotations

import pytest

from riposte.endpoints import allowance
from riposte.endpoints.allowance import Allowance, address_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_minutes_worth_may_be_spent_at_once_and_then_it_trickles(clock: Clock) -> None:
    requests = Allowance(30, clock)
    assert [requests.take("a") for _ in range(30)] == [0] * 30
    assert requests.take("a") == 2  # one every two seconds
    clock.now += 1.5
    assert requests.take("a") == 1
    clock.now += 0.5
    assert [requests.take("a"), requests.take("a")] == [0, 2]


def test_a_refusal_costs_nothing(clock: Clock) -> None:
    requests = Allowance(1, clock)
    requests.take("a")
    assert [requests.take("a") for _ in range(100)] == [60] * 100
    clock.now += 60
    assert requests.take("a") == 0


def test_clients_do_not_share(clock: Clock) -> None:
    requests = Allowance(1, clock)
    assert [requests.take(name) for name in ("a", "b", "a", "b")] == [0, 0, 60, 60]


def test_looking_takes_nothing(clock: Clock) -> None:
    requests = Allowance(1, clock)
    assert [requests.wait_s("a"), requests.wait_s("a"), requests.take("a"), requests.wait_s("a")] == [
        0,
        0,
        0,
        60,
    ]


def test_memory_is_bounded_and_who_was_seen_last_is_kept(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "CLIENTS", 3)
    requests = Allowance(2, clock)
    for name in ("a", "b", "c", "a", "d"):
        assert requests.take(name) == 0
    assert len(requests) == 3
    assert [requests.wait_s("a"), requests.wait_s("b")] == [30, 0]  # b went first


@pytest.mark.parametrize(
    ("remote", "stands_for"),
    [
        ("192.168.1.5", "192.168.1.5"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.168.1.5", "192.168.1.5"),
        ("fe80::1%eth0", "fe80::1"),
        (None, ""),
    ],
)
def test_an_address_stands_for_a_household(remote: str | None, stands_for: str) -> None:
    assert address_of(remote) == stands_for
