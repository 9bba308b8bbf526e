"""How far a sample of sound looks to either side, stage by stage: what need not be computed beside what is kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Sides(NamedTuple):
    """How far something looks from a sample, before it and after it."""

    before: float
    after: float

    def plus(self, other: "Sides") -> "Sides":
        """Of one that looks at what another made."""
        return Sides(self.before + other.before, self.after + other.after)

    def times(self, factor: float) -> "Sides":
        """At so many times the rate."""
        return Sides(self.before * factor, self.after * factor)


class Span(NamedTuple):
    """Mel frames `start` to `end`."""

    start: int
    end: int

    def widened(self, frames: Sides, within: "Span") -> "Span":
        """The same with so many more on either side, whole ones, as far as there are any."""
        start, end = self.start - math.ceil(frames.before), self.end + math.ceil(frames.after)
        return Span(max(start, within.start), min(end, within.end))

    def cut(self, x: Tensor, whole: "Span", rate: int) -> Tensor:
        """Cut it out of what spans `whole`: [..., samples], `rate` of them a frame, and maybe one after the last."""
        after = x.shape[-1] - (whole.end - whole.start) * rate
        return x[..., (self.start - whole.start) * rate : (self.end - whole.start) * rate + after]


@dataclass(frozen=True, slots=True)
class StageReach:
    """In samples.

    up: of the transposed convolution, at its input's rate. source: of what it takes from the source, blocks: of the
    residual blocks, both at its output's rate.
    """

    up: Sides
    source: Sides
    blocks: Sides


def frames_around(stages: Sequence[StageReach], rates: Sequence[int], last: Sides) -> list[Sides]:
    """How many mel frames beside some must enter each stage, so that these leave the last one right.

    rates: samples that each stage makes of a mel frame. last: what sound looks to at the last stage's end.
    """
    needed = last.times(1 / rates[-1])
    around = []
    for stage, rate, rate_before in reversed(list(zip(stages, rates, [1, *rates], strict=False))):
        needed = needed.plus(stage.blocks.times(1 / rate)).plus(stage.up.times(1 / rate_before))
        around.append(needed)
    return around[::-1]
