"""The numbers of CosyVoice3's flow, all of which its weights' shapes tell."""

from dataclasses import dataclass

from cosyserve_workers.native.flow.layout import LEFT
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    CONDITION_CHANNELS,
    EULER_STEPS,
    GUIDANCE_ROWS,
    MEL_BINS,
    PageShapes,
    estimator_shape,
)
from cosyserve_workers.native.flow.weights import Weights

CONV_TAPS = 31
CONV_LEFT = CONV_TAPS - 1
"""Frames that each of the two convolutions before the blocks remembers."""
TIME_TERMS = 6
"""Shift, scale and gate of the attention, then of the hidden layer."""


@dataclass(frozen=True)
class DitSizes:
    """Widths and counts of one flow."""

    vocabulary: int
    speaker_width: int
    lookahead_width: int
    channels: int
    estimator_layers: int
    heads: int
    head_width: int
    hidden: int
    group_width: int
    """Channels that a group of the convolutions before the blocks hears."""
    time_waves: int

    @property
    def inner(self) -> int:
        """Channels of queries, keys or values."""
        return self.heads * self.head_width

    @property
    def work(self) -> float:
        """Of an Euler step, in CosyVoice2's at full size: 189 M products a frame instead of 66."""
        return 2.9

    @property
    def page(self) -> PageShapes:
        """What is kept of a chunk: keys already turned by their places."""
        nothing = (0, 2, 1)
        return PageShapes(
            tokens=(*nothing, CHUNK_TOKENS, 0),
            frames=(*nothing, CHUNK_FRAMES, 0),
            estimator=estimator_shape(self.estimator_layers, self.inner),
            lookahead=(LEFT, self.lookahead_width),
            upsampling=(0, 0),
            condition=(0, CONDITION_CHANNELS),
            mel=(EULER_STEPS, 0, MEL_BINS),
            convolutions=(EULER_STEPS, GUIDANCE_ROWS, CONV_LEFT, 2 * self.channels),
        )

    @classmethod
    def infer(cls, weights: Weights) -> "DitSizes":
        """Read the shapes. Raises LoadError."""
        estimator = weights.under("decoder.estimator")
        block = estimator.under("transformer_blocks.0")
        head_width = 2 * estimator.shape("rotary_embed.inv_freq", 1)[0]
        return cls(
            vocabulary=weights.shape("input_embedding.weight", 2)[0],
            speaker_width=weights.shape("spk_embed_affine_layer.weight", 2)[1],
            lookahead_width=weights.shape("pre_lookahead_layer.conv1.weight", 3)[0],
            channels=estimator.shape("proj_out.weight", 2)[1],
            estimator_layers=estimator.count("transformer_blocks"),
            heads=block.shape("attn.to_q.weight", 2)[0] // head_width,
            head_width=head_width,
            hidden=block.shape("ff.ff.0.0.weight", 2)[0],
            group_width=estimator.shape("input_embed.conv_pos_embed.conv1.0.weight", 3)[1],
            time_waves=estimator.shape("time_embed.time_mlp.0.weight", 2)[1],
        )
