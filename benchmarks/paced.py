"""An engine that speaks at the pace of speech: `benchmarks.paced:create`, for `benchmarks.streams`.

A request's text says how: `40 12` is a piece of 40 ms every 40 ms, for twelve seconds.
"""

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from cosyserve.protocol import EngineConfig, Synthesize

SAMPLE_RATE = 24_000


class Paced:
    """As many streams as `model.streams` says."""

    model_type = "paced"
    sample_rate = SAMPLE_RATE
    details: Mapping[str, str] = {}

    def __init__(self, config: EngineConfig) -> None:
        self.streams = config.streams

    def warm_up(self) -> None:
        """There is nothing to warm."""

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """Each piece at its time, counted from the first, so that a late one makes none after it late."""
        piece_ms, seconds = map(int, request.text.rstrip(".").split())
        piece = np.zeros(SAMPLE_RATE * piece_ms // 1000, np.float32)
        began_at = time.monotonic()
        for number in range(1000 * seconds // piece_ms):
            time.sleep(max(0.0, began_at + number * piece_ms / 1000 - time.monotonic()))
            if cancelled():
                return
            yield piece

    def close(self) -> None:
        """Nothing is held."""


def create(config: EngineConfig) -> Paced:
    """The engine's factory."""
    return Paced(config)
