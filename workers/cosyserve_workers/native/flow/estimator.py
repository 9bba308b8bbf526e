"""The estimator: the velocity of the flow at one Euler step, for both guidance rows of many sequences.

After `CausalConditionalDecoder` of CosyVoice2: one level down, the middle ones, one up, each a residual block of causal
convolutions and some transformer blocks. Nothing is sampled down, and attention has no positions.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.flow.attention import Attention, Gathered
from cosyserve_workers.native.flow.layout import LEFT, Layout
from cosyserve_workers.native.flow.sizes import CONDITION_CHANNELS, MEL_BINS, FlowSizes
from cosyserve_workers.native.flow.weights import Norm, Weights
from cosyserve_workers.native.kernels.choice import AddNorm
from cosyserve_workers.native.linear import Linear

_KERNEL = LEFT + 1
_QKV = ("to_q", "to_k", "to_v")


class _Convolved(NamedTuple):
    """Causal convolution, layer norm, Mish."""

    convolution: Linear
    norm: Norm


class _Residual(NamedTuple):
    """A residual block: two convolutions, and a linear layer past them."""

    first: _Convolved
    second: _Convolved
    skip: Linear


class _Transformer(NamedTuple):
    attention_norm: Norm
    qkv: Linear
    out: Linear
    hidden_norm: Norm
    widen: Linear
    narrow: Linear


class _Input(NamedTuple):
    """The first level's convolution and skip, split by what they hear.

    The noisy mel is the same in both guidance rows; what the guided row hears besides is the same at each step, and the
    other row hears nothing else.
    """

    mel: Linear
    condition: Linear
    bias: Tensor
    norm: Norm
    skip_mel: Linear
    skip_condition: Linear
    skip_bias: Tensor


Heard = tuple[Tensor, ...]
"""What the input layers make of the conditions, [rows, frames, channels] each: here the convolution, and past it."""


class Batch(NamedTuple):
    """Whom a step is for."""

    layout: Layout
    """Of the sequences in frames."""
    places: Tensor
    """int64 [frames]: how far from their sequence's start; not every estimator asks."""
    heard: Heard
    attention: Attention

    def of_row(self, row: slice) -> "Batch":
        """The same for one guidance row."""
        # Guidance rows are parted on CPUs alone.
        assert isinstance(self.attention, Gathered)
        heard = tuple(part[row] for part in self.heard)
        return Batch(self.layout, self.places, heard, self.attention.of_row(row))


class Left(NamedTuple):
    """What the causal convolutions remember at one step."""

    mel: Tensor
    """[sequences, n, 80]: the input's."""
    others: Tensor
    """[rows, sequences, n, channels]: all others', in the order of their calls."""


class Estimator:
    """The estimator's weights, with all that depends on neither voice nor text worked out beforehand.

    Products between its ends are in the weights' dtype, the ends and all that is added to in `weights.outer_dtype`.
    times: the flow's time at each Euler step. add_norm: as `kernels.add_norm`.
    """

    def __init__(self, weights: Weights, sizes: FlowSizes, times: Tensor, add_norm: AddNorm) -> None:
        estimator = weights.under("decoder.estimator")
        self._sizes = sizes
        self._add_norm = add_norm
        self._dtype = weights.dtype
        width = sizes.channels
        names = ["down_blocks.0", *(f"mid_blocks.{index}" for index in range(sizes.mid_levels)), "up_blocks.0"]
        levels = [estimator.under(name) for name in names]
        self._input = _take_input(levels[0].under("0").outer(), width)
        self._second = _take_convolved(levels[0].under("0.block2"), width, width)
        # The level up hears the level down beside the one before it.
        inputs = [*[width] * sizes.mid_levels, 2 * width]
        self._residuals = [
            _take_residual(level.under("0"), width, channels)
            for level, channels in zip(levels[1:], inputs, strict=True)
        ]
        self._transformers = [
            [_take_transformer(level.under(f"1.{index}"), sizes) for index in range(sizes.blocks_per_level)]
            for level in levels
        ]
        self._down = levels[0].convolution("2", width, width, _KERNEL)
        self._up = levels[-1].convolution("2", width, width, _KERNEL)
        self._final = _take_convolved(estimator.under("final_block"), width, width)
        self._to_mel = estimator.outer().convolution("final_proj", MEL_BINS, width, 1)
        self.time_shifts = self._shifts(estimator, levels, sizes, times)
        """What each residual block adds at each step: [steps, levels, channels]."""

    def hear(self, condition: Tensor, left: Tensor, layout: Layout) -> tuple[Heard, Tensor]:
        """What the conditions do to the input layers, once for all steps.

        Args:
            condition: [frames, 240], the encoder's mel, the speaker and the prompt's mel.
            left: [sequences, 2, 240], the two frames before each sequence.
            layout: of the sequences in frames.

        Returns:
            It, and the new left.
        """
        windows, left = layout.windows(condition[None], left[None])
        guided = self._input.condition(windows[0])
        skipped = self._input.skip_condition(condition)
        nothing = self.hear_nothing(layout.total)
        heard = zip((guided, skipped), nothing, strict=True)
        return tuple(torch.cat([part[None], of_none]) for part, of_none in heard), left[0]

    def hear_nothing(self, frames: int) -> Heard:
        """The same of the row that hears nothing: [1, frames, channels] each."""
        return tuple(bias.expand(1, frames, -1) for bias in (self._input.bias, self._input.skip_bias))

    def velocity(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> tuple[Tensor, Left]:
        """The velocity at one Euler step.

        Args:
            shifts: the step's own of `time_shifts`.
            mel: [frames, 80], where the flow has come to.
            left: from the same step of the last solve.
            batch: the sequences.

        Returns:
            [2, frames, 80], guided row first, and the new left.
        """
        lefts = _Lefts(left.others, batch.layout)
        windows, mel_left = batch.layout.windows(mel[None], left.mel[None])
        convolved, skipped = batch.heard
        x = _norm_mish(self._input.mel(windows[0]) + convolved, self._input.norm)
        x = lefts.convolve_mish(x.add_(shifts[0]), self._second)
        x = x.add_(self._input.skip_mel(mel)).add_(skipped)
        down = self._transform(0, x, batch)
        x = lefts.convolve(down, self._down)
        for level, residual in enumerate(self._residuals, start=1):
            if level == self._sizes.levels - 1:
                x = torch.cat([x, down], dim=2)
            inner = lefts.convolve_mish(x, residual.first).add_(shifts[level])
            x = lefts.convolve_mish(inner, residual.second).add_(residual.skip(x.to(self._dtype)))
            x = self._transform(level, x, batch)
        x = lefts.convolve_mish(lefts.convolve(x, self._up), self._final)
        return self._to_mel(x), Left(mel_left[0], lefts.collected())

    def _transform(self, level: int, x: Tensor, batch: Batch) -> Tensor:
        """A level's transformer blocks, in place: [2, frames, channels]."""
        first = level * self._sizes.blocks_per_level
        more = None
        for layer, block in enumerate(self._transformers[level], start=first):
            if more is None:
                normed = _norm(x, block.attention_norm).to(self._dtype)
            else:
                normed = self._add_norm(x, more, *block.attention_norm)
            more = block.out(batch.attention(block.qkv(normed), layer))
            normed = self._add_norm(x, more, *block.hidden_norm)
            more = block.narrow(functional.gelu(block.widen(normed)))
        return x if more is None else x.add_(more)

    def _shifts(self, estimator: Weights, levels: Sequence[Weights], sizes: FlowSizes, times: Tensor) -> Tensor:
        half = (MEL_BINS + CONDITION_CHANNELS) // 2
        rates = torch.exp(torch.arange(half).float() * -(math.log(10000.0) / (half - 1)))
        angles = 1000 * times[:, None] * rates
        exact = estimator.exact()
        widen = exact.linear("time_mlp.linear_1", sizes.time_width, 2 * half)
        narrow = exact.linear("time_mlp.linear_2", sizes.time_width, sizes.time_width)
        embedded = torch.cat([angles.sin(), angles.cos()], dim=1).to(self._input.bias.device)
        embedded = functional.mish(narrow(functional.silu(widen(embedded))))
        layers = [level.exact().linear("0.mlp.1", sizes.channels, sizes.time_width) for level in levels]
        return torch.stack([layer(embedded) for layer in layers], dim=1).to(self._input.bias.dtype)


class _Lefts:
    """Hands each convolution what it remembers, in the order of their calls, and collects what it will."""

    def __init__(self, left: Tensor, layout: Layout) -> None:
        self._left = left
        self._layout = layout
        self._offset = 0
        self._new: list[Tensor] = []

    def convolve(self, x: Tensor, convolution: Linear) -> Tensor:
        channels = x.shape[2]
        left = self._left[..., self._offset : self._offset + channels]
        self._offset += channels
        windows, left = self._layout.windows(x.to(left.dtype), left)
        self._new.append(left)
        return convolution(windows).to(x.dtype)

    def convolve_mish(self, x: Tensor, convolved: _Convolved) -> Tensor:
        return _norm_mish(self.convolve(x, convolved.convolution), convolved.norm)

    def collected(self) -> Tensor:
        return torch.cat(self._new, dim=3)


def _norm(x: Tensor, norm: Norm) -> Tensor:
    return functional.layer_norm(x, (x.shape[2],), *norm)


def _norm_mish(x: Tensor, norm: Norm) -> Tensor:
    return functional.mish(_norm(x, norm))


def _take_convolved(weights: Weights, outputs: int, inputs: int) -> _Convolved:
    norm = weights.outer().norm("block.2", outputs)
    return _Convolved(weights.convolution("block.0", outputs, inputs, _KERNEL), norm)


def _take_input(weights: Weights, width: int) -> _Input:
    inputs = MEL_BINS + CONDITION_CHANNELS
    kernel = weights.take_kernel("block1.block.0", width, inputs, _KERNEL)
    bias = weights.take("block1.block.0.bias", width)
    skip = weights.take_kernel("res_conv", width, inputs, 1)
    skip_bias = weights.take("res_conv.bias", width)
    return _Input(
        mel=Linear(kernel[..., :MEL_BINS].flatten(1)),
        condition=Linear(kernel[..., MEL_BINS:].flatten(1), bias),
        bias=bias,
        norm=weights.norm("block1.block.2", width),
        skip_mel=Linear(skip[..., :MEL_BINS].flatten(1)),
        skip_condition=Linear(skip[..., MEL_BINS:].flatten(1), skip_bias),
        skip_bias=skip_bias,
    )


def _take_residual(weights: Weights, width: int, inputs: int) -> _Residual:
    return _Residual(
        first=_take_convolved(weights.under("block1"), width, inputs),
        second=_take_convolved(weights.under("block2"), width, width),
        skip=weights.convolution("res_conv", width, inputs, 1),
    )


def _take_transformer(weights: Weights, sizes: FlowSizes) -> _Transformer:
    width, inner = sizes.channels, sizes.heads * sizes.head_width
    outer = weights.outer()
    return _Transformer(
        attention_norm=outer.norm("norm1", width),
        qkv=Linear(torch.cat([weights.take(f"attn1.{name}.weight", inner, width) for name in _QKV])),
        out=weights.linear("attn1.to_out.0", width, inner),
        hidden_norm=outer.norm("norm3", width),
        widen=weights.linear("ff.net.0.proj", sizes.estimator_hidden, width),
        narrow=weights.linear("ff.net.2", width, sizes.estimator_hidden),
    )
