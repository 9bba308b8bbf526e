"""Steps of a network as CUDA graphs: hundreds of small kernels started at one go.

A graph has fixed shapes and addresses. What it is given must be copied to where it reads, and what it returns is
overwritten when any graph of the same recorder runs next.
"""

import logging
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

TOLERANCE = 0.05
"""Of what a graph returns against the same step without one, relative to the largest value: it tells a broken graph
from half-precision rounding."""

Step = Callable[[], tuple[Tensor, ...]]
Record = Callable[[Step], Step]
"""Makes of a step one that does the same with what then lies in the same tensors, and returns the same tensors."""

log = logging.getLogger(__name__)


class Graphs:
    """One network's steps, a graph for each shape. Without graphs from the first one that does not work.

    what: the steps' name in the log. record: how a graph is made, a `CudaRecorder` but in tests.
    """

    def __init__(self, what: str, record: Record) -> None:
        self._what = what
        self._record = record
        self._graphs: dict[Hashable, Step] = {}
        self.sound = True
        """Whether all that were made so far work."""

    def run(self, shape: Hashable, step: Step) -> tuple[Tensor, ...]:
        """Run a step. With the same shape it must read and write the same tensors; running it twice changes nothing."""
        if not self.sound:
            return step()
        if shape not in self._graphs:
            return self._first(shape, step)
        return self._graphs[shape]()

    def _first(self, shape: Hashable, step: Step) -> tuple[Tensor, ...]:
        """Make the graph of a shape, and see that it does what it should."""
        plain = step()
        try:
            graph = self._record(step)
            difference = (graph()[0] - plain[0]).abs().max() / plain[0].abs().max()
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            log.warning("CUDA graphs are off for %s, one cannot be recorded: %s", self._what, reason)
            self.sound = False
            return plain
        if difference.item() > TOLERANCE:
            log.warning("CUDA graphs are off for %s: one is off by %.2g", self._what, difference.item())
            self.sound = False
        self._graphs[shape] = graph
        return plain


class CudaRecorder:
    """Records on the GPU. All that one recorder makes share memory for what lies between a step's beginning and end."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step) -> Step:
        """As `Record`."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # What libraries set up at their first call cannot be recorded.
            step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the GPU: they work out the features of prompts.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = step()

        def replay() -> tuple[Tensor, ...]:
            graph.replay()
            return result

        return replay
