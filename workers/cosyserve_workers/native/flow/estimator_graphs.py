"""The estimator's Euler step as CUDA graphs, one for each number of rows.

Starting its kernels one by one takes longer than running them.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Graphs
from cosyserve_workers.native.flow.attention import Paged
from cosyserve_workers.native.flow.estimator import Batch, Left


class Stepper(Protocol):
    """The estimator, or its graphs."""

    def velocity(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> tuple[Tensor, Left]:
        """As `Estimator.velocity`. The velocity may be overwritten by the next call."""


class EstimatorGraphs:
    """The steps of one estimator, over rows in pages."""

    def __init__(self, estimator: Stepper, graphs: Graphs) -> None:
        self._estimator = estimator
        self._graphs = graphs

    def velocity(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> tuple[Tensor, Left]:
        """As `Stepper`."""
        layout, attention = batch.layout, batch.attention
        assert isinstance(attention, Paged)
        heard = len(batch.heard)

        def program(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            shifts, mel, mel_left, others, places, window, follows, *rest = tensors
            pages = attention.pages.with_numbers(rest[heard:])
            on = Batch(layout.with_numbers([window, follows]), places, tuple(rest[:heard]), attention.on(pages))
            velocity, left = self._estimator.velocity(shifts, mel, Left(mel_left, others), on)
            return velocity, *left

        given = [shifts, mel, *left, batch.places, *layout.numbers, *batch.heard, *attention.pages.numbers]
        shape = ("step", len(layout.lengths), attention.pages.most)
        velocity, mel_left, others = self._graphs.call(shape, given, program)
        return velocity, Left(mel_left.clone(), others.clone())
