"""The estimator's Euler step as CUDA graphs, one for each number of rows.

Starting its kernels one by one takes longer than running them.
"""

from typing import NamedTuple, Protocol

from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Graphs, Record
from cosyserve_workers.native.flow.attention import Paged
from cosyserve_workers.native.flow.estimator import Batch, Left
from cosyserve_workers.native.flow.rows import BUCKETS, MOST_PAST


class Stepper(Protocol):
    """The estimator, or its graphs."""

    def velocity(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> tuple[Tensor, Left]:
        """As `Estimator.velocity`. The velocity may be overwritten by the next call."""


class _Inputs(NamedTuple):
    """Where a graph reads, but for the pages."""

    shifts: Tensor
    mel: Tensor
    left: Left
    batch: Batch

    @classmethod
    def like(cls, shifts: Tensor, mel: Tensor, left: Left, batch: Batch, attention: Paged) -> "_Inputs":
        """Room for what comes, filled with it."""
        pages = attention.pages
        own = attention.on(type(pages)(pages.keys_values, *(tensor.clone() for tensor in pages[1:])))
        heard = tuple(tensor.clone() for tensor in batch.heard)
        lefts = Left(*(tensor.clone() for tensor in left))
        return cls(shifts.clone(), mel.clone(), lefts, Batch(batch.layout.copy(), batch.places.clone(), heard, own))

    def tensors(self, attention: Paged) -> list[Tensor]:
        """All that a step is given, in one order. attention: the batch's."""
        numbers = (self.batch.places, *self.batch.layout.numbers, *attention.pages[1:])
        return [self.shifts, self.mel, *self.left, *self.batch.heard, *numbers]


class EstimatorGraphs:
    """The steps of one estimator over rows; others run as they are. record: as `Graphs`."""

    def __init__(self, estimator: Stepper, record: Record) -> None:
        self._estimator = estimator
        self._graphs = Graphs("the flow", record)
        self._inputs: dict[int, tuple[_Inputs, list[Tensor]]] = {}

    def velocity(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> tuple[Tensor, Left]:
        """As `Stepper`."""
        attention, rows = batch.attention, len(batch.layout.lengths)
        suits = isinstance(attention, Paged) and rows in BUCKETS and attention.pages.table.shape[2] == MOST_PAST
        if not (suits and self._graphs.sound):
            return self._estimator.velocity(shifts, mel, left, batch)
        assert isinstance(attention, Paged)
        given = _Inputs(shifts, mel, left, batch)
        if rows not in self._inputs:
            own = _Inputs.like(*given, attention)
            assert isinstance(own.batch.attention, Paged)
            self._inputs[rows] = own, own.tensors(own.batch.attention)
        inputs, places = self._inputs[rows]
        for place, tensor in zip(places, given.tensors(attention), strict=True):
            place.copy_(tensor)
        velocity, mel_left, others = self._graphs.run(rows, lambda: self._step(inputs))
        return velocity, Left(mel_left.clone(), others.clone())

    def _step(self, inputs: _Inputs) -> tuple[Tensor, Tensor, Tensor]:
        velocity, left = self._estimator.velocity(inputs.shifts, inputs.mel, inputs.left, inputs.batch)
        return velocity, left.mel, left.others
