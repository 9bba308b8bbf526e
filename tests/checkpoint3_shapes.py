"""Names and shapes of a CosyVoice3 folder's three networks, as its published files have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Shapes = dict[str, tuple[int, ...]]

MEL_BINS = 80
SPEAKER = 192
SOUNDS = 6561
SPEECH_IDS = SOUNDS + 200
"""Sounds, then start, end, task, fill, and some that were never used."""
TIME_WAVES = 256
TIME_TERMS, LAST_TIME_TERMS = 6, 2
"""What a block of the flow takes from the time: shift, scale and gate, twice; the last norm: scale and shift."""
CONV_GROUPS, CONV_TAPS = 16, 31
LOOKAHEAD_TAPS = 4
UPSAMPLING = (8, 5, 3)
UP_TAPS = (16, 11, 7)
SOURCE_STRIDES = (15, 3, 1)
BRANCH_TAPS = (3, 7, 11)
SOURCE_TAPS = (7, 7, 11)
DILATIONS = 3
SPECTRUM = 18
"""Numbers of a Fourier frame of 16 samples: nine magnitudes and nine phases."""
HARMONICS = 9
PITCH_TAPS = (4, 3, 3, 3, 3)


@dataclass(frozen=True)
class Size:
    """The numbers of a CosyVoice3 that may differ between checkpoints."""

    llm_width: int
    llm_layers: int
    llm_heads: int
    llm_kv_heads: int
    llm_hidden: int
    text_ids: int
    """Rows of the text embedding; 0 takes what the tokenizer needs."""
    flow_width: int
    """Also of the look-ahead layer."""
    flow_depth: int
    flow_heads: int
    flow_head_width: int
    vocoder_channels: int
    pitch_channels: int


SIZES = {
    "small": Size(
        llm_width=128,
        llm_layers=3,
        llm_heads=4,
        llm_kv_heads=2,
        llm_hidden=256,
        text_ids=0,
        flow_width=64,
        flow_depth=3,
        flow_heads=4,
        flow_head_width=16,
        vocoder_channels=64,
        pitch_channels=32,
    ),
    "full": Size(
        llm_width=896,
        llm_layers=24,
        llm_heads=14,
        llm_kv_heads=2,
        llm_hidden=4864,
        text_ids=151936,
        flow_width=1024,
        flow_depth=22,
        flow_heads=16,
        flow_head_width=64,
        vocoder_channels=512,
        pitch_channels=512,
    ),
}


def qwen_shapes(size: Size, text_ids: int) -> Shapes:
    """Qwen2 as transformers names it, its head tied to its embedding and not among them."""
    width, head = size.llm_width, size.llm_width // size.llm_heads
    shapes: Shapes = {"model.embed_tokens.weight": (text_ids, width), "model.norm.weight": (width,)}
    for layer in range(size.llm_layers):
        prefix = f"model.layers.{layer}"
        for name, outputs in (("q", width), ("k", size.llm_kv_heads * head), ("v", size.llm_kv_heads * head)):
            shapes |= _linear(f"{prefix}.self_attn.{name}_proj", outputs, width)
        shapes[f"{prefix}.self_attn.o_proj.weight"] = (width, width)
        for name in ("gate_proj", "up_proj"):
            shapes[f"{prefix}.mlp.{name}.weight"] = (size.llm_hidden, width)
        shapes[f"{prefix}.mlp.down_proj.weight"] = (width, size.llm_hidden)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{prefix}.{name}.weight"] = (width,)
    return shapes


def llm_shapes(size: Size, text_ids: int) -> Shapes:
    """`llm.pt`: start and task are rows of the speech embedding, and the head has no bias."""
    shapes = {f"llm.model.{name}": shape for name, shape in qwen_shapes(size, text_ids).items()}
    shapes["llm.model.lm_head.weight"] = (text_ids, size.llm_width)
    return shapes | dict.fromkeys(("speech_embedding.weight", "llm_decoder.weight"), (SPEECH_IDS, size.llm_width))


def flow_shapes(size: Size) -> Shapes:
    """`flow.pt`."""
    width = size.flow_width
    estimator = "decoder.estimator"
    shapes: Shapes = {
        "input_embedding.weight": (SOUNDS, MEL_BINS),
        **_linear("spk_embed_affine_layer", MEL_BINS, SPEAKER),
        **_convolution("pre_lookahead_layer.conv1", width, MEL_BINS, LOOKAHEAD_TAPS),
        **_convolution("pre_lookahead_layer.conv2", MEL_BINS, width, 3),
        **_linear(f"{estimator}.time_embed.time_mlp.0", width, TIME_WAVES),
        **_linear(f"{estimator}.time_embed.time_mlp.2", width, width),
        **_linear(f"{estimator}.input_embed.proj", width, 4 * MEL_BINS),
        f"{estimator}.rotary_embed.inv_freq": (size.flow_head_width // 2,),
        **_linear(f"{estimator}.norm_out.linear", LAST_TIME_TERMS * width, width),
        **_linear(f"{estimator}.proj_out", MEL_BINS, width),
    }
    for which in (1, 2):
        name = f"{estimator}.input_embed.conv_pos_embed.conv{which}.0"
        shapes |= _convolution(name, width, width // CONV_GROUPS, CONV_TAPS)
    for block in range(size.flow_depth):
        shapes |= _flow_block(f"{estimator}.transformer_blocks.{block}", size)
    return shapes


def _flow_block(prefix: str, size: Size) -> Shapes:
    width, inner = size.flow_width, size.flow_heads * size.flow_head_width
    shapes = _linear(f"{prefix}.attn_norm.linear", TIME_TERMS * width, width)
    for name in ("to_q", "to_k", "to_v"):
        shapes |= _linear(f"{prefix}.attn.{name}", inner, width)
    shapes |= _linear(f"{prefix}.attn.to_out.0", width, inner)
    return shapes | _linear(f"{prefix}.ff.ff.0.0", 2 * width, width) | _linear(f"{prefix}.ff.ff.2", width, 2 * width)


def hift_shapes(size: Size) -> Shapes:
    """`hift.pt`: the names of CosyVoice2's, other shapes."""
    base = size.vocoder_channels
    widths = [base >> stage for stage in range(len(UPSAMPLING) + 1)]
    shapes: Shapes = {
        **_linear("m_source.l_linear", 1, HARMONICS),
        **_normed("conv_pre", base, MEL_BINS, 5),
        **_normed("conv_post", SPECTRUM, widths[-1], 7),
        **_linear("f0_predictor.classifier", 1, size.pitch_channels),
    }
    for layer, taps in enumerate(PITCH_TAPS):
        inputs = size.pitch_channels if layer else MEL_BINS
        shapes |= _normed(f"f0_predictor.condnet.{2 * layer}", size.pitch_channels, inputs, taps)
    for stage, (stride, taps) in enumerate(zip(SOURCE_STRIDES, UP_TAPS, strict=True)):
        width = widths[stage + 1]
        shapes |= _normed(f"ups.{stage}", width, widths[stage], taps)
        shapes |= _convolution(f"source_downs.{stage}", width, SPECTRUM, 2 * stride if stride > 1 else 1)
        shapes |= _residual(f"source_resblocks.{stage}", width, SOURCE_TAPS[stage])
        for branch, branch_taps in enumerate(BRANCH_TAPS):
            shapes |= _residual(f"resblocks.{len(BRANCH_TAPS) * stage + branch}", width, branch_taps)
    return shapes


def _residual(prefix: str, width: int, taps: int) -> Shapes:
    shapes: Shapes = {}
    for index in range(DILATIONS):
        for which in (1, 2):
            shapes |= _normed(f"{prefix}.convs{which}.{index}", width, width, taps)
            shapes[f"{prefix}.activations{which}.{index}.alpha"] = (width,)
    return shapes


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _convolution(name: str, outputs: int, inputs: int, taps: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, taps), f"{name}.bias": (outputs,)}


def _normed(name: str, outputs: int, inputs: int, taps: int) -> Shapes:
    """A convolution with weight norm, as torch's parametrizations name it: gain and direction."""
    weight = f"{name}.parametrizations.weight"
    return {
        f"{name}.bias": (outputs,),
        f"{weight}.original0": (outputs, 1, 1),
        f"{weight}.original1": (outputs, inputs, taps),
    }


def networks(size: Size, text_ids: int) -> Iterator[tuple[str, Shapes]]:
    """The name and the shapes of each network's file."""
    yield "llm", llm_shapes(size, text_ids)
    yield "flow", flow_shapes(size)
    yield "hift", hift_shapes(size)
