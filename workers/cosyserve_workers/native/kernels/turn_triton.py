"""`turn` as a Triton kernel: the first head's queries and keys are read and written once."""

import triton
import triton.language as tl
from torch import Tensor

WARPS = 1


def turn(qkv: Tensor, cosines: Tensor, sines: Tensor, heads: int) -> Tensor:
    """As `turn.turn`, for tensors without gaps."""
    rows, frames, channels = qkv.shape
    half = cosines.shape[1]
    turn_kernel[rows * frames, 2](
        qkv,
        cosines,
        sines,
        frames,
        CHANNELS=channels,
        INNER=2 * half * heads,
        HALF=half,
        WIDE=triton.next_power_of_2(half),
        num_warps=WARPS,
    )
    return qkv


@triton.jit(do_not_specialize=["frames"])
def turn_kernel(
    qkv: tl.tensor,
    cosines: tl.tensor,
    sines: tl.tensor,
    frames: tl.tensor,
    CHANNELS: tl.constexpr,
    INNER: tl.constexpr,
    HALF: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    """The query, or the key, of one frame in one guidance row."""
    line = tl.program_id(0)
    channel = tl.arange(0, WIDE)
    there = channel < HALF
    place = qkv + line.to(tl.int64) * CHANNELS + tl.program_id(1) * INNER + channel
    one = tl.load(place, there, other=0.0).to(tl.float32)
    other = tl.load(place + HALF, there, other=0.0).to(tl.float32)
    angle = line % frames * HALF + channel
    cosine, sine = tl.load(cosines + angle, there, other=0.0), tl.load(sines + angle, there, other=0.0)
    kind = qkv.dtype.element_ty
    tl.store(place, (one * cosine - other * sine).to(kind), there)
    tl.store(place + HALF, (other * cosine + one * sine).to(kind), there)
