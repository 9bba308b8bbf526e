"""HiFT's parts: residual blocks of snakes (arXiv:2006.08195) and convolutions, and what brings them to more samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.kernels.snake import Snakes, add
from cosyserve_workers.native.models import COSYVOICE2, Model
from cosyserve_workers.native.vocoder.reach import Sides
from cosyserve_workers.native.vocoder.weights import Convolution, HiftWeights

DILATIONS = (1, 3, 5)
SMALLEST = 1e-9
"""In place of a snake's alpha that is nought."""
WIDE = 4
"""Samples of padding: more of them take oneDNN's convolutions up to twice as long as noughts that are put there."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """Snake, dilated convolution, snake, convolution; added to its input.

    A snake is x + sin²(αx)/α, which is (z + sin² z)/α with z = αx. Factors lie in the convolutions' weights, but for
    the first one, alpha [channels], since what comes in is also added at the end.
    """

    alpha: Tensor
    dilated: Convolution
    dilation: int
    plain: Convolution

    @property
    def looks(self) -> Sides:
        """What a sample depends on."""
        return self.dilated.looks.times(self.dilation).plus(self.plain.looks)


class Block:
    """Three units with growing dilation."""

    def __init__(self, weights: HiftWeights, name: str, dtype: torch.dtype) -> None:
        self._units = [_unit(weights, name, index, dtype) for index in range(len(DILATIONS))]
        self._snakes = Snakes.pick(self._units[0].alpha.device)
        first, second, third = (unit.looks for unit in self._units)
        self.looks = first.plus(second).plus(third)
        """What a sample depends on."""

    def __call__(self, x: Tensor, inside: Tensor | None = None) -> Tensor:
        """[b, channels, n] to the same. inside: as `Ends.inside`; x is 0 elsewhere, and so is what is made of it."""
        first, *others = self._units
        out = self._unit(first, self._snakes.begin(x, first.alpha), inside)
        for unit in others:
            x, snake = self._snakes.join(x, out, inside, unit.alpha)
            out = self._unit(unit, snake, inside)
        return add(x, out, inside)

    def _unit(self, unit: _Unit, snake: Tensor, inside: Tensor | None) -> Tensor:
        """What it adds to its input, of which this is the first snake."""
        inner = convolve(snake, unit.dilated, unit.dilation)
        return convolve(self._snakes.between(inner, inside), unit.plain)


def _unit(weights: HiftWeights, name: str, index: int, dtype: torch.dtype) -> _Unit:
    first, second = (_alpha(weights, f"{name}.activations{which}.{index}.alpha") for which in (1, 2))
    dilated = weights.convolution(f"{name}.convs1.{index}")
    plain = weights.convolution(f"{name}.convs2.{index}")
    dilated = replace(
        dilated, weight=dilated.weight * second[:, None, None] / first[:, None], bias=dilated.bias * second
    )
    plain = replace(plain, weight=plain.weight / second[:, None])
    return _Unit(first.to(dtype), dilated.to(dtype), DILATIONS[index], plain.to(dtype))


def _alpha(weights: HiftWeights, name: str) -> Tensor:
    alpha = weights.tensor(name).float()
    return torch.where(alpha.abs() < SMALLEST, SMALLEST, alpha)


def convolve(x: Tensor, conv: Convolution, dilation: int = 1) -> Tensor:
    """Same length out as in, with noughts beyond the ends. What is returned may be a part of something longer."""
    left, right = (int(side) * dilation for side in conv.looks)
    padding = max(left, right)
    if x.is_cpu and (left != right or padding > WIDE):
        return F.conv1d(F.pad(x, (left, right)), conv.weight, conv.bias, dilation=dilation)
    # As much on both sides, and what is too much cut off: one operation.
    out = F.conv1d(x, conv.weight, conv.bias, padding=padding, dilation=dilation)
    return out[..., padding - left : padding - left + x.shape[-1]]


class Upsampling:
    """`factor` samples of each, by a transposed convolution. before: taps before an input sample's first one."""

    def __init__(self, conv: Convolution, factor: int, before: int) -> None:
        self._conv, self._factor, self._before = conv, factor, before

    @classmethod
    def of(cls, conv: Convolution, factor: int, model: Model) -> "Upsampling":
        """The one of a model's layer."""
        if model is COSYVOICE2:
            return cls(conv, factor, (conv.weight.shape[-1] - factor) // 2)
        # The newer model gives each sample `factor` times, and convolves: of its taps those on one sample add up.
        outputs, inputs, taps = conv.weight.shape
        kernel = conv.weight.new_zeros(inputs, outputs, taps + factor - 1)
        for time in range(factor):
            kernel[..., time : time + taps] += conv.weight.flip(-1).transpose(0, 1)
        return cls(Convolution(kernel, conv.bias), factor, 0)

    def to(self, dtype: torch.dtype) -> "Upsampling":
        """The same in another dtype."""
        return Upsampling(self._conv.to(dtype), self._factor, self._before)

    @property
    def looks(self) -> Sides:
        """What a sample sees, in samples of what comes in."""
        after = self._conv.weight.shape[-1] - 1 - self._before
        return Sides(after, self._before).times(1 / self._factor)

    def __call__(self, x: Tensor) -> Tensor:
        """[b, inputs, n] to [b, outputs, factor n]."""
        out = F.conv_transpose1d(x, self._conv.weight, self._conv.bias, self._factor, self._before)
        return out[..., : self._factor * x.shape[-1]]


def add_up(parts: Sequence[Tensor]) -> Tensor:
    """Of blocks' outputs, which nobody else has."""
    total, *others = parts
    for part in others:
        total += part
    return total
