"""The estimator's Euler step as CUDA graphs, for a sequence that is solved alone.

Alone, starting its kernels takes longer than running them. In a batch they are started for many at once; there, at a
sequence's tail, and where it looks far back, steps run as they are: their shapes seldom come again.
"""

from typing import NamedTuple, Protocol

from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Graphs, Record
from cosyserve_workers.native.flow.estimator import Batch, Estimator, Heard, Left
from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.memory import KeysValues, estimator_step_shape
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES, FlowSizes

MOST_PAST = 32
"""Chunks that a graph looks back on at most: their keys and values of one step are copied to where it reads."""


class Stepper(Protocol):
    """The estimator, or its graphs."""

    def velocity(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> tuple[Tensor, Left]:
        """As `Estimator.velocity`. The velocity may be overwritten by the next call."""


class _Inputs(NamedTuple):
    """Where the graph of a shape reads, but for keys and values, which all shapes share."""

    shifts: Tensor
    mel: Tensor
    left: Left
    batch: Batch

    def fill(self, shifts: Tensor, mel: Tensor, left: Left, heard: Heard) -> None:
        """Copy in what a step is given."""
        given = (shifts, mel, *left, *heard)
        for place, tensor in zip((self.shifts, self.mel, *self.left, *self.batch.heard), given, strict=True):
            place.copy_(tensor)


class EstimatorGraphs:
    """The steps of one estimator. record: as `Graphs`."""

    def __init__(self, estimator: Estimator, sizes: FlowSizes, record: Record) -> None:
        self._estimator = estimator
        self._page_shape = estimator_step_shape(sizes)
        self._graphs = Graphs("the flow", record)
        self._inputs: dict[tuple[int, int], _Inputs] = {}
        self._past: list[Tensor] = []
        self._fresh: list[Tensor] = []

    def velocity(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> tuple[Tensor, Left]:
        """As `Stepper`."""
        frames, past = batch.layout.total, len(batch.memories[0].past)
        suits = len(batch.memories) == 1 and frames % CHUNK_FRAMES == 0 and past <= MOST_PAST
        if not (suits and self._graphs.sound):
            return self._estimator.velocity(shifts, mel, left, batch)
        shape = (frames, past)
        if shape not in self._inputs:
            self._inputs[shape] = self._make_inputs(shifts, mel, left, batch)
        inputs = self._inputs[shape]
        inputs.fill(shifts, mel, left, batch.heard)
        (memory,) = batch.memories
        for place, keys_values in zip(self._past, memory.past, strict=False):
            place.copy_(keys_values)
        velocity, mel_left, others = self._graphs.run(shape, lambda: self._step(inputs))
        # None is wanted where nothing is carried on.
        for keys_values, place in zip(memory.fresh, self._fresh, strict=False):
            keys_values.copy_(place)
        return velocity, Left(mel_left.clone(), others.clone())

    def _step(self, inputs: _Inputs) -> tuple[Tensor, Tensor, Tensor]:
        velocity, left = self._estimator.velocity(inputs.shifts, inputs.mel, inputs.left, inputs.batch)
        return velocity, left.mel, left.others

    def _make_inputs(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> _Inputs:
        """Make room for a shape, like that of what came."""
        frames, past = batch.layout.total, len(batch.memories[0].past)
        for places, count in ((self._past, past), (self._fresh, frames // CHUNK_FRAMES)):
            places.extend(mel.new_empty(self._page_shape) for _ in range(count - len(places)))
        own = KeysValues(self._past[:past], self._fresh[: frames // CHUNK_FRAMES])
        return _Inputs(
            shifts.clone(),
            mel.clone(),
            Left(*(tensor.clone() for tensor in left)),
            Batch(Layout([frames], mel.device), Heard(*(tensor.clone() for tensor in batch.heard)), [own]),
        )
