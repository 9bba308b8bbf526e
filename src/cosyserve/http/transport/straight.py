"""The shortest way of a piece to its client, past all layers between the application and the socket.

They look at an answer's start and at its end. Passed on by each of them, a piece in the middle costs several times what
sending it does.
"""

from typing import Protocol

from starlette.types import Scope

from cosyserve.http.transport.inlet import Inlet

KEY = "straight"
"""In the state of a request's scope, where there is such a way."""


class Speaking(Protocol):
    """Whose answers they are."""

    def in_body(self, number: int) -> bool:
        """Whether that one has begun and has not ended."""


class Straight:
    """For answers of HTTP/1.1 that do not tell their length: h11 sends these in chunks, and so does this.

    number: of the answer on its connection.
    """

    def __init__(self, speaking: Speaking, number: int, inlet: Inlet) -> None:
        self._speaking = speaking
        self._number = number
        self._inlet = inlet

    @classmethod
    def of(cls, scope: Scope) -> "Straight | None":
        """A request's; None where it came by other ways."""
        straight: Straight | None = scope.get("state", {}).get(KEY)
        return straight

    @property
    def clear(self) -> bool:
        """Whether an answer is under way, and all that was sent of it is with the kernel."""
        return self._speaking.in_body(self._number) and self._inlet.clear

    def send(self, piece: bytes) -> None:
        """Only while it is clear. An empty one is none: it would be the end."""
        if piece:
            self._inlet.write(b"%x\r\n%b\r\n" % (len(piece), piece))
