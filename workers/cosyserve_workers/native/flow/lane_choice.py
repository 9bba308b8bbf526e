"""How many lanes the flow gets on this machine: measured when it is loaded, because processors differ.

Products of a matrix unit (AMX) want all rows and all cores at once; other cores do more, each with operations of its
own.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.lanes import Lanes

GAIN = 0.95
"""Below which part of the other's time one lane has to be: what is between is noise."""
SMALL = 4096
"""Attention layers times channels: a model below this is quick either way, CosyVoice2's has 14,336."""
SLOW_S = 0.4
"""Where a step of CosyVoice2's takes longer, others use the machine too, and what is measured means nothing."""
REPEATS = 3
ENOUGH_S = 0.3
"""For repeats of one step."""


@dataclass(frozen=True, slots=True)
class LaneTable:
    """Seconds of an Euler step of one stream, and of two, by the number of lanes."""

    seconds: Mapping[int, tuple[float, float]]

    @property
    def best(self) -> int:
        """One lane where it is quicker beyond doubt, else as many as there are."""
        most = max(self.seconds)
        return 1 if sum(self.seconds[1]) < GAIN * sum(self.seconds[most]) else most

    def __str__(self) -> str:
        times = [
            f"{lanes}: {alone * 1000:.0f} ms a step of one stream, {two * 1000:.0f} of two"
            for lanes, (alone, two) in self.seconds.items()
        ]
        return f"{self.best} ({'; '.join(times)})"


def choose_lanes(flow: Flow) -> str:
    """Measure, and limit the flow's lanes to the number that is best. Returns why, in words."""
    lanes = flow.lanes
    most = lanes.width(2)
    if most < 2 or flow.sizes.estimator_layers * flow.sizes.channels < SMALL:
        return str(most)
    first = _best(flow.trial(1))
    if first > SLOW_S * flow.sizes.work:
        return f"{most} (not measured: the machine is busy, a step takes {first * 1000:.0f} ms)"
    table = measure(flow, most)
    lanes.limit(table.best)
    return str(table)


def measure(flow: Flow, most: int) -> LaneTable:
    """Time steps on one lane and on so many."""
    return LaneTable({count: _times(flow, flow.lanes, count) for count in (1, most)})


def _times(flow: Flow, lanes: Lanes, count: int) -> tuple[float, float]:
    lanes.limit(count)
    alone, two = flow.trial(1), flow.trial(2)

    @torch.inference_mode()  # which each thread has for itself
    def each(steps: Sequence[Callable[[], object]]) -> list[object]:
        return [step() for step in steps]

    together = two if count == 1 else lambda: lanes.run(each, [alone, alone])
    return _best(alone), _best(together)


@torch.inference_mode()
def _best(run: Callable[[], object]) -> float:
    """Seconds, the least of some."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
        if sum(times) > ENOUGH_S:
            break
    return min(times)
