"""Linear layers for inference: what nearly all time is spent in."""

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.precision import Processor

_LEVELS = 127
"""Of a byte to either side of nought."""
_CLIPPING_LEVELS = 63
"""Of a weight, where a processor adds two products in 16 bits: 2 * 255 * 63 is the most that finds room."""
_SMALLEST = 1e-12


class Linear:
    """x W' + b.

    On a CPU the weight is kept in oneDNN's blocked layout, in float32 and in what else the processor multiplies.
    Measured at 9728 x 896 on an Intel Xeon in float32, ten rows take 1.4 times as long as one, with MKL on a plain
    matrix 3 to 4 times; at 100 rows on an AMD EPYC it does 105 to 110 GFLOP/s on a core, MKL 90 to 98. (PyTorch's
    compiler calls the same two operations; they have no other public face.) Where they are missing, and elsewhere, it
    is PyTorch's own layer.

    weight: [outputs, inputs]. bias: [outputs] or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._bias = bias
        self._blocked = weight.device.type == "cpu" and weight.dtype in Processor.here().blocks
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self._blocked else weight  # noqa: SLF001

    def __call__(self, x: Tensor) -> Tensor:
        """Return [..., outputs] for x, [..., inputs]."""
        if not self._blocked:
            return functional.linear(x, self._weight, self._bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")  # noqa: SLF001
        return product

    def added(self, x: Tensor, to: Tensor) -> Tensor:
        """Return the product of x, [N, inputs], added to `to`, [N, outputs]. For a layer without a bias."""
        return to + self(x) if x.device.type == "cpu" else torch.addmm(to, x, self._weight.t())


class Int8Linear:
    """x W' + b with a byte for each weight and, while it computes, for each number of x. On a CPU with oneDNN.

    Weights have a scale for each output, and x one for each row: what a row gives is the same to the bit whoever shares
    its batch. (PyTorch's own dynamic layer has one for the batch: a row beside a loud one was off by a third.)

    weight: [outputs, inputs]. bias: [outputs] or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        levels = _LEVELS if Processor.here().sums_int8_exactly else _CLIPPING_LEVELS
        scales, whole = _in_levels(weight.float(), levels)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self._scales = scales.flatten()
        self._noughts = torch.zeros(len(weight), dtype=torch.int64)
        self._bias = None if bias is None else bias.float()

    def __call__(self, x: Tensor) -> Tensor:
        """Return [..., outputs] for x, [..., inputs], in x's dtype."""
        scales, whole = _in_levels(x.float(), _LEVELS)
        # The one scale that it knows for all rows is 1: theirs come after.
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, 0, self._weight, self._scales, self._noughts, None, 1.0, 0, torch.float32, "none", [], ""
        )
        product = product.mul_(scales)
        return (product if self._bias is None else product.add_(self._bias)).to(x.dtype)

    def added(self, x: Tensor, to: Tensor) -> Tensor:
        """As `Linear`."""
        return to + self(x)


Product = Linear | Int8Linear


def _in_levels(x: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """[rows, n] as bytes from -levels to levels, and what one level is in each row, [rows, 1]."""
    scales = (x.abs().amax(dim=-1, keepdim=True) / levels).clamp(min=_SMALLEST)
    return scales, (x / scales).round_().to(torch.int8)
