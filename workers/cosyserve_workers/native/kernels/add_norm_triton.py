"""`add_norm` as a Triton kernel: x is read and written once."""

import triton
import triton.language as tl
from torch import Tensor

WARPS = 4
_EPS = tl.constexpr(1e-5)
"""As PyTorch's."""


def add_norm(x: Tensor, more: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As `add_norm.add_norm`, for x without gaps."""
    width = x.shape[-1]
    normed = x.new_empty(x.shape)
    grid = (x.numel() // width,)
    add_norm_kernel[grid](
        x, more, normed, weight, bias, WIDTH=width, WIDE=triton.next_power_of_2(width), num_warps=WARPS
    )
    return normed


@triton.jit
def add_norm_kernel(
    x: tl.tensor,
    more: tl.tensor,
    normed: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    """One line of x."""
    channel = tl.arange(0, WIDE)
    there = channel < WIDTH
    place = tl.program_id(0).to(tl.int64) * WIDTH + channel
    total = tl.load(x + place, there, other=0.0).to(tl.float32) + tl.load(more + place, there, other=0.0).to(tl.float32)
    # Rounded, as whoever reads x will see it.
    total = total.to(x.dtype.element_ty)
    tl.store(x + place, total, there)
    line = total.to(tl.float32)
    centred = tl.where(there, line - tl.sum(line, 0) / WIDTH, 0.0)
    spread = tl.sum(centred * centred, 0) / WIDTH
    scaled = centred / tl.sqrt(spread + _EPS) * tl.load(weight + channel, there, other=0.0).to(tl.float32)
    result = scaled + tl.load(bias + channel, there, other=0.0).to(tl.float32)
    tl.store(normed + place, result.to(normed.dtype.element_ty), there)
