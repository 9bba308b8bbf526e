"""A residual's addition with the layer norm that follows it, in plain PyTorch: the twin of `add_norm_triton`."""

from torch import Tensor
from torch.nn.functional import layer_norm

GATED_EPS = 1e-6
"""Of norms that follow a gate."""


def add_norm(x: Tensor, more: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Add to x, [..., width], in place; the layer norm of what it then is, in the dtype of `more`."""
    return layer_norm(x.add_(more), (x.shape[-1],), weight, bias).to(more.dtype)


def add_gated_norm(x: Tensor, more: Tensor, gate: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Add to x, in place, `gate` times as much; the norm, in the dtype of `more`. All but that are float32."""
    return layer_norm(x.addcmul_(gate, more.to(x.dtype)), (x.shape[-1],), weight, bias, GATED_EPS).to(more.dtype)
