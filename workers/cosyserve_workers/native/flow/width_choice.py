"""How many streams share a solve on a GPU: measured when the model is loaded.

What one more costs depends on the card, its driver and the host that starts the kernels: from nothing, where the card
is half idle, to as much as a solve of its own, and then all others wait for it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.flow.rows import SHARED

GAIN = 0.95
"""A wider solve has to bring a stream's part below so much of what it was: what is between is noise."""
REPEATS = 5


@dataclass(frozen=True, slots=True)
class WidthTable:
    """Seconds of an Euler step, by how many streams share it; of one alone at least."""

    seconds: Mapping[int, float]

    @property
    def best(self) -> int:
        """The widest that pays."""
        best = 1
        for width in sorted(self.seconds):
            if self.seconds[width] / width < GAIN * self.seconds[best] / best:
                best = width
        return best

    def __str__(self) -> str:
        times = ", ".join(f"{width}: {seconds * 1000:.1f}" for width, seconds in sorted(self.seconds.items()))
        return f"{self.best} (ms a step by streams: {times})"


def measure_widths(flow: Flow, most: int) -> WidthTable:
    """Time steps of 1, 2, 4, ... and of `most` streams, or as many as share one. Each one's first does not count."""
    most = min(most, SHARED)
    widths = {*(1 << power for power in range(most.bit_length())), most}
    return WidthTable({width: _step_s(flow, width) for width in sorted(widths)})


def _step_s(flow: Flow, streams: int) -> float:
    step = flow.trial(streams)
    times = []
    with torch.inference_mode():
        for _ in range(1 + REPEATS):
            started = time.perf_counter()
            step()
            if flow.device.type == "cuda":
                torch.cuda.synchronize(flow.device)
            times.append(time.perf_counter() - started)
    return min(times[1:])
