"""How many WebSocket sessions are open."""

from collections.abc import Iterator
from contextlib import contextmanager


class Sessions:
    """One a service."""

    def __init__(self) -> None:
        self.open = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """A session, for as long as this is entered."""
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
