"""Engines that speak at the pace of speech: `benchmarks.paced:create`, for `benchmarks.streams`, and `:in_threads`.

A request's text says how: `40 12` is a piece of 40 ms every 40 ms, for twelve seconds.

A worker has a thread for each stream, and no real one has hundreds. Here they sleep, and one thread sends the sound of
all: what is to be measured is the front end, not what hundreds of threads in one interpreter cost.
"""

import gc
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from cosyserve.protocol import Chunk, EngineConfig, Synthesize
from cosyserve.wire.queues import Outbox

SAMPLE_RATE = 24_000
LOOK_S = 5.0
"""How often a stream looks whether its listener has gone."""


class Paced:
    """As many streams as `model.streams` says."""

    model_type = "paced"
    sample_rate = SAMPLE_RATE
    details: Mapping[str, str] = {}

    def __init__(self, config: EngineConfig) -> None:
        self.streams = config.streams
        self._due: list[tuple[float, int, Course]] = []
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        threading.Thread(target=self._send, name="pace", daemon=True).start()

    def warm_up(self) -> None:
        """There is nothing to warm."""

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """The first piece and the last; all between them are sent past it."""
        piece_ms, seconds = map(int, request.text.rstrip(".").split())
        piece = np.zeros(SAMPLE_RATE * piece_ms // 1000, np.float32)
        yield piece
        course = Course(request.job_id, piece_ms / 1000, 1000 * seconds // piece_ms)
        self._await(course)
        while not course.over.wait(LOOK_S):
            if cancelled():
                course.last = 0
                return
        yield piece

    def close(self) -> None:
        """Nothing is held."""

    def _await(self, course: "Course") -> None:
        with self._changed:
            heapq.heappush(self._due, (course.due_at(), next(self._numbers), course))
            self._changed.notify()

    def _send(self) -> None:
        outbox = None
        while True:
            with self._changed:
                while not self._due or (left_s := self._due[0][0] - time.monotonic()) > 0:
                    self._changed.wait(left_s if self._due else None)
                _, _, course = heapq.heappop(self._due)
            if course.sent >= course.last:
                course.over.set()
                continue
            outbox = outbox or next(thing for thing in gc.get_objects() if isinstance(thing, Outbox))
            outbox.put(Chunk(course.job_id, course.piece))
            course.sent += 1
            self._await(course)


class Course:
    """One stream's. Each piece has its time from the first on, so that a late one makes none after it late."""

    def __init__(self, job_id: int, piece_s: float, pieces: int) -> None:
        self.job_id = job_id
        self.piece = bytes(2 * round(SAMPLE_RATE * piece_s))
        self.sent = 1
        self.last = pieces - 1
        self.over = threading.Event()
        self._piece_s = piece_s
        self._began_at = time.monotonic()

    def due_at(self) -> float:
        """When its next piece is."""
        return self._began_at + self.sent * self._piece_s


def create(config: EngineConfig) -> Paced:
    """The engine's factory."""
    return Paced(config)


class InThreads(Paced):
    """For tens of streams, wherever it runs: each sleeps in a thread of its own, as a real engine's wait in theirs."""

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """A piece when it is due."""
        piece_ms, seconds = map(int, request.text.rstrip(".").split())
        piece = np.zeros(SAMPLE_RATE * piece_ms // 1000, np.float32)
        course = Course(request.job_id, piece_ms / 1000, 1000 * seconds // piece_ms)
        yield piece
        while course.sent <= course.last and not cancelled():
            time.sleep(max(0, course.due_at() - time.monotonic()))
            course.sent += 1
            yield piece


def in_threads(config: EngineConfig) -> InThreads:
    """Its factory."""
    return InThreads(config)
