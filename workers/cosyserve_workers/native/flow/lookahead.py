"""The look-ahead layer of both models' encoders: a token hears the three after it, then the two before.

After upstream's `PreLookaheadLayer`.
"""

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.flow.layout import LEFT, Layout
from cosyserve_workers.native.flow.sizes import LOOKAHEAD_TOKENS
from cosyserve_workers.native.flow.weights import Weights


class LookAhead:
    """width: of what comes in and goes out. inner: between its two convolutions."""

    def __init__(self, weights: Weights, width: int, inner: int) -> None:
        self._ahead = weights.convolution("conv1", inner, width, LOOKAHEAD_TOKENS + 1)
        self._back = weights.convolution("conv2", width, inner, LEFT + 1)

    def __call__(self, embedded: Tensor, layout: Layout, left: Tensor) -> tuple[Tensor, Tensor]:
        """Of each sequence's tokens and the three after them, [sum of (length + 3), width], to [total, width].

        left: [sequences, 2, inner], what the second convolution remembers; the new one is returned as well.
        """
        if layout.alike:
            rows = embedded.unflatten(0, (len(layout.lengths), -1))
            spans = rows.unfold(1, LOOKAHEAD_TOKENS + 1, 1).transpose(2, 3)
            return self._after(rows[:, :-LOOKAHEAD_TOKENS].flatten(0, 1), spans.flatten(2).flatten(0, 1), layout, left)
        own, windows = [], []
        for index, (start, length) in enumerate(zip(layout.starts, layout.lengths, strict=True)):
            first = start + LOOKAHEAD_TOKENS * index
            own.append(embedded[first : first + length])
            span = embedded[first : first + length + LOOKAHEAD_TOKENS]
            windows.append(span.unfold(0, LOOKAHEAD_TOKENS + 1, 1).transpose(1, 2).flatten(1))
        return self._after(torch.cat(own), torch.cat(windows), layout, left)

    def _after(self, own: Tensor, windows: Tensor, layout: Layout, left: Tensor) -> tuple[Tensor, Tensor]:
        """The same of tokens, [total, width], and what each sees ahead, [total, 4 * width]."""
        ahead = functional.leaky_relu(self._ahead(windows))
        behind, left = layout.windows(ahead[None], left[None])
        return own + self._back(behind[0]), left[0]
