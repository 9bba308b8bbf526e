"""What crosses between a front end and an engine elsewhere: a job, its recording, and who speaks it.

A recording may be megabytes, and is that of many requests: it goes into Ray's object store once, and each job names it
there. An engine's process keeps those that it has lately fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from cosyserve.protocol import Prompt, Synthesize
from cosyserve.voices.prompt_cache import PromptCache

KEPT_BYTES = 32 * 1024 * 1024
"""Of recordings, in the store for each front end and in the memory of each engine's process."""

Reference = Any
"""Ray's to an array of samples; no type of its own says so of what is awaited."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job on its way. request: without its recording's samples. samples: where they are. request_id: for the log."""

    request: Synthesize
    samples: Reference
    request_id: str


@dataclass(frozen=True, slots=True)
class Begun:
    """An engine has the job; its audio will be at `sample_rate` Hz."""

    sample_rate: int


class Counter:
    """The front end's side: recordings handed in, and found again."""

    def __init__(self, put: Callable[[NDArray[np.float32]], Reference] = ray.put) -> None:
        """put: into the store."""
        self._put = put
        self._references = PromptCache[Reference](KEPT_BYTES)

    def order(self, request: Synthesize, request_id: str) -> Order:
        """The job as it is sent. Takes as long as a recording that is new takes to be copied."""
        prompt = request.prompt
        samples = self._references.get(prompt.digest)
        if samples is None:
            samples = self._put(prompt.samples)
            self._references.put(prompt.digest, samples, prompt.samples.nbytes)
        without = replace(prompt, samples=np.empty(0, np.float32))
        return Order(replace(request, prompt=without), samples, request_id)


class Shelf:
    """The engine's side."""

    def __init__(self) -> None:
        self._prompts = PromptCache[Prompt](KEPT_BYTES)

    async def request(self, order: Order) -> Synthesize:
        """The job with its recording."""
        digest = order.request.prompt.digest
        prompt = self._prompts.get(digest)
        if prompt is None:
            # A copy: what lies in the store could not leave it while it is looked at.
            samples = np.array(await order.samples)
            prompt = replace(order.request.prompt, samples=samples)
            self._prompts.put(digest, prompt, samples.nbytes)
        return replace(order.request, prompt=prompt)
