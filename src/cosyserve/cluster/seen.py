"""The replicas that run, as Serve's router in this process was last told.

A module of its own: Serve copies the router's class into each process with all that its module holds, so what others
are to see cannot be there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """A replica. told: what it says of itself, see `Engine`."""

    id: str
    told: Mapping[str, Any]


_now: list[Sequence[Seen]] = [()]


def publish(replicas: Sequence[Seen]) -> None:
    """These run now. Called by Serve's thread."""
    _now[0] = replicas


def replicas() -> Sequence[Seen]:
    """Those of now. Called by any thread."""
    return _now[0]
