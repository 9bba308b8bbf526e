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
from tests.model.native.kernels.interpreted import difference, draw, run


def snakes(dice: torch.Generator) -> float:
    """Any number of rows, channels and samples, as loud as a vocoder ever is, with ends anywhere or none."""
    rows, channels, samples = draw(dice, 1, 4), draw(dice, 1, 5), draw(dice, 1, 2500)
    x, out = torch.randn((2, rows, channels, samples), generator=dice) * 10.0 ** draw(dice, -1, 4)
    alpha = torch.randn(channels, generator=dice)
    stride = draw(dice, 1, 4)
    inside = (torch.rand((rows, 1, samples * stride), generator=dice) > 0.3).float()[..., ::stride]
    ends = inside if draw(dice, 0, 3) else None
    ours, twin = FusedSnakes(), Snakes()
    pairs = [
        (ours.begin(x, alpha), twin.begin(x, alpha)),
        (ours.between(out.clone(), ends), twin.between(out.clone(), ends)),
        *zip(ours.join(x, out.clone(), ends, alpha), twin.join(x, out.clone(), ends, alpha), strict=True),
    ]
    return max(difference(got, wanted) for got, wanted in pairs)


def excitation(dice: torch.Generator) -> float:
    """Any number of rows and frames of any pitch, anywhere in a stream."""
    phase, places = stretch(dice)
    weight, bias = torch.randn((1, 9), generator=dice) * 0.5, torch.randn(1, generator=dice) * 0.1
    ours, twin = (kind(weight, bias, 480) for kind in (FusedExcitation, Excitation))
    return difference(ours.make(phase, places), twin.make(phase, places))


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
    run(snakes=snakes, excitation=excitation, noise=noise)
