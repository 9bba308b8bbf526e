"""Whose turn it is on the device: the stream that runs dry soonest goes first."""

import heapq
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 1.0
"""A stream that is far ahead of its listener still gets a step this often: it must notice that it is cancelled."""


class Turns:
    """A lock that goes to the earliest due time among those who wait, not to the first who came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, threading.Event]] = []

    @contextmanager
    def take(self, due: float) -> Iterator[None]:
        """Hold the device for one step. due: on the clock of `time.monotonic`."""
        turn = threading.Event()
        with self._lock:
            if self._taken:
                heapq.heappush(self._waiting, (due, next(self._order), turn))
            else:
                self._taken = True
                turn.set()
        turn.wait()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    # Handed over, not put up for grabs: whoever releases it would win it back nearly every time.
                    heapq.heappop(self._waiting)[2].set()
                else:
                    self._taken = False


class Pace:
    """How urgent a stream is: before its first sound since when it waits, after that until when its listener has sound.

    So first chunks are made in the order of arrival, one after the other. Sharing the device evenly would bring the
    first of ten as late as the last, and the last no sooner.
    """

    def __init__(self) -> None:
        self._due = time.monotonic()
        self._playing = False

    def sent(self, seconds: float) -> None:
        """Tell that so much more sound has left."""
        if not self._playing:
            self._playing, self._due = True, time.monotonic()
        self._due += seconds

    def due(self) -> float:
        """When its next step is due, on the clock of `time.monotonic`."""
        return min(self._due, time.monotonic() + PATIENCE_S)
