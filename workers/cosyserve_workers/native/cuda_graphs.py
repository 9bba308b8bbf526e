"""Steps of a network as CUDA graphs: hundreds of small kernels started at one go.

A graph has fixed shapes and addresses. What it is given must be copied to where it reads, and what it returns is
overwritten when any graph of the same recorder runs next.
"""

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from functools import cached_property

import torch
from torch import Tensor

TOLERANCE = 0.05
"""Of what a graph returns against the same step without one, relative to the largest value: it tells a broken graph
from half-precision rounding."""

Step = Callable[[], tuple[Tensor, ...]]
Record = Callable[[Step], Step]
"""Makes of a step one that does the same with what then lies in the same tensors, and returns the same tensors."""

POSTPONED_RUNS = 1000
"""Steps without a graph after there was no memory to record one, before the next attempt."""

COUNTS = Counter(graph_captures=0, graph_fallbacks=0)
"""Of this process: graphs recorded, and steps that ran without one though they should have had one."""

log = logging.getLogger(__name__)


class Graphs:
    """One network's steps, a graph for each shape. Without graphs from the first one that does not work.

    Too little memory is no such fault: it passes, and the graph is tried again later.

    what: the steps' name in the log. record: how a graph is made, a `CudaRecorder` but in tests.
    """

    def __init__(self, what: str, record: Record) -> None:
        self._what = what
        self._record = record
        self._graphs: dict[Hashable, Step] = {}
        self._postponed = 0
        self.sound = True
        """Whether all that were made so far work."""

    def run(self, shape: Hashable, step: Step) -> tuple[Tensor, ...]:
        """Run a step. With the same shape it must read and write the same tensors; running it twice changes nothing."""
        if shape in self._graphs and self.sound:
            return self._graphs[shape]()
        if self.sound and not self._postponed:
            return self._first(shape, step)
        self._postponed = max(0, self._postponed - 1)
        COUNTS["graph_fallbacks"] += 1
        return step()

    def replay(self, shape: Hashable, step: Step) -> tuple[Tensor, ...]:
        """Run a step that may not be run twice: by its graph, if `run` has made it, and without one otherwise."""
        if shape in self._graphs and self.sound:
            return self._graphs[shape]()
        COUNTS["graph_fallbacks"] += 1
        return step()

    def _first(self, shape: Hashable, step: Step) -> tuple[Tensor, ...]:
        """Make the graph of a shape, and see that it does what it should."""
        plain = step()
        try:
            graph = self._record(step)
            difference = (graph()[0] - plain[0]).abs().max() / plain[0].abs().max()
        except torch.OutOfMemoryError:
            log.warning("no memory for a CUDA graph of %s: its steps run without for a while", self._what)
            self._postponed = POSTPONED_RUNS
            return plain
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            log.warning("CUDA graphs are off for %s, one cannot be recorded: %s", self._what, reason)
            self.sound = False
            return plain
        if difference.item() > TOLERANCE:
            log.warning("CUDA graphs are off for %s: one is off by %.2g", self._what, difference.item())
            self.sound = False
        COUNTS["graph_captures"] += 1
        self._graphs[shape] = graph
        return plain


class CudaRecorder:
    """Records on the GPU. All that one recorder makes share memory for what lies between a step's beginning and end.

    And a stream: libraries have a workspace for each, which they keep.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        return torch.cuda.Stream()

    def __call__(self, step: Step) -> Step:
        """As `Record`."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            # What libraries set up at their first call cannot be recorded.
            step()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the GPU: they work out the features of prompts.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            result = step()

        def replay() -> tuple[Tensor, ...]:
            graph.replay()
            return result

        return replay
