"""`steps.Steps` as a Triton kernel."""

import triton
import triton.language as tl
from torch import Tensor

from cosyserve_workers.native.kernels.excitation import AMPLITUDE, UNVOICED_NOISE, VOICED_ABOVE_HZ, VOICED_NOISE
from cosyserve_workers.native.kernels.excitation_triton import sine_of, tanh
from cosyserve_workers.native.kernels.steps import Steps

BLOCK = 512
"""Samples of one program, a frame's and some more."""
WARPS = 4
_AMPLITUDE, _VOICED_NOISE, _UNVOICED_NOISE = map(tl.constexpr, (AMPLITUDE, VOICED_NOISE, UNVOICED_NOISE))
_VOICED_ABOVE = tl.constexpr(VOICED_ABOVE_HZ)


class FusedSteps(Steps):
    """Turns in float64, the rest in float32."""

    def make(self, f0: Tensor, turns: Tensor, table: Tensor, begins: Tensor) -> Tensor:
        """As `Steps`."""
        rows, frames = f0.shape
        out = table.new_empty(rows, frames * table.shape[1])
        steps_kernel[frames, rows](
            f0,
            turns,
            table,
            begins,
            self._weight,
            self._bias,
            out,
            frames,
            len(table),
            # These three may be parts of something wider.
            f0.stride(0),
            turns.stride(0),
            begins.stride(0),
            FRAME=table.shape[1],
            HARMONICS=len(self._weight),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )
        return out


@triton.jit(do_not_specialize=["frames", "lines", "f0_row", "turns_row", "begins_row"])
def steps_kernel(
    f0: tl.tensor,
    turns: tl.tensor,
    table: tl.tensor,
    begins: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    frames: tl.tensor,
    lines: tl.tensor,
    f0_row: tl.tensor,
    turns_row: tl.tensor,
    begins_row: tl.tensor,
    FRAME: tl.constexpr,
    HARMONICS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One frame of one row."""
    frame = tl.program_id(0)
    row = tl.program_id(1)
    turn = tl.load(turns + row * turns_row + frame)
    turn -= tl.floor(turn)
    tone = 0.0
    for harmonic in range(HARMONICS):
        tone += tl.load(weight + harmonic).to(tl.float32) * sine_of(turn * (harmonic + 1))
    voiced = tl.load(f0 + row * f0_row + frame) > _VOICED_ABOVE
    tone = tl.where(voiced, tone * _AMPLITUDE, 0.0) + tl.load(bias)
    level = tl.where(voiced, _VOICED_NOISE, _UNVOICED_NOISE)
    line = tl.maximum(tl.minimum(tl.load(begins + row * begins_row) + frame, lines - 1), 0)
    place = tl.arange(0, BLOCK)
    noise = tl.load(table + line * FRAME + place, mask=place < FRAME, other=0.0)
    at = (row.to(tl.int64) * frames + frame) * FRAME
    tl.store(out + at + place, tanh(tone + level * noise), mask=place < FRAME)
