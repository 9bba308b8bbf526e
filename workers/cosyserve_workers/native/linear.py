"""A linear layer for inference: the layer that nearly all time is spent in."""

import torch
from torch import Tensor
from torch.nn import functional


class Linear:
    """x W' + b.

    On a CPU in float32 the weight is kept in oneDNN's blocked layout. Measured at 9728 x 896 on an Intel Xeon, ten rows
    take 1.4 times as long as one, with MKL on a plain matrix 3 to 4 times; at 100 rows on an AMD EPYC it does 105 to
    110 GFLOP/s on a core, MKL 90 to 98. (PyTorch's compiler calls the same two operations; they have no other public
    face.) Where they are missing, and elsewhere, it is PyTorch's own layer.

    weight: [outputs, inputs]. bias: [outputs] or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._bias = bias
        self._blocked = _can_block(weight)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self._blocked else weight  # noqa: SLF001

    def __call__(self, x: Tensor) -> Tensor:
        """Return [..., outputs] for x, [..., inputs]."""
        if not self._blocked:
            return functional.linear(x, self._weight, self._bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")  # noqa: SLF001
        return product


def _can_block(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )
