"""`excitation.Excitation` as one Triton kernel: of its many numbers by sample and harmonic none is written down."""

import triton
import triton.language as tl
from torch import Tensor

from cosyserve_workers.native.kernels.excitation import (
    AMPLITUDE,
    UNVOICED_NOISE,
    VOICED_ABOVE_HZ,
    VOICED_NOISE,
    Excitation,
    Phase,
)
from cosyserve_workers.native.kernels.noise import FACTORS, GOLDEN, SHIFTS, signed
from cosyserve_workers.native.kernels.snake_triton import sine

BLOCK = 256
"""Pairs of samples of one program."""
WARPS = 4
_AMPLITUDE, _VOICED_NOISE, _UNVOICED_NOISE = map(tl.constexpr, (AMPLITUDE, VOICED_NOISE, UNVOICED_NOISE))
_VOICED_ABOVE = tl.constexpr(VOICED_ABOVE_HZ)
_GOLDEN = tl.constexpr(signed(GOLDEN))
_FACTOR_1, _FACTOR_2 = (tl.constexpr(signed(factor)) for factor in FACTORS)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = map(tl.constexpr, SHIFTS)
_LEFT_1, _LEFT_2, _LEFT_3 = (tl.constexpr((1 << 64 - shift) - 1) for shift in SHIFTS)
_WORD = tl.constexpr(1.0 / (1 << 32))
_HALF = tl.constexpr(0.5 + 0.5 / (1 << 32))


class FusedExcitation(Excitation):
    """Turns and logarithms in float64, the rest in float32."""

    def make(self, phase: Phase, noise: Tensor) -> Tensor:
        """As `Excitation`."""
        rows, frames = phase.f0.shape
        pairs = frames * self._frame // 2
        out = self._bias.new_empty(rows, 2 * pairs)
        excitation_kernel[triton.cdiv(pairs, BLOCK), rows](
            *phase,
            noise,
            self._weight,
            self._bias,
            out,
            frames,
            # These two are parts of something wider.
            phase.centres.stride(0),
            noise.stride(0),
            FRAME=self._frame,
            HARMONICS=self._weight.shape[1],
            BLOCK=BLOCK,
            num_warps=WARPS,
        )
        return out


@triton.jit
def sine_of(turns: tl.tensor) -> tl.tensor:
    """Of float64 turns, in float32."""
    halves = tl.floor(turns * 2.0 + 0.5)
    wave = sine(((turns - halves * 0.5) * 6.283185307179586).to(tl.float32))
    odd = halves - 2.0 * tl.floor(halves * 0.5)
    return tl.where(odd > 0.5, -wave, wave)


@triton.jit
def _shifted(bits: tl.tensor, SHIFT: tl.constexpr, LEFT: tl.constexpr) -> tl.tensor:
    """Bits with themselves shifted. LEFT: those that are left, since what comes in is nought whatever the sign."""
    return bits ^ ((bits >> SHIFT) & LEFT)


@triton.jit
def normals(state: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Two of each number, as `Noise.draw` makes them."""
    bits = _shifted(state, _SHIFT_1, _LEFT_1) * _FACTOR_1
    bits = _shifted(bits, _SHIFT_2, _LEFT_2) * _FACTOR_2
    bits = _shifted(bits, _SHIFT_3, _LEFT_3)
    angle = ((bits << 32) >> 32).to(tl.float64) * _WORD
    radius = tl.sqrt(-2.0 * tl.log((bits >> 32).to(tl.float64) * _WORD + _HALF).to(tl.float32))
    return radius * sine_of(angle + 0.25), radius * sine_of(angle)


@triton.jit(do_not_specialize=["frames", "centres_row", "noise_row"])
def excitation_kernel(
    f0: tl.tensor,
    centres: tl.tensor,
    before: tl.tensor,
    after: tl.tensor,
    noise: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    frames: tl.tensor,
    centres_row: tl.tensor,
    noise_row: tl.tensor,
    FRAME: tl.constexpr,
    HARMONICS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Some pairs of samples of one row: two normals are made at a time, and both lie in one half of a frame."""
    row = tl.program_id(1)
    pair = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pair < frames * (FRAME // 2)
    frame = row * frames + pair // (FRAME // 2)
    place = 2 * (pair % (FRAME // 2))
    early = place < FRAME // 2
    slope = tl.load(before + frame, mask=there & early, other=0.0)
    slope += tl.load(after + frame, mask=there & (place >= FRAME // 2), other=0.0)
    # In turns of the fundamental; `place` counts samples from the frame's beginning.
    turns = (
        tl.load(centres + row * (centres_row - frames) + frame, mask=there, other=0.0)
        + slope * ((place + 0.5) / FRAME - 0.5)
    ) * FRAME
    turns -= tl.floor(turns)
    first = tl.zeros([BLOCK], tl.float32)
    second = tl.zeros([BLOCK], tl.float32)
    first_noise = tl.zeros([BLOCK], tl.float32)
    second_noise = tl.zeros([BLOCK], tl.float32)
    state = tl.load(noise + row * noise_row) + pair.to(tl.int64) * HARMONICS * _GOLDEN
    for harmonic in range(HARMONICS):
        share = tl.load(weight + harmonic).to(tl.float32)
        first += share * sine_of(turns * (harmonic + 1))
        second += share * sine_of((turns + slope) * (harmonic + 1))
        cosine, wave = normals(state)
        first_noise += share * cosine
        second_noise += share * wave
        state += _GOLDEN
    voiced = tl.load(f0 + frame, mask=there, other=0.0) > _VOICED_ABOVE
    loud = tl.where(voiced, _AMPLITUDE, 0.0)
    level = tl.where(voiced, _VOICED_NOISE, _UNVOICED_NOISE)
    at = out + row.to(tl.int64) * frames * FRAME + 2 * pair
    constant = tl.load(bias)
    tl.store(at, tanh(first * loud + first_noise * level + constant), mask=there)
    tl.store(at + 1, tanh(second * loud + second_noise * level + constant), mask=there)


@triton.jit
def tanh(x: tl.tensor) -> tl.tensor:
    """Of a float32 number."""
    return 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)
