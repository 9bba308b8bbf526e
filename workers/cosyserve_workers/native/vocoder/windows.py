"""Which stretches of mel a stream's sound is made from.

A sample depends on a bounded stretch of frames. So a piece of sound is made from a window that reaches some frames past
it on either side, and only the piece is kept. On a GPU all windows have one length, so that all go through the same few
programs: a chunk of any number of frames is cut into as many windows as it takes, and what lies in a window outside of
the signal is masked. On a CPU, where each frame costs time, a window is as long as it has to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3
from cosyserve_workers.native.vocoder.reach import Span

BUCKETS = (1, 2, 4, 8, 16)
"""How many windows of one length go through the network at once; others are added where there are fewer."""


Row = TypeVar("Row")


class Reach(NamedTuple):
    """Frames that a frame's sound looks to. settles: those after a frame that the source in it depends on."""

    left: int
    right: int
    settles: int

    @property
    def carried(self) -> int:
        """How many frames' pitch is settled when a window ends, from the first of the next one on."""
        return self.left + self.right - self.settles


REACHES = {
    # Measured on a random checkpoint, cut at every frame, against one pass: with 14 frames to come the worst sample is
    # off by 3e-5 of full scale, with 13 by 2e-4. A frame's pitch sees five to either side, and the second half of its
    # source the next one's.
    COSYVOICE2: Reach(left=16, right=14, settles=6),
    # All that is ever looked to: upstream waits for 8.
    COSYVOICE3: Reach(left=29, right=5, settles=3),
}
"""Frames to come cost time, 0.28 and 0.1 s of sound wait for them; those before cost work alone."""
KEPT_FRAMES = 50
"""Of a window on a GPU: a chunk of the flow."""


class Shape(NamedTuple):
    """Of a window. kept: the frames whose sound may be kept."""

    frames: int
    kept: Span


class Window(NamedTuple):
    """start: its first frame's number in the stream, below 0 where the signal begins later. given: frames of sound."""

    shape: Shape
    start: int
    given: int

    def signal(self, known: int) -> Span:
        """Where in it there is any, if there are `known` frames in all."""
        return Span(max(0, -self.start), min(self.shape.frames, known - self.start))


@dataclass(frozen=True, slots=True)
class Windows:
    """How streams are cut. kept: frames that each window gives, if all are to have one length."""

    reach: Reach
    kept: int | None = None

    @property
    def of_one_length(self) -> "Windows":
        """Such as a GPU has."""
        return Windows(self.reach, KEPT_FRAMES)

    def cut(self, given: int, known: int, *, final: bool) -> list[Window]:
        """Cut what can be made into sound by now: of `known` frames those after the first `given`."""
        until = known if final else known - self.reach.right
        if until <= given:
            return []
        if self.kept is None:
            start = max(given - self.reach.left, 0)
            return [Window(Shape(known - start, Span(given - start, until - start)), start, until - given)]
        return [
            Window(self._one_shape(self.kept), first - self.reach.left, min(self.kept, until - first))
            for first in range(given, until, self.kept)
        ]

    @property
    def shape(self) -> Shape | None:
        """Of all of them, if they have one length."""
        return self._one_shape(self.kept) if self.kept else None

    def _one_shape(self, kept: int) -> Shape:
        span = Span(self.reach.left, self.reach.left + kept)
        return Shape(span.end + self.reach.right, span)

    def batches(self, rows: Sequence[Row]) -> list[Sequence[Row]]:
        """Windows of one shape, as many together as go through the network at once."""
        most = BUCKETS[-1] if self.kept else len(rows)
        return [rows[first : first + most] for first in range(0, len(rows), most)]

    def filled(self, batch: Sequence[Row]) -> list[Row]:
        """As many as a program is for: the last one more often, where windows have one length."""
        size = next(size for size in BUCKETS if size >= len(batch)) if self.kept else len(batch)
        return [*batch, *[batch[-1]] * (size - len(batch))]
