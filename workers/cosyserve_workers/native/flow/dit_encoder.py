"""CosyVoice3's encoder: speech tokens to the mean mel that the estimator starts from, by a look-ahead alone."""

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.flow.dit_sizes import DitSizes
from cosyserve_workers.native.flow.encoder import Behind, EncoderLeft
from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.lookahead import LookAhead
from cosyserve_workers.native.flow.sizes import FRAMES_PER_TOKEN, MEL_BINS
from cosyserve_workers.native.flow.weights import Weights


class DitEncoder:
    """As `Encoder`, without attention."""

    def __init__(self, weights: Weights, sizes: DitSizes) -> None:
        rows = weights.take("input_embedding.weight", sizes.vocabulary, MEL_BINS)
        self._embedded = torch.cat([rows, rows.new_zeros(1, MEL_BINS)])
        self.absent = sizes.vocabulary
        """The id that stands for a look-ahead past the end: the library pads with zeros there."""
        self._look_ahead = LookAhead(weights.under("pre_lookahead_layer"), MEL_BINS, sizes.lookahead_width)

    def reserve(self, tokens: int) -> None:
        """As `Encoder`: it has no positions."""

    def __call__(
        self, tokens: Tensor, layouts: tuple[Layout, Layout], left: EncoderLeft, behind: tuple[Behind, Behind]
    ) -> tuple[Tensor, EncoderLeft]:
        """As `Encoder`. Nothing is behind it but what the look-ahead remembers."""
        del behind
        embedded = functional.embedding(tokens, self._embedded)
        mean, remembered = self._look_ahead(embedded, layouts[0], left.lookahead)
        return mean.repeat_interleave(FRAMES_PER_TOKEN, dim=0), EncoderLeft(remembered, left.upsampling)
