"""`add_norm` as a Triton kernel: x is read and written once."""

import triton
import triton.language as tl
from torch import Tensor

from cosyserve_workers.native.kernels.add_norm import GATED_EPS

WARPS = 4
_EPS = 1e-5
"""As PyTorch's."""


def add_norm(x: Tensor, more: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As `add_norm.add_norm`, for x without gaps."""
    normed = x.new_empty(x.shape)
    _launch(x, more, normed, weight, (weight, bias), _EPS, gated=False)
    return normed


def add_gated_norm(x: Tensor, more: Tensor, gate: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As `add_norm.add_gated_norm`, for tensors without gaps."""
    normed = more.new_empty(more.shape)
    _launch(x, more, normed, gate, (weight, bias), GATED_EPS, gated=True)
    return normed


def _launch(
    x: Tensor, more: Tensor, normed: Tensor, gate: Tensor, norm: tuple[Tensor, Tensor], eps: float, *, gated: bool
) -> None:
    width = x.shape[-1]
    add_norm_kernel[x.numel() // width,](
        x,
        more,
        normed,
        gate,
        *norm,
        WIDTH=width,
        WIDE=triton.next_power_of_2(width),
        EPS=eps,
        GATED=gated,
        num_warps=WARPS,
    )


@triton.jit
def add_norm_kernel(
    x: tl.tensor,
    more: tl.tensor,
    normed: tl.tensor,
    gate: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    EPS: tl.constexpr,
    GATED: tl.constexpr,
) -> None:
    """One line of x."""
    channel = tl.arange(0, WIDE)
    there = channel < WIDTH
    place = tl.program_id(0).to(tl.int64) * WIDTH + channel
    added = tl.load(more + place, there, other=0.0).to(tl.float32)
    if GATED:
        added *= tl.load(gate + channel, there, other=0.0).to(tl.float32)
    total = tl.load(x + place, there, other=0.0).to(tl.float32) + added
    # Rounded, as whoever reads x will see it.
    total = total.to(x.dtype.element_ty)
    tl.store(x + place, total, there)
    line = total.to(tl.float32)
    centred = tl.where(there, line - tl.sum(line, 0) / WIDTH, 0.0)
    spread = tl.sum(centred * centred, 0) / WIDTH
    scaled = centred / tl.sqrt(spread + EPS) * tl.load(weight + channel, there, other=0.0).to(tl.float32)
    result = scaled + tl.load(bias + channel, there, other=0.0).to(tl.float32)
    tl.store(normed + place, result.to(normed.dtype.element_ty), there)
