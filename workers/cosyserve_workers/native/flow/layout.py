"""Sequences of different lengths laid end to end, and the windows of causal convolutions over them."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

LEFT = 2
"""Frames that a causal convolution three wide remembers."""


class Layout:
    """Where each sequence lies in a flat axis of `total` frames.

    Every layer but attention then works on all sequences in one matrix product, whatever their lengths. The indices are
    made once per solve: inside it nothing is asked of the device.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.lengths = tuple(lengths)
        *starts, self.total = accumulate(self.lengths, initial=0)
        self.starts = tuple(starts)
        self.places = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
        self._whole = len(self.lengths) == 1
        window, last = [], []
        for index, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            places = [LEFT * index, LEFT * index + 1]
            places += range(LEFT * len(self.lengths) + start, LEFT * len(self.lengths) + start + length)
            for frame in range(length):
                window += places[frame : frame + LEFT + 1]
            last += places[-LEFT:]
        self._window = torch.tensor(window, device=device)
        self._last = torch.tensor(last, device=device)

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
        window = joined.index_select(1, self._window).view(rows, self.total, -1)
        return window, joined.index_select(1, self._last).view(rows, -1, LEFT, channels)
