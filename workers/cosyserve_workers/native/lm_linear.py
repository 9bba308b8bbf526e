"""A linear layer for products with few rows, where the time goes into reading weights."""

import torch
from torch import Tensor
from torch.nn.functional import linear


class Linear:
    """x W' + b.

    On a CPU in float32 the weight is kept in oneDNN's blocked layout: measured at 9728 x 896, ten rows take 1.4 times
    as long as one, with MKL on a plain matrix 3 to 4 times. (PyTorch's compiler calls the same two operations; they
    have no other public face.) Where they are missing, and elsewhere, it is PyTorch's own layer.

    weight: [outputs, inputs]. bias: [outputs] or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.bias = bias
        self._blocked = _can_block(weight)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self._blocked else weight  # noqa: SLF001

    def __call__(self, x: Tensor) -> Tensor:
        """Return [N, outputs] for x, [N, inputs]."""
        if not self._blocked:
            return linear(x, self._weight, self.bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self.bias, "none", [], "")  # noqa: SLF001
        return product


def _can_block(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )
