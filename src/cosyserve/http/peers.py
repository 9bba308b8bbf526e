"""Whose request it is: the address of the client, also where proxies that are trusted stand in between."""

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Peers:
    """trusted: the proxies' addresses, whose X-Forwarded-For is believed."""

    def __init__(self, trusted: Collection[Network] = ()) -> None:
        self._trusted = trusted

    def of(self, scope: Scope) -> str | None:
        """The client's address as text; None where the connection has none.

        Behind trusted proxies it is the last entry of X-Forwarded-For that is none of them: what stands before that,
        the client may have written itself.
        """
        client = scope.get("client")
        if not client:
            return None
        host = str(client[0])
        peer = _address(host)
        if peer is None or not self._trusts(peer):
            return host
        return str(self._behind(peer, _entries(scope)))

    def _behind(self, proxy: Address, entries: Iterable[str]) -> Address:
        """entries: the nearest first."""
        nearest = proxy
        for entry in entries:
            address = _address(entry)
            if address is None:
                break
            nearest = address
            if not self._trusts(address):
                break
        return nearest

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _entries(scope: Scope) -> list[str]:
    forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
    return [entry.strip() for entry in reversed(forwarded.split(","))]


def _address(text: str) -> Address | None:
    """With a port or without: some proxies write `1.2.3.4:5678` and `[::1]:5678`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
