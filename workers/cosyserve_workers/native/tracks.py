"""Where turns are taken: one after the other, or those of the language model beside those that make sound.

A track is an order of work. Two on a GPU are two CUDA streams, each with a thread that starts its work and waits for
it; they share no memory but what is only read. On a CPU, whose cores one turn keeps busy, there is one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch

from cosyserve_workers.native.lanes import set_threads

Result = TypeVar("Result")


class Track:
    """An order of work, on the thread that asks for it."""

    def __init__(self, stream: torch.cuda.Stream | None = None) -> None:
        self.stream = stream
        """None where the host's order, or the device's own, is all there is."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have what the calling thread starts on this track."""
        if self.stream is None:
            yield
            return
        with torch.cuda.stream(self.stream):
            yield

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """Do some work after all that was submitted before. What it raises is raised by what is returned."""
        done: Future[Result] = Future()
        try:
            done.set_result(self._on_it(work))
        except Exception as error:
            done.set_exception(error)
        return done

    def close(self) -> None:
        """Take no more work, and end when all is done."""

    def _on_it(self, work: Callable[[], Result]) -> Result:
        with self.entered():
            return work()


class Aside(Track):
    """An order of work on a thread of its own, whose operations may use as many threads of a CPU as its maker's."""

    def __init__(self, stream: torch.cuda.Stream | None = None) -> None:
        super().__init__(stream)
        threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(1, "sound", lambda: set_threads(threads))

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """As `Track.submit`, and wait for nothing."""
        return self._pool.submit(self._on_it, work)

    def close(self) -> None:
        """As `Track.close`; waits for the end."""
        self._pool.shutdown()


class Tracks(NamedTuple):
    """tokens: of the language model, on the thread that runs the networks. sound: of flow and vocoder."""

    tokens: Track
    sound: Track

    @classmethod
    def one(cls) -> "Tracks":
        """Turn after turn."""
        track = Track()
        return cls(track, track)

    @classmethod
    def of(cls, device: torch.device, count: int) -> "Tracks":
        """One or two. Of two, what is to bring tokens begins before what is to make sound and has not begun."""
        if count == 1:
            return cls.one()
        if device.type != "cuda":
            return cls(Track(), Aside())
        return cls(Track(torch.cuda.Stream(device, priority=-1)), Aside(torch.cuda.Stream(device)))

    def close(self) -> None:
        """End both."""
        self.tokens.close()
        self.sound.close()
