"""What crosses between a front end and an engine elsewhere: a job, its recording, and who speaks it.

A recording may be megabytes, and is that of many requests: it goes into Ray's object store once, and each job names it
there. An engine's process keeps those that it has lately fetched.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray

from cosyserve.protocol import Synthesize

KEPT_BYTES = 32 * 1024 * 1024
"""Of recordings, in the store for each front end and in the memory of each engine's process."""

Reference = Any
"""Ray's to an array of samples; no type of its own says so of what is awaited."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """A job on its way. request: without its recording's samples. samples: where they are. request_id: for the log."""

    request: Synthesize
    samples: Reference
    request_id: str


@dataclass(frozen=True, slots=True)
class Begun:
    """An engine has the job; its audio will be at `sample_rate` Hz. replica: by Serve's name."""

    replica: str
    sample_rate: int


class Recent(Generic[T]):
    """Values by a recording's digest, the latest KEPT_BYTES of them."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[T, int]] = OrderedDict()

    def get(self, digest: str) -> T | None:
        """What was put there, where it is still held."""
        if digest not in self._held:
            return None
        self._held.move_to_end(digest)
        return self._held[digest][0]

    def put(self, digest: str, value: T, size: int) -> T:
        """Hold it. Returns it."""
        self._held[digest] = value, size
        while len(self._held) > 1 and sum(size for _, size in self._held.values()) > KEPT_BYTES:
            self._held.popitem(last=False)
        return value


class Counter:
    """The front end's side: recordings handed in, and found again."""

    def __init__(self, put: Callable[[NDArray[np.float32]], Reference] = ray.put) -> None:
        """put: into the store."""
        self._put = put
        self._references: Recent[Reference] = Recent()

    def order(self, request: Synthesize, request_id: str) -> Order:
        """The job as it is sent. Takes as long as a recording that is new takes to be copied."""
        prompt = request.prompt
        samples = self._references.get(prompt.digest)
        if samples is None:
            samples = self._references.put(prompt.digest, self._put(prompt.samples), prompt.samples.nbytes)
        without = replace(prompt, samples=np.empty(0, np.float32))
        return Order(replace(request, prompt=without), samples, request_id)


class Shelf:
    """The engine's side."""

    def __init__(self) -> None:
        self._samples: Recent[NDArray[np.float32]] = Recent()

    async def request(self, order: Order) -> Synthesize:
        """The job with its recording."""
        prompt = order.request.prompt
        samples = self._samples.get(prompt.digest)
        if samples is None:
            # A copy: what lies in the store could not leave it while it is looked at.
            samples = np.array(await order.samples)
            self._samples.put(prompt.digest, samples, samples.nbytes)
        return replace(order.request, prompt=replace(prompt, samples=samples))
