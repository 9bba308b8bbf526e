"""Whose a request is: the connection's address, and behind trusted proxies what they say."""

from ipaddress import ip_network
from typing import Any

import pytest

from cosyserve.http.peers import Peers

PROXIES = Peers([ip_network("10.0.0.0/8"), ip_network("::1")])


def scope(client: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", entries.encode()) for entries in forwarded]
    return {"type": "http", "headers": headers, "client": client and (client, 1234)}


@pytest.mark.parametrize("client", ["192.0.2.1", "10.0.0.1", "::1", "unix"])
def test_nobody_is_believed_by_default(client: str) -> None:
    assert Peers().of(scope(client, "203.0.113.9")) == client


def test_no_address() -> None:
    assert PROXIES.of(scope(None, "203.0.113.9")) is None


def test_strangers_are_not_believed() -> None:
    assert PROXIES.of(scope("192.0.2.1", "203.0.113.9")) == "192.0.2.1"


@pytest.mark.parametrize("proxy", ["10.1.2.3", "::1", "::ffff:10.1.2.3"])
@pytest.mark.parametrize(
    ("forwarded", "peer"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        (["1.1.1.1", "203.0.113.9, 10.0.0.7"], "203.0.113.9"),
        (["203.0.113.9:4711, 10.0.0.7:80"], "203.0.113.9"),
        (["[2001:db8::9]:4711"], "2001:db8::9"),
        (["2001:db8::9"], "2001:db8::9"),
        (["10.0.0.8, 10.0.0.7"], "10.0.0.8"),
        (["203.0.113.9, <script>, 10.0.0.7"], "10.0.0.7"),
    ],
)
def test_the_last_that_is_no_proxy(proxy: str, forwarded: list[str], peer: str) -> None:
    assert PROXIES.of(scope(proxy, *forwarded)) == peer


@pytest.mark.parametrize("forwarded", [[], [""], ["unknown"], ["x" * 5000]])
def test_a_proxy_that_says_nothing_of_use(forwarded: list[str]) -> None:
    assert PROXIES.of(scope("10.1.2.3", *forwarded)) == "10.1.2.3"
