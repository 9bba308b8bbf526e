"""Steps of a network as CUDA graphs: hundreds of small kernels started at one go.

A graph has fixed shapes and addresses. What it is given must be copied to where it reads, and what it returns is
overwritten when any graph of the same recorder runs next. All are recorded when the model is loaded: what has another
shape later runs without one, and is counted.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property

import torch
from torch import Tensor

TOLERANCE = 0.05
"""Of what a graph returns against the same step without one, relative to the largest value: it tells a broken graph
from half-precision rounding."""

Step = Callable[[], tuple[Tensor, ...]]
Program = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
"""A step of what it is given."""
Record = Callable[[Step], Step]
"""Makes of a step one that does the same with what then lies in the same tensors, and returns the same tensors."""

COUNTS = Counter(graph_captures=0, graph_fallbacks=0, flow_overflows=0)
"""Of this process: graphs recorded, steps that ran without one though they should have had one, and chunks whose mel
was no number in fp16."""

log = logging.getLogger(__name__)


class Graphs:
    """One network's steps, a graph for each shape. Without graphs from the first one that does not work.

    what: the steps' name in the log. record: how a graph is made, a `CudaRecorder` but in tests.
    """

    def __init__(self, what: str, record: Record) -> None:
        self._what = what
        self._record = record
        self._graphs: dict[Hashable, Step] = {}
        self._places: dict[Hashable, _Places] = {}
        self._sealed = False
        self.sound = True
        """Whether all that were made so far work."""

    def seal(self) -> None:
        """All are made: what has no graph by now gets none."""
        self._sealed = True

    def make(self, shape: Hashable, step: Step) -> None:
        """Record a step's graph, and hold it against the step. Running that twice must change nothing."""
        if not self.sound:
            return
        plain = step()[0].clone()
        try:
            graph = self._record(step)
            difference = (graph()[0] - plain).abs().max() / plain.abs().max()
        except torch.OutOfMemoryError:
            log.warning("no memory for a CUDA graph of %s, of shape %s: such steps run without", self._what, shape)
            return
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            log.warning("CUDA graphs are off for %s, one cannot be recorded: %s", self._what, reason)
            self.sound = False
            return
        # What is no number is no small difference either.
        if not difference.item() <= TOLERANCE:
            log.warning("CUDA graphs are off for %s: one is off by %.2g", self._what, difference.item())
            self.sound = False
        COUNTS["graph_captures"] += 1
        self._graphs[shape] = graph

    def replay(self, shape: Hashable, step: Step) -> tuple[Tensor, ...]:
        """Run a step by its graph, or without one. With the same shape it reads and writes the same tensors."""
        if shape in self._graphs and self.sound:
            return self._graphs[shape]()
        COUNTS["graph_fallbacks"] += 1
        return step()

    def places(self, shape: Hashable) -> Sequence[Tensor] | None:
        """Where the graph of a shape reads, for those who can write there what they will `call` it with."""
        return self._places[shape].tensors if shape in self._places else None

    def call(self, shape: Hashable, given: Sequence[Tensor], program: Program) -> tuple[Tensor, ...]:
        """Run a program on tensors, in places of its own; before `seal`, with a graph made for the shape.

        With the same shape it must do the same. What lies in a tensor that comes again must be what lay in it before.
        """
        if shape not in self._places and not self._sealed:
            places = self._places[shape] = _Places(given)
            self.make(shape, lambda: program(places.tensors))
        if shape not in self._graphs or not self.sound:
            COUNTS["graph_fallbacks"] += self._sealed
            return program(given)
        self._places[shape].put(given)
        return self._graphs[shape]()


class _Places:
    """Where a graph reads."""

    def __init__(self, like: Sequence[Tensor]) -> None:
        self.tensors = [tensor.clone() for tensor in like]
        self._last: list[Tensor | None] = [None] * len(like)

    def put(self, given: Sequence[Tensor]) -> None:
        for place, last, tensor in zip(self.tensors, self._last, given, strict=True):
            # All steps of a solve hear the same. And some is there already.
            if tensor is not last and tensor is not place:
                place.copy_(tensor)
        self._last = list(given)


class CudaRecorder:
    """Records on the GPU. All that one recorder makes share memory for what lies between a step's beginning and end.

    And a stream, whose priority they keep, and for which libraries have a workspace: two of one recorder may not run at
    once. stream: one of its own if None.
    """

    def __init__(self, stream: torch.cuda.Stream | None = None) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._given = stream

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        return self._given or torch.cuda.Stream()

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


class Recording:
    """What the graphs that are made from now on cost, told by `str`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._captures = COUNTS["graph_captures"]
        self._started = time.monotonic()
        self._held = self._held_bytes()

    def __str__(self) -> str:
        captures = COUNTS["graph_captures"] - self._captures
        taken = (self._held_bytes() - self._held) / 2**20
        return f"{captures} recorded in {time.monotonic() - self._started:.1f} s, {taken:.0f} MiB"

    def _held_bytes(self) -> int:
        return torch.cuda.memory_reserved(self._device) if self._device.type == "cuda" else 0


def recorder_for(device: torch.device, stream: torch.cuda.Stream | None = None) -> Record | None:
    """Who records there; nobody where there are no graphs. stream: as `CudaRecorder`."""
    return CudaRecorder(stream) if device.type == "cuda" else None
