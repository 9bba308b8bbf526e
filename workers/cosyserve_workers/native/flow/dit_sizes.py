"""The numbers of CosyVoice3's flow, all of which its weights' shapes tell."""

from dataclasses import dataclass

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
    width: int
    depth: int
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
            width=estimator.shape("proj_out.weight", 2)[1],
            depth=estimator.count("transformer_blocks"),
            heads=block.shape("attn.to_q.weight", 2)[0] // head_width,
            head_width=head_width,
            hidden=block.shape("ff.ff.0.0.weight", 2)[0],
            group_width=estimator.shape("input_embed.conv_pos_embed.conv1.0.weight", 3)[1],
            time_waves=estimator.shape("time_embed.time_mlp.0.weight", 2)[1],
        )
