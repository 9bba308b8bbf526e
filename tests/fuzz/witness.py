"""What is right whatever comes: an answer of the documented ones, in a sound server that stays as it was."""

import json
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import psutil
from websockets.frames import CloseCode

from cosyserve.errors import ServiceError, StorageFailed, Unavailable
from tests.faults import unannounced
from tests.http.wire import HasError, check_error, connect, receive
from tests.serving import Server

MIB = 2**20
SETTLED_AFTER = 200
"""From this case on the front end has met everything once: its memory has its size."""
GROWTH_MIB = 48
LOOK_EVERY = 20
LONGEST_HEAD = 2**16
"""Of a request; a longer one is refused before it is read, in no words of ours."""
OK = {200, 201}
ROUTERS = {(404, "not_found"), (405, "method_not_allowed")}
FAIR_CLOSES = {
    CloseCode.NORMAL_CLOSURE,
    CloseCode.GOING_AWAY,
    CloseCode.PROTOCOL_ERROR,
    CloseCode.UNSUPPORTED_DATA,
    CloseCode.INVALID_DATA,
    CloseCode.POLICY_VIOLATION,
    CloseCode.MESSAGE_TOO_BIG,
}
"""What may be a client's fault. None is INTERNAL_ERROR, nor ABNORMAL_CLOSURE, which is no close at all."""


def kinds(root: type[ServiceError] = ServiceError) -> Iterable[type[ServiceError]]:
    """Every class of error."""
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def is_fair(kind: type[ServiceError]) -> bool:
    """Whether a sound server may answer so: the client's mistake, no room, or a full disk."""
    return kind.status < 500 or issubclass(kind, Unavailable | StorageFailed)


FAIR = ROUTERS | {(kind.status, kind.code) for kind in kinds() if is_fair(kind)}
FAIR_STATUSES = {status for status, _ in FAIR}
# Refusals of what is no request of HTTP/1.1 have no body of ours.
FAIR_RAW = OK | FAIR_STATUSES | {100, 101, 431, 501, 505}


class Witness:
    """Sees each case of one server, and the server as it is before and after."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._process = psutil.Process(server.pid)
        self._pids = server.worker_pids()
        self._cases = 0
        self._settled: int | None = None
        self._seen = len(server.output())

    def answered(self, answer: HasError, content: bytes) -> bool:
        """Whether it was a good answer; else it is one of the documented errors."""
        if answer.status_code in OK:
            assert content
            return True
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) in FAIR, (answer.status_code, error)
        check_error(answer, answer.status_code, error["code"], error["param"])
        return False

    def asked(self, request: bytes) -> bool:
        """Send a whole request over a socket, and judge the answer."""
        with connect(self.server) as connection:
            connection.sendall(request)
            answer = receive(connection)
        try:
            if answer.status_code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                assert request.find(b"\r\n\r\n") > LONGEST_HEAD
                return False
            return self.answered(answer, answer.content)
        finally:
            self.case()

    def told(self, message: dict[str, Any]) -> None:
        """Judge a message of a WebSocket session."""
        if message["type"] == "error":
            assert set(message) == {"type", "error", "utterance"}
            codes = {kind.code for kind in kinds() if is_fair(kind)}
            assert message["error"]["code"] in codes, message
            assert "Traceback" not in message["error"]["message"]

    def raw(self, received: bytes) -> None:
        """Judge whatever came back over a socket on which anything may have been sent."""
        assert not received or received.startswith(b"HTTP/1."), received[:200]
        for status in re.findall(rb"(?:^|\r\n)HTTP/1\.[01] (\d{3})", received[:100_000]):
            assert int(status) in FAIR_RAW, received[:500]

    def case(self) -> None:
        """One more has been dealt with."""
        self._cases += 1
        self._read_log()
        if self._cases % LOOK_EVERY == 0:
            assert self.server.get("/health/live").status_code == 200
        if self._cases == SETTLED_AFTER:
            self._settled = self._process.memory_info().rss

    def close(self) -> None:
        """The server is the one that it was, idle, and no larger."""
        self.server.await_idle()
        self._read_log()
        assert self.server.worker_pids() == self._pids
        assert self.server.speak(text="hello").status_code == 200
        if self._settled is not None:
            grown = (self._process.memory_info().rss - self._settled) / MIB
            assert grown < GROWTH_MIB, f"{grown:.0f} MiB from the {SETTLED_AFTER}th case to the {self._cases}th"

    def _read_log(self) -> None:
        """Nothing that clients do is a fault of ours."""
        output = self.server.output()
        whole = output.rfind("\n") + 1
        fresh, self._seen = output[self._seen : whole], max(self._seen, whole)
        assert not (faults := unannounced(fresh, ())), "\n".join(faults)
        errors = [line for line in fresh.splitlines() if line.startswith("{") and json.loads(line)["level"] == "error"]
        assert not errors, "\n".join(errors)
