"""What solves of both models share: Euler steps on a cosine schedule, guidance, and noise from one table by position.

After upstream's `ConditionalCFM.solve_euler` and `CausalConditionalCFM`.
"""

import torch
from torch import Tensor

from cosyserve_workers.native.flow.sizes import EULER_STEPS, MEL_BINS

_GUIDANCE = 0.7
_NOISE_FRAMES = 50 * 300


def schedule() -> tuple[Tensor, list[float]]:
    """The time at each Euler step, float32 [steps], and how far each step goes, rounded as the library rounds."""
    ends = 1 - torch.cos(torch.linspace(0, 1, EULER_STEPS + 1) * 0.5 * torch.pi)
    time, times, spans = ends[0], [], []
    for end in ends[1:]:
        span = end - time
        times.append(time)
        spans.append(float(span))
        time = time + span
    return torch.stack(times), spans


def stepped(mel: Tensor, velocity: Tensor, span: float) -> Tensor:
    """Where the flow comes to. velocity: [2, frames, 80], of the guided row and of the other; float32."""
    guided, free = velocity.unbind(0)
    return mel + span * ((1 + _GUIDANCE) * guided - _GUIDANCE * free)


def noise_table(device: torch.device) -> Tensor:
    """[frames, 80] from the prompt's start: the same for everybody."""
    noise = torch.randn((1, MEL_BINS, _NOISE_FRAMES), generator=torch.Generator().manual_seed(0))
    return noise[0].t().contiguous().to(device)


def noise_at(table: Tensor, places: Tensor) -> Tensor:
    """[n, 80]. Past the table's five minutes, where the library fails, it begins anew."""
    return table[places % len(table)]
