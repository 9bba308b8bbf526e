"""HiFT's residual blocks: snakes (arXiv:2006.08195) and convolutions, with noughts where there is no signal."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.kernels.snake import Snakes, add
from cosyserve_workers.native.vocoder.weights import Convolution, HiftWeights

DILATIONS = (1, 3, 5)
SMALLEST = 1e-9
"""In place of a snake's alpha that is nought."""


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
    def reach(self) -> int:
        """What a sample depends on to either side."""
        return reach_of(self.dilated) * self.dilation + reach_of(self.plain)


class Block:
    """Three units with growing dilation.

    looks_back: whether a sample depends on those before it alone, as far back as else to both sides together.
    """

    def __init__(self, weights: HiftWeights, name: str, dtype: torch.dtype, *, looks_back: bool = False) -> None:
        self._units = [_unit(weights, name, index, dtype) for index in range(len(DILATIONS))]
        self._snakes = Snakes.pick(self._units[0].alpha.device)
        self._convolve = look_back if looks_back else convolve
        self.reach = sum(unit.reach for unit in self._units) * (2 if looks_back else 1)
        """What a sample depends on to either side, or before it."""

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
        inner = self._convolve(snake, unit.dilated, unit.dilation)
        return self._convolve(self._snakes.between(inner, inside), unit.plain)


def _unit(weights: HiftWeights, name: str, index: int, dtype: torch.dtype) -> _Unit:
    first, second = (_alpha(weights, f"{name}.activations{which}.{index}.alpha") for which in (1, 2))
    dilated = weights.convolution(f"{name}.convs1.{index}")
    plain = weights.convolution(f"{name}.convs2.{index}")
    return _Unit(
        first.to(dtype),
        Convolution(dilated.weight * second[:, None, None] / first[:, None], dilated.bias * second).to(dtype),
        DILATIONS[index],
        Convolution(plain.weight / second[:, None], plain.bias).to(dtype),
    )


def _alpha(weights: HiftWeights, name: str) -> Tensor:
    alpha = weights.tensor(name).float()
    return torch.where(alpha.abs() < SMALLEST, SMALLEST, alpha)


def reach_of(conv: Convolution) -> int:
    """What it looks to on either side, undilated."""
    return (conv.weight.shape[-1] - 1) // 2


def convolve(x: Tensor, conv: Convolution, dilation: int = 1) -> Tensor:
    """Same length out as in."""
    padding = reach_of(conv) * dilation
    return F.conv1d(x, conv.weight, conv.bias, padding=padding, dilation=dilation)


def look_back(x: Tensor, conv: Convolution, dilation: int = 1) -> Tensor:
    """Same length out as in: each sample sees those before it, and zeros before the first."""
    back = (conv.weight.shape[-1] - 1) * dilation
    return F.conv1d(F.pad(x, (back, 0)), conv.weight, conv.bias, dilation=dilation)


def add_up(parts: Sequence[Tensor]) -> Tensor:
    """Of blocks' outputs, which nobody else has."""
    total, *others = parts
    for part in others:
        total += part
    return total
