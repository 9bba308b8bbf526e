"""Plots as SVG: a few curves, axes with round numbers, a legend, and what each point is on hovering."""

import math
from collections.abc import Iterator, Sequence
from html import escape

from cosyserve.client.measure.document import Line, Plot

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 56, 44
"""Margins: for the numbers, the title with the legend, and the label below."""
TICKS = 5
COLOURS = 6
"""Classes c0 to c5, which the page's style colours."""


def draw(plot: Plot) -> str:
    """An `svg` element; empty where there is no point to show."""
    points = [point for line in plot.lines for point in line.points if point[1] is not None]
    if not points:
        return ""
    axes = _Axes(plot, [x for x, _ in points], [y for _, y in points if y is not None])
    parts = [*_head(plot), *axes.drawn(), *_legend(plot.lines)]
    for index, line in enumerate(plot.lines):
        parts += _curve(line, axes, f"c{index % COLOURS}", dots=plot.dots)
    return "".join([*parts, "</svg>"])


def ticks(top: float) -> list[float]:
    """Round numbers from 0 to `top` or a little beyond."""
    top = top or 1.0
    rough = top / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [step * index for index in range(math.ceil(top / step - 1e-9) + 1)]


class _Axes:
    def __init__(self, plot: Plot, xs: Sequence[float], ys: Sequence[float]) -> None:
        self._plot = plot
        self._y_ticks = ticks(max(ys))
        self._x_ticks = [float(at) for at in range(len(plot.names))] or ticks(max(xs))
        self._top = max(self._y_ticks[-1], *ys) or 1.0
        self._end = self._x_ticks[-1] or 1.0

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Of a point, in the picture."""
        # Names stand in the middle of their share of the axis.
        share = (x + 0.5) / len(self._plot.names) if self._plot.names else x / self._end
        across = LEFT + (WIDTH - LEFT - RIGHT) * share
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / self._top

    def drawn(self) -> Iterator[str]:
        right = WIDTH - RIGHT
        for y in self._y_ticks:
            _, at = self.place(0, y)
            yield f'<path class="grid" d="M{LEFT} {at:.1f}H{right}"/>'
            yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>'
        for index, x in enumerate(self._x_ticks):
            at, _ = self.place(x, 0)
            told = self._plot.names[index] if self._plot.names else f"{x:g}"
            yield f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(told)}</text>'
        middle = (LEFT + right) / 2
        yield f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(self._plot.x_label)}</text>'

    def told(self, x: float) -> str:
        """What stands at that place of the x axis."""
        return self._plot.names[round(x)] if self._plot.names else f"{x:g}"


def _head(plot: Plot) -> Iterator[str]:
    title = escape(plot.title)
    yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
    yield f'<text class="title" x="{LEFT}" y="20">{title}</text>'


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    at = float(LEFT)
    for index, line in enumerate(lines):
        yield f'<circle class="c{index % COLOURS} dot" cx="{at + 4}" cy="36" r="4"/>'
        yield f'<text x="{at + 13}" y="40">{escape(line.name)}</text>'
        at += 30 + 7.2 * len(line.name)


def _curve(line: Line, axes: _Axes, colour: str, *, dots: bool) -> Iterator[str]:
    if not dots:
        yield f'<path class="{colour} line" d="{_path(line, axes)}"/>'
    # Points of a long series would hide it.
    if dots or len(line.points) <= 40:
        for x, y in line.points:
            if y is not None:
                at = axes.place(x, y)
                told = escape(f"{line.name}, {axes.told(x)}: {y:.4g}")
                place = f'cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3"'
                yield f'<circle class="{colour} dot" {place}><title>{told}</title></circle>'


def _path(line: Line, axes: _Axes) -> str:
    steps, pen = [], "M"
    for x, y in line.points:
        if y is None:
            pen = "M"
            continue
        at = axes.place(x, y)
        steps.append(f"{pen}{at[0]:.1f} {at[1]:.1f}")
        pen = "L"
    return "".join(steps)
