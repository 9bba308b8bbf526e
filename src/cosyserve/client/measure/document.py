"""What a report is made of before it is Markdown or HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Heading:
    """Of a part."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Points:
    """A list; `nothing` stands for an empty one."""

    items: Sequence[str]
    nothing: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The first column names the rows, the others are figures where `figures`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """A curve. points: (x, y); where y is None there is a gap."""

    name: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of curves. names: of the places on the x axis, where they are no numbers. dots: points, unconnected."""

    title: str
    x_label: str
    lines: Sequence[Line]
    names: Sequence[str] = ()
    dots: bool = False


Block = Heading | Text | Points | Table | Plot


@dataclass(frozen=True, slots=True)
class Document:
    """Has a title and its parts in order."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
