"""How far a sample of sound looks to either side, stage by stage: what need not be computed beside what is kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Span(NamedTuple):
    """Mel frames `start` to `end`."""

    start: int
    end: int

    def widened(self, frames: int, within: "Span") -> "Span":
        """The same with so many more on either side, as far as there are any."""
        return Span(max(self.start - frames, within.start), min(self.end + frames, within.end))

    def cut(self, x: Tensor, whole: "Span", rate: int) -> Tensor:
        """Cut it out of what spans `whole`: [..., samples], `rate` of them a frame, and maybe one after the last."""
        after = x.shape[-1] - (whole.end - whole.start) * rate
        return x[..., (self.start - whole.start) * rate : (self.end - whole.start) * rate + after]


@dataclass(frozen=True, slots=True)
class StageReach:
    """In samples on either side.

    up: of the transposed convolution, at its input's rate. source: of what it takes from the source, blocks: of the
    residual blocks, both at its output's rate.
    """

    up: float
    source: int
    blocks: int


def frames_around(stages: Sequence[StageReach], rates: Sequence[int], last: int) -> list[int]:
    """How many mel frames on either side must enter each stage, so that those in the middle leave the last one right.

    rates: samples that each stage makes of a mel frame. last: what sound looks to either side at the last stage's end.
    """
    needed = last / rates[-1]
    around = []
    for stage, rate, rate_before in reversed(list(zip(stages, rates, [1, *rates], strict=False))):
        needed += stage.blocks / rate + stage.up / rate_before
        around.append(math.ceil(needed))
    return around[::-1]
