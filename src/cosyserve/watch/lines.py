"""The line in the log that each request gets, whatever became of it."""

import time
from collections.abc import Mapping

import structlog
from starlette.routing import Match
from starlette.types import Scope

UNMATCHED = "unmatched"
"""The route of a request that has none."""
QUIET = frozenset({"/health", "/health/live", "/metrics"})
"""Routes that machines ask every few seconds."""
MAX_METHOD_CHARS = 16

log = structlog.get_logger("cosyserve.request")


class RequestLine:
    """One request's, or one WebSocket session's, in the scope from its beginning on; told once, at the end.

    status: of the answer, None while there is none. code: of what went wrong. peer: the client's address.
    """

    def __init__(self, peer: str | None = None) -> None:
        self.peer = peer
        self.status: int | None = None
        self.code: str | None = None
        self._began_at = time.monotonic()
        self._event = "request"
        self._facts: dict[str, object] = {}

    @classmethod
    def of(cls, scope: Scope) -> "RequestLine":
        """That of an ASGI scope; one that nobody will tell where the service has put none there."""
        line: RequestLine = scope.get("state", {}).get("line") or cls()
        return line

    def become(self, event: str, facts: Mapping[str, object]) -> None:
        """It is a request of this kind, and has these fields too."""
        self._event = event
        self._facts |= facts

    def add(self, **facts: object) -> None:
        """It has these fields too."""
        self._facts |= facts

    def tell(self, scope: Scope) -> None:
        """The request is over."""
        route = route_of(scope)
        facts = {
            "method": scope.get("method", "GET")[:MAX_METHOD_CHARS],
            "route": route,
            "status": self.status,
            "code": self.code,
            "key": scope["state"].get("key_name"),
            "peer": self.peer,
            "duration_s": round(time.monotonic() - self._began_at, 3),
        }
        write = log.debug if route in QUIET else log.info
        write(self._event, **facts, **self._facts)


def tell_unread(status: int, code: str, peer: str | None) -> None:
    """The line of a request that was refused before it could be read."""
    log.info("request", method=None, route=UNMATCHED, status=status, code=code, key=None, peer=peer)


def route_of(scope: Scope) -> str:
    """The path as the routing table has it: what clients choose is in no label and no field."""
    routes = scope["app"].routes if "app" in scope else ()
    return next((route.path for route in routes if route.matches(scope)[0] is not Match.NONE), UNMATCHED)
