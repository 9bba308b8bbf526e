"""The vocoder's Triton kernels beside their twins, in Triton's interpreter: run as a program, as `interpreted`.

TRITON_INTERPRET=1 python -m tests.model.native.kernels.interpreted_vocoder snakes 0 1 2
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from cosyserve_workers.native.kernels.excitation import Excitation, Phase
from cosyserve_workers.native.kernels.excitation_triton import FusedExcitation, normals
from cosyserve_workers.native.kernels.noise import GOLDEN, Noise, key_of, signed
from cosyserve_workers.native.kernels.snake import Snakes
from cosyserve_workers.native.kernels.snake_triton import FusedSnakes
from cosyserve_workers.native.kernels.steps import Steps
from cosyserve_workers.native.kernels.steps_triton import FusedSteps
from tests.model.native.kernels.interpreted import difference, draw, run


def snakes(dice: torch.Generator) -> float:
    """Any number of rows, channels and samples, as loud as a vocoder ever is, with ends anywhere or none."""
    rows, channels, samples = draw(dice, 1, 4), draw(dice, 1, 5), draw(dice, 1, 2500)
    # What comes from a convolution may be a part of something longer.
    begins, more = draw(dice, 0, 3), draw(dice, 0, 3)
    longer = torch.randn((2, rows, channels, begins + samples + more), generator=dice) * 10.0 ** draw(dice, -1, 4)
    alpha = torch.randn(channels, generator=dice)
    stride = draw(dice, 1, 4)
    inside = (torch.rand((rows, 1, samples * stride), generator=dice) > 0.3).float()[..., ::stride]
    ends = inside if draw(dice, 0, 3) else None
    made = []
    for snakes_of in (FusedSnakes(), Snakes()):
        x, out = longer.clone()[..., begins : begins + samples]
        made.append([snakes_of.begin(x, alpha), snakes_of.between(out.clone(), ends), snakes_of.between(out, ends)])
        x, out = longer.clone()[..., begins : begins + samples]
        made[-1] += snakes_of.join(x, out, ends, alpha)
    return max(difference(got, wanted) for got, wanted in zip(*made, strict=True))


def excitation(dice: torch.Generator) -> float:
    """Any number of rows and frames of any pitch, anywhere in a stream."""
    phase, places = stretch(dice)
    weight, bias = torch.randn((1, 9), generator=dice) * 0.5, torch.randn(1, generator=dice) * 0.1
    ours, twin = (kind(weight, bias, 480) for kind in (FusedExcitation, Excitation))
    return difference(ours.make(phase, places), twin.make(phase, places))


def steps(dice: torch.Generator) -> float:
    """Any number of rows and frames of any pitch, whose noise is anywhere in the table or beyond its ends."""
    rows, frames, lines = draw(dice, 1, 4), draw(dice, 1, 6), draw(dice, 1, 9)
    f0 = torch.rand((rows, frames), generator=dice, dtype=torch.float64) * 400
    f0 *= torch.rand((rows, frames), generator=dice) > 0.3
    turns = torch.rand((rows, frames + 1), generator=dice, dtype=torch.float64)[:, 1:] * 90
    table = torch.rand((lines, 480), generator=dice)
    begins = torch.tensor([[draw(dice, -4, lines + 2), 0] for _ in range(rows)])[:, 0]
    weight, bias = torch.randn((1, 9), generator=dice) * 5, torch.randn(1, generator=dice) * 0.1
    ours, twin = (kind(weight, bias) for kind in (FusedSteps, Steps))
    return difference(ours.make(f0, turns, table, begins), twin.make(f0, turns, table, begins))


@triton.jit
def normals_kernel(states, made, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Two normals of each state, one after the other."""
    place = tl.program_id(0) * block + tl.arange(0, block)
    first, second = normals(tl.load(states + place))
    tl.store(made + 2 * place, first)
    tl.store(made + 2 * place + 1, second)


def noise(dice: torch.Generator) -> float:
    """Normals alone, and how far the worst is off."""
    drawn = Noise(1, torch.device("cpu"))
    places = torch.tensor([drawn.place(key_of(draw(dice, 0, 1 << 30)), 0)])
    wanted = drawn.draw(places, 1 << 15)[0, 0]
    states = places + torch.arange(1 << 14) * signed(GOLDEN)
    made = torch.empty(1 << 15)
    normals_kernel[4,](states, made, block=1 << 12)
    return float((made - wanted).abs().max())


def stretch(dice: torch.Generator) -> tuple[Phase, Tensor]:
    """Some frames' pitch and phase, and where their noise lies."""
    rows, frames = draw(dice, 1, 4), draw(dice, 1, 4)
    f0 = torch.rand((rows, frames + 1), generator=dice, dtype=torch.float64) * 400
    f0 *= torch.rand((rows, frames + 1), generator=dice) > 0.3
    steps = f0 / 24_000
    turns = torch.cat([torch.rand((rows, 1), generator=dice, dtype=torch.float64), steps], dim=1).cumsum(1)
    begins = [
        Excitation(torch.ones(1, 9), torch.zeros(1), 480).noise.place(key_of(row), 480 * row) for row in range(rows)
    ]
    phase = Phase(f0[:, 1:].contiguous(), turns[:, 2:], steps[:, 1:].contiguous(), steps[:, :-1].contiguous())
    return phase, torch.tensor([[begin, 0] for begin in begins])[:, 0]


if __name__ == "__main__":
    run(snakes=snakes, excitation=excitation, noise=noise, steps=steps)
