"""What the flows of both models are made of: an encoder, from tokens to the mean mel, and an estimator."""

from pathlib import Path
from typing import Protocol

from torch import Tensor

from cosyserve_workers.native.flow.dit import Dit
from cosyserve_workers.native.flow.dit_encoder import DitEncoder
from cosyserve_workers.native.flow.dit_sizes import DitSizes
from cosyserve_workers.native.flow.encoder import Behind, Encoder, EncoderLeft
from cosyserve_workers.native.flow.estimator import Estimator, Heard
from cosyserve_workers.native.flow.estimator_graphs import Stepper
from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.sizes import FlowSizes
from cosyserve_workers.native.flow.weights import Weights
from cosyserve_workers.native.kernels.choice import Kernels
from cosyserve_workers.native.models import COSYVOICE3, Model


class AnyEncoder(Protocol):
    """As `Encoder`."""

    absent: int

    def reserve(self, tokens: int) -> None:
        """As `Encoder.reserve`."""

    def __call__(
        self, tokens: Tensor, layouts: tuple[Layout, Layout], left: EncoderLeft, behind: tuple[Behind, Behind]
    ) -> tuple[Tensor, EncoderLeft]:
        """As `Encoder`."""


class AnyEstimator(Stepper, Protocol):
    """As `Estimator`."""

    time_shifts: Tensor

    def hear(self, condition: Tensor, left: Tensor, layout: Layout) -> tuple[Heard, Tensor]:
        """As `Estimator.hear`."""

    def hear_nothing(self, frames: int) -> Heard:
        """As `Estimator.hear_nothing`."""


AnySizes = FlowSizes | DitSizes


def is_of_the_other(weights: Weights, model: Model) -> bool:
    """Whether weights are the other model's: each has layers at its end that the other has not."""
    own, other = "encoder_proj.weight", "decoder.estimator.proj_out.weight"
    if model is COSYVOICE3:
        own, other = other, own
    return weights.holds(other) and not weights.holds(own)


def sizes_of(weights: Weights, model_dir: Path, model: Model) -> AnySizes:
    """Read the shapes of a model's flow. Raises LoadError."""
    return DitSizes.infer(weights) if model is COSYVOICE3 else FlowSizes.infer(weights, model_dir)


def parts_of(weights: Weights, sizes: AnySizes, times: Tensor, kernels: Kernels) -> tuple[AnyEncoder, AnyEstimator]:
    """Take a flow's weights. times: at each Euler step. Raises LoadError."""
    if isinstance(sizes, DitSizes):
        return DitEncoder(weights.outer(), sizes), Dit(weights, sizes, times, kernels)
    return Encoder(weights.outer(), sizes), Estimator(weights, sizes, times, kernels.add_norm)
