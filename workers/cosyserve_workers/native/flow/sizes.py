"""The numbers of a flow: those that its weights' shapes tell, and those that no shape tells."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.flow.layout import LEFT
from cosyserve_workers.native.flow.weights import Weights

CHUNK_TOKENS = 25
"""Tokens of one chunk of the streaming masks; boundaries are multiples of it from the prompt's start."""
FRAMES_PER_TOKEN = 2
CHUNK_FRAMES = CHUNK_TOKENS * FRAMES_PER_TOKEN
LOOKAHEAD_TOKENS = 3
"""How many tokens after a chunk must be known before it can be solved."""
MEL_BINS = 80
EULER_STEPS = 10
GUIDANCE_ROWS = 2
"""Row 0 hears tokens, speaker and prompt; row 1 none of them (classifier-free guidance)."""
CONDITION_CHANNELS = 3 * MEL_BINS
"""Beside the noisy mel the estimator is given: the encoder's mel, the speaker, the prompt's mel."""

Shape = tuple[int, ...]

_PUBLISHED_HEAD_WIDTH = 64
_YAML_NAME = "cosyvoice2.yaml"


class PageShapes(NamedTuple):
    """Of all that is kept of a chunk, as `memory.Chunk` and `memory.Lefts` have it.

    A model that lacks some of the layers has a nought there, and keeps nothing.
    """

    tokens: Shape
    frames: Shape
    estimator: Shape
    lookahead: Shape
    upsampling: Shape
    condition: Shape
    mel: Shape
    convolutions: Shape

    @property
    def step(self) -> Shape:
        """What the estimator remembers of a chunk from one Euler step."""
        return self.estimator[1:]


@dataclass(frozen=True)
class FlowSizes:
    """Widths and counts of CosyVoice2's flow."""

    vocabulary: int
    width: int
    """Channels of the encoder."""
    encoder_heads: int
    encoder_hidden: int
    encoder_layers: int
    """Conformer layers at the tokens' rate."""
    upsampled_layers: int
    """Conformer layers at the frames' rate."""
    speaker_width: int
    channels: int
    """Channels of the estimator."""
    heads: int
    head_width: int
    estimator_hidden: int
    blocks_per_level: int
    mid_levels: int
    time_width: int

    @property
    def work(self) -> float:
        """Of an Euler step, in CosyVoice2's of the same kind."""
        return 1.0

    @property
    def levels(self) -> int:
        """Levels of the estimator: one down, the middle ones, one up."""
        return self.mid_levels + 2

    @property
    def estimator_layers(self) -> int:
        """Attention layers of the estimator."""
        return self.levels * self.blocks_per_level

    @property
    def convolution_channels(self) -> int:
        """Channels that enter the estimator's causal convolutions, but for the one that hears the mel."""
        down, up, final = 2, 4, 1
        return self.channels * (down + 2 * self.mid_levels + up + final)

    @property
    def encoder_head_width(self) -> int:
        """Channels of a head of the encoder."""
        return self.width // self.encoder_heads

    @property
    def page(self) -> PageShapes:
        """What is kept of a chunk."""
        return PageShapes(
            tokens=(self.encoder_layers, 2, 1, CHUNK_TOKENS, self.width),
            frames=(self.upsampled_layers, 2, 1, CHUNK_FRAMES, self.width),
            estimator=estimator_shape(self.estimator_layers, self.heads * self.head_width),
            lookahead=(LEFT, self.width),
            upsampling=(LEFT, self.width),
            condition=(LEFT, CONDITION_CHANNELS),
            mel=(EULER_STEPS, LEFT, MEL_BINS),
            convolutions=(EULER_STEPS, GUIDANCE_ROWS, LEFT, self.convolution_channels),
        )

    @classmethod
    def infer(cls, weights: Weights, model_dir: Path) -> "FlowSizes":
        """Read the shapes; the estimator's head width is the one number no shape tells. Raises LoadError."""
        vocabulary, width = weights.shape("input_embedding.weight", 2)
        encoder, estimator = weights.under("encoder"), weights.under("decoder.estimator")
        first = estimator.under("down_blocks.0")
        inner, channels = first.shape("1.0.attn1.to_q.weight", 2)
        head_width = _head_width(model_dir / _YAML_NAME)
        if inner % head_width:
            raise LoadError(
                f"{model_dir / _YAML_NAME}: attention_head_dim {head_width} does not divide the {inner} attention "
                "channels in flow.pt"
            )
        return cls(
            vocabulary=vocabulary,
            width=width,
            encoder_heads=encoder.shape("encoders.0.self_attn.pos_bias_u", 2)[0],
            encoder_hidden=encoder.shape("encoders.0.feed_forward.w_1.weight", 2)[0],
            encoder_layers=encoder.count("encoders"),
            upsampled_layers=encoder.count("up_encoders"),
            speaker_width=weights.shape("spk_embed_affine_layer.weight", 2)[1],
            channels=channels,
            heads=inner // head_width,
            head_width=head_width,
            estimator_hidden=first.shape("1.0.ff.net.0.proj.weight", 2)[0],
            blocks_per_level=first.count("1"),
            mid_levels=estimator.count("mid_blocks"),
            time_width=estimator.shape("time_mlp.linear_2.weight", 2)[0],
        )


def estimator_shape(layers: int, inner: int) -> Shape:
    """Of a chunk's keys and values in so many layers of an estimator. inner: channels of the keys."""
    return EULER_STEPS, layers, 2, GUIDANCE_ROWS, CHUNK_FRAMES, inner


def _head_width(yaml: Path) -> int:
    """`attention_head_dim` of the model's configuration, or the published models' 64 where it is not to be found.

    One number is looked for by its name: the file is full of tags that only its own loader understands.
    """
    try:
        found = re.search(r"^\s*attention_head_dim:\s*([1-9]\d*)\s*$", yaml.read_text("utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return _PUBLISHED_HEAD_WIDTH
    return int(found[1]) if found else _PUBLISHED_HEAD_WIDTH
