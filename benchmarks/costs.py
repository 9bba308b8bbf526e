"""What turns of the engine `native` take, as a table of points and what lies between them."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.imagined import Solved, Took
from cosyserve_workers.native.models import COSYVOICE2
from cosyserve_workers.native.networks import Plan
from cosyserve_workers.native.vocoder.windows import REACHES

Row = list[float]


@dataclass(frozen=True)
class Point:
    """One turn. size: what is done for each stream; past: what lies behind it. full: as `Took`, all of it if None.

    A prefill's are rows, a decode's positions of the language model, a solve's frames.
    """

    turn: str
    streams: int
    past: int
    size: int
    seconds: float
    full: float | None = None

    @property
    def filling(self) -> "Point":
        """The same, with the seconds that it fills the device for."""
        return self if self.full is None else replace(self, seconds=self.full)


@dataclass(frozen=True)
class Costs:
    """A machine's, or an estimate of one. Costs are linear in what is done and in what lies behind it, between points.

    source: whose, and how it was found. plan: how the engine deals out work there, for as many streams as it was
    measured with. model: whose turns they are.
    """

    source: str
    plan: Plan
    points: Sequence[Point]
    model: str = COSYVOICE2.name

    @property
    def awaited(self) -> int:
        """How many frames of mel the model's vocoder waits for beyond those that it gives."""
        return next(reach.right for model, reach in REACHES.items() if model.name == self.model)

    def plan_for(self, streams: int) -> Plan:
        """The like for so many streams."""
        # Where all share a solve, more do so too.
        width = streams if self.plan.solve_width == self.plan.slots else self.plan.solve_width
        return replace(self.plan, slots=streams, solve_width=width)

    @cached_property
    def _laws(self) -> "dict[str, tuple[_Laws, _Laws]]":
        """Of each turn's seconds, and of those in which it fills the device."""
        groups = {turn: [point for point in self.points if point.turn == turn] for turn in SHAPES}
        return {
            turn: (_Laws(points, SHAPES[turn]), _Laws([point.filling for point in points], SHAPES[turn]))
            for turn, points in groups.items()
        }

    def prefill(self, streams: int, rows: int) -> Took:
        """As `Cost`."""
        return self._at("prefill", streams, [1, rows])

    def decode(self, streams: int, past: int) -> Took:
        """As `Cost`."""
        return self._at("decode", streams, [1, past])

    def solve(self, parts: Sequence[Solved]) -> Took:
        """As `Cost`: streams that differ are taken for as many of their mean."""
        frames = sum(part.frames for part in parts) / len(parts)
        looks = sum(part.frames * part.past for part in parts) / len(parts)
        return self._at("solve", len(parts), [1, frames, looks])

    def _at(self, turn: str, streams: int, row: Row) -> Took:
        seconds, full = (laws.at(streams, row) for laws in self._laws[turn])
        return Took(seconds, min(full, seconds))

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        record = asdict(self)
        path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> "Costs":
        """Read what `save` wrote. Raises ValueError, KeyError, TypeError where it is something else."""
        record = json.loads(path.read_text("utf-8"))
        model = record.get("model", COSYVOICE2.name)
        return cls(record["source"], Plan(**record["plan"]), [Point(**point) for point in record["points"]], model)


SHAPES: dict[str, Callable[[Point], Row]] = {
    "prefill": lambda point: [1, point.streams * point.size],
    "decode": lambda point: [1, point.past],
    "solve": lambda point: [1, point.size, point.size * point.past],
}
"""What a turn's cost is linear in."""


class _Laws:
    """One turn's costs: a linear law for each number of streams, straight lines between those numbers and beyond."""

    def __init__(self, points: Sequence[Point], shape: Callable[[Point], Row]) -> None:
        groups = defaultdict(list)
        for point in points:
            groups[point.streams].append(point)
        self._widths = sorted(groups)
        self._laws = [_law(groups[width], shape) for width in self._widths]

    def at(self, streams: int, row: Row) -> float:
        """Seconds of so many streams."""
        known = [max(float(law @ row), 0.0) for law in self._laws]
        if len(known) > 1 and streams > self._widths[-1]:
            slope = (known[-1] - known[-2]) / (self._widths[-1] - self._widths[-2])
            return known[-1] + max(slope, 0.0) * (streams - self._widths[-1])
        return float(np.interp(streams, self._widths, known))


def _law(points: Sequence[Point], shape: Callable[[Point], Row]) -> NDArray[np.float64]:
    """Of fewer points than it has parts, a law without the last of these."""
    rows = np.array([shape(point) for point in points], dtype=float)
    parts = min(rows.shape)
    # Each by its own size: what counts is by which part it is off.
    weighted = rows[:, :parts] / np.array([point.seconds for point in points])[:, None]
    law: NDArray[np.float64] = np.linalg.lstsq(weighted, np.ones(len(points)), rcond=None)[0]
    return np.pad(law, (0, rows.shape[1] - parts))
