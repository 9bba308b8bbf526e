"""A residual's addition with the layer norm that follows it, in plain PyTorch: the twin of `add_norm_triton`."""

from torch import Tensor
from torch.nn.functional import layer_norm


def add_norm(x: Tensor, more: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Add to x, [..., width], in place; the layer norm of what it then is."""
    return layer_norm(x.add_(more), (x.shape[-1],), weight, bias)
