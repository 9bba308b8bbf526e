"""`snake.Snakes` as a Triton kernel: mask, sum, factor and snake are one launch."""

import triton
import triton.language as tl
from torch import Tensor

from cosyserve_workers.native.kernels.snake import Snakes

BLOCK = 1024
"""Samples of one program, which are of one channel."""
WARPS = 4


class FusedSnakes(Snakes):
    """In float32, whatever the tensors are of."""

    def begin(self, x: Tensor, alpha: Tensor) -> Tensor:
        """As `Snakes`."""
        return _launch(x, None, None, alpha, x.new_empty(x.shape))

    def between(self, out: Tensor, inside: Tensor | None) -> Tensor:
        """As `Snakes`."""
        made = out if out.is_contiguous() else out.new_empty(out.shape)
        return _launch(None, out, inside, None, made)

    def join(self, x: Tensor, out: Tensor, inside: Tensor | None, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """As `Snakes`."""
        out = _in_rows(out)
        made = _launch(x, out, inside, alpha, x.new_empty(x.shape))
        return out, made


def _in_rows(x: Tensor) -> Tensor:
    """The same if it lies in channels of one length, of which a part may be left out; else a copy that does."""
    row, channel, sample = x.stride()
    return x if sample == 1 and row == channel * x.shape[1] else x.contiguous()


def _launch(x: Tensor | None, out: Tensor | None, inside: Tensor | None, alpha: Tensor | None, made: Tensor) -> Tensor:
    rows, channels, samples = made.shape
    x, out = (one if one is None else _in_rows(one) for one in (x, out))
    # Where there is no tensor the kernel is given one that it does not read.
    snake_kernel[triton.cdiv(samples, BLOCK), rows * channels](
        *(made if one is None else one for one in (x, out, inside, alpha)),
        made,
        channels,
        samples,
        0 if x is None else x.stride(1),
        0 if out is None else out.stride(1),
        0 if inside is None else inside.stride(0),
        0 if inside is None else inside.stride(2),
        ADDED=x is not None,
        PASSED=out is not None,
        MASKED=inside is not None,
        SCALED=alpha is not None,
        BLOCK=BLOCK,
        num_warps=WARPS,
    )
    return made


@triton.jit
def sine(angle: tl.tensor) -> tl.tensor:
    """Of a float32 angle between minus and plus a quarter turn, off by 6e-8 at most."""
    square = angle * angle
    series = 2.7557319e-6 - square * 2.5052108e-8
    series = 0.008333333 - square * (1.9841270e-4 - square * series)
    return angle - angle * square * (0.16666667 - square * series)


@triton.jit(do_not_specialize=["channels", "samples", "x_channel", "out_channel", "inside_row", "inside_sample"])
def snake_kernel(
    x: tl.tensor,
    out: tl.tensor,
    inside: tl.tensor,
    alpha: tl.tensor,
    made: tl.tensor,
    channels: tl.tensor,
    samples: tl.tensor,
    x_channel: tl.tensor,
    out_channel: tl.tensor,
    inside_row: tl.tensor,
    inside_sample: tl.tensor,
    ADDED: tl.constexpr,
    PASSED: tl.constexpr,
    MASKED: tl.constexpr,
    SCALED: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One channel's samples. What is both added and passed on is left in `out`."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < samples
    row = tl.program_id(1)
    from_x = x + row.to(tl.int64) * x_channel + place
    from_out = out + row.to(tl.int64) * out_channel + place
    value = tl.zeros([BLOCK], tl.float32)
    if PASSED:
        value = tl.load(from_out, mask=there, other=0.0).to(tl.float32)
        if MASKED:
            value *= tl.load(inside + row // channels * inside_row + place * inside_sample, mask=there, other=0.0).to(
                tl.float32
            )
    if ADDED:
        value += tl.load(from_x, mask=there, other=0.0).to(tl.float32)
        if PASSED:
            tl.store(from_out, value, mask=there)
    if SCALED:
        value *= tl.load(alpha + row % channels).to(tl.float32)
    # The sine's square comes again with half a turn, which is taken away in three parts (Cody and Waite).
    halves = tl.floor(value * 0.31830989 + 0.5)
    rest = value - halves * 3.140625 - halves * 9.67502594e-4 - halves * 1.50995799e-7
    wave = sine(rest)
    tl.store(made + row.to(tl.int64) * samples + place, value + wave * wave, mask=there)
