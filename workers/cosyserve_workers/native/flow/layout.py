"""Sequences of different lengths laid end to end, and the windows of causal convolutions over them."""

from collections.abc import Callable, Sequence
from copy import copy
from itertools import accumulate

import torch
from torch import Tensor

LEFT = 2
"""Frames that a causal convolution three wide remembers."""


class Layout:
    """Where each sequence lies in a flat axis of `total` frames.

    Every layer but attention then works on all sequences in one matrix product, whatever their lengths. The indices are
    made once per solve: inside it nothing is asked of the device.

    follows: of sequences that are equally long, whether each continues the one before, whose last frames are then what
    is before it; what comes of them has shapes that their number alone decides.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device, follows: Sequence[bool] | None = None) -> None:
        self.lengths = tuple(lengths)
        *starts, self.total = accumulate(self.lengths, initial=0)
        self.starts = tuple(starts)
        self.places = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
        self.alike = follows is not None
        self._whole = len(self.lengths) == 1 and not self.alike
        window, last = [], []
        for index, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            places = [LEFT * index, LEFT * index + 1]
            if follows is not None and follows[index]:
                places = [LEFT * len(self.lengths) + start - 2, LEFT * len(self.lengths) + start - 1]
            places += range(LEFT * len(self.lengths) + start, LEFT * len(self.lengths) + start + length)
            for frame in range(length):
                window += places[frame : frame + LEFT + 1]
            last += places[-LEFT:]
        # `torch.tensor([])` is a constant, which tests on tensors without numbers would move to a GPU for real.
        told = torch.tensor(follows, dtype=torch.bool) if follows else torch.empty(0, dtype=torch.bool)
        self.window, self._last, self.follows = (
            numbers.to(device, non_blocking=True) for numbers in (torch.tensor(window), torch.tensor(last), told)
        )

    @property
    def numbers(self) -> tuple[Tensor, ...]:
        """What those read who work on sequences that are equally long, beside the length and number of these."""
        return self.window, self.follows

    def with_numbers(self, numbers: Sequence[Tensor]) -> "Layout":
        """The same with `numbers` that lie elsewhere."""
        made = copy(self)
        made.window, made.follows = numbers
        return made

    def windows(self, frames: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """Each frame with the two before it, and what the next call needs as `left`.

        Args:
            frames: [rows, total, channels].
            left: [rows, sequences, 2, channels], the two frames before each sequence (zeros before the first).

        Returns:
            [rows, total, 3 * channels], oldest frame first, and the new left.
        """
        rows, _, channels = frames.shape
        joined = torch.cat([left.flatten(1, 2), frames], dim=1)
        if self._whole:
            spans = joined.unfold(1, LEFT + 1, 1).transpose(2, 3)
            return spans.reshape(rows, self.total, -1), joined[:, None, -LEFT:]
        window = joined.index_select(1, self.window).view(rows, self.total, -1)
        if self.alike:
            ends = window.view(rows, len(self.lengths), -1, (LEFT + 1) * channels)[:, :, -1, channels:]
            return window, ends.unflatten(2, (LEFT, channels))
        return window, joined.index_select(1, self._last).view(rows, -1, LEFT, channels)

    def convolve(self, frames: Tensor, left: Tensor, convolution: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Convolve each sequence with what is before it; the result, and what the next call needs as `left`.

        Args:
            frames: [rows, total, channels].
            left: [rows, sequences, n, channels], the n frames before each sequence.
            convolution: what makes [b, m, channels] of [b, n + m, channels].
        """
        reach = left.shape[2]
        if not self.alike:
            joined = [torch.cat([left[:, i], frames[:, place]], dim=1) for i, place in enumerate(self.places)]
            made = [convolution(sequence) for sequence in joined]
            new = torch.stack([sequence[:, -reach:] for sequence in joined], dim=1)
            return made[0] if len(made) == 1 else torch.cat(made, dim=1), new
        sequences = frames.unflatten(1, (len(self.lengths), -1))
        ends = sequences[:, :, -reach:]
        before = torch.where(self.follows[:, None, None], ends.roll(1, dims=1), left)
        made_of_all = convolution(torch.cat([before, sequences], dim=2).flatten(0, 1))
        return made_of_all.view(frames.shape), ends
