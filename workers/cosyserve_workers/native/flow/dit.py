"""CosyVoice3's estimator: the velocity of the flow at one Euler step, for both guidance rows of many sequences.

After upstream's DiT (F5-TTS, arXiv:2410.06885): two grouped convolutions that look back, then transformer blocks that
are told the time by shifts, scales and gates. There are ten times in all, so what they say is worked out at load, and
the layers that say it, two fifths of the weights, are not kept.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.flow.dit_sizes import CONV_TAPS, TIME_TERMS, DitSizes
from cosyserve_workers.native.flow.estimator import Batch, Heard, Left
from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.sizes import CONDITION_CHANNELS, MEL_BINS
from cosyserve_workers.native.flow.weights import Weights
from cosyserve_workers.native.kernels.add_norm import GATED_EPS
from cosyserve_workers.native.kernels.choice import Kernels
from cosyserve_workers.native.linear import Linear

_LONGEST_WAVE = 10_000
_SHIFT, _SCALE, _GATE, _LATE_SHIFT, _LATE_SCALE, _LATE_GATE = range(TIME_TERMS)
_LAST_SCALE, _LAST_SHIFT = range(2)


@dataclass(frozen=True)
class _Convolution:
    """weight: [width, group width, 31]."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve and Mish, [b, 30 + m, width] to [b, m, width]."""
        groups = x.shape[2] // self.weight.shape[1]
        convolved = functional.conv1d(x.transpose(1, 2), self.weight, self.bias, groups=groups)
        return functional.mish(convolved).transpose(1, 2).contiguous()


class _Block(NamedTuple):
    qkv: Linear
    out: Linear
    widen: Linear
    narrow: Linear


class Dit:
    """As `Estimator`, with all that depends on neither voice nor text worked out beforehand.

    Products between its ends are in the weights' dtype, the ends in `weights.outer_dtype`; norms, gates and what they
    add to are float32. times: at each Euler step.
    """

    def __init__(self, weights: Weights, sizes: DitSizes, times: Tensor, kernels: Kernels) -> None:
        estimator = weights.under("decoder.estimator")
        exact = estimator.exact()
        self._sizes = sizes
        self._kernels = kernels
        self._dtype = weights.dtype
        self._rates = exact.take("rotary_embed.inv_freq", sizes.head_width // 2)
        outer = estimator.outer()
        entry = outer.take("input_embed.proj.weight", sizes.channels, MEL_BINS + CONDITION_CHANNELS)
        self._entry_bias = outer.take("input_embed.proj.bias", sizes.channels)
        mel, prompt, mean, speaker = entry.split(MEL_BINS, dim=1)
        self._mel = Linear(mel.contiguous())
        self._condition = Linear(torch.cat([mean, speaker, prompt], dim=1), self._entry_bias)
        self._near = [
            self._take_convolution(estimator, f"input_embed.conv_pos_embed.conv{which}.0") for which in (1, 2)
        ]
        layers = range(sizes.estimator_layers)
        self._blocks = [self._take_block(estimator.under(f"transformer_blocks.{layer}")) for layer in layers]
        moments = self._moments(exact, times.to(self._rates))
        self.time_shifts = _in_order(
            [
                self._time_terms(exact.under(f"transformer_blocks.{layer}.attn_norm"), moments, TIME_TERMS)
                for layer in layers
            ],
            self._time_terms(exact.under("norm_out"), moments, 2),
        )
        """What the time says at each step: [steps, 6 * layers + 2, width] float32.

        First a scale and a shift of the first norm; then, of what each half of a block adds, its gate, and scale and
        shift of the norm that follows.
        """
        self._to_mel = outer.linear("proj_out", MEL_BINS, sizes.channels)

    def hear(self, condition: Tensor, left: Tensor, layout: Layout) -> tuple[Heard, Tensor]:
        """As `Estimator.hear`: [2, frames, width] float32. Nothing looks back."""
        guided = self._condition(condition).float()
        (nothing,) = self.hear_nothing(layout.total)
        return (torch.cat([guided[None], nothing]),), left

    def hear_nothing(self, frames: int) -> Heard:
        """As `Estimator.hear_nothing`."""
        return (self._entry_bias.float().expand(1, frames, -1),)

    def velocity(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> tuple[Tensor, Left]:
        """As `Estimator.velocity`."""
        (heard,) = batch.heard
        x = heard + self._mel(mel)
        near, lefts = x.to(self._dtype), []
        for convolution, remembered in zip(self._near, left.others.chunk(2, dim=3), strict=True):
            near, kept = batch.layout.convolve(near, remembered, convolution)
            lefts.append(kept)
        # In place from here on: what was heard is not ours.
        x = x + near
        x = self._transform(x, shifts, batch)
        return self._to_mel(x.to(mel.dtype)), Left(left.mel, torch.cat(lefts, dim=3))

    def _transform(self, x: Tensor, shifts: Tensor, batch: Batch) -> Tensor:
        """All blocks and the norm after them: [rows, frames, width] float32 to the weights' dtype."""
        angles = batch.places.float()[:, None] * self._rates
        turns = angles.cos(), angles.sin()
        scale, shift, *rest = shifts.unbind(0)
        normed = functional.layer_norm(x, scale.shape, scale, shift, GATED_EPS).to(self._dtype)
        halves = zip(*[iter(rest)] * 3, strict=True)
        for layer, block in enumerate(self._blocks):
            qkv = self._kernels.turn(block.qkv(normed), *turns, self._sizes.heads)
            normed = self._kernels.add_gated_norm(x, block.out(batch.attention(qkv, layer)), *next(halves))
            inner = functional.gelu(block.widen(normed), approximate="tanh")
            normed = self._kernels.add_gated_norm(x, block.narrow(inner), *next(halves))
        return normed

    def _take_convolution(self, estimator: Weights, name: str) -> _Convolution:
        width = self._sizes.channels
        weight = estimator.take(f"{name}.weight", width, self._sizes.group_width, CONV_TAPS)
        return _Convolution(weight, estimator.take(f"{name}.bias", width))

    def _take_block(self, weights: Weights) -> _Block:
        sizes = self._sizes
        width, inner = sizes.channels, sizes.inner
        matrices = [weights.take(f"attn.to_{which}.weight", inner, width) for which in "qkv"]
        biases = [weights.take(f"attn.to_{which}.bias", inner) for which in "qkv"]
        order = self._order().to(matrices[0].device)
        for tensors in (matrices, biases):
            tensors[:2] = [tensor[order] for tensor in tensors[:2]]
        return _Block(
            qkv=Linear(torch.cat(matrices), torch.cat(biases)),
            out=weights.linear("attn.to_out.0", width, inner),
            widen=weights.linear("ff.ff.0.0", sizes.hidden, width),
            narrow=weights.linear("ff.ff.2", width, sizes.hidden),
        )

    def _order(self) -> Tensor:
        """Channels of queries and keys, those of the first head so that the pairs that turn lie half a head apart.

        There they are neighbours; products of queries and keys are the same in any order.
        """
        first = torch.arange(self._sizes.head_width).view(-1, 2).t().flatten()
        return torch.cat([first, torch.arange(self._sizes.head_width, self._sizes.inner)])

    def _moments(self, exact: Weights, times: Tensor) -> Tensor:
        """What each time is to the blocks: [steps, width] float32."""
        width, waves = self._sizes.channels, self._sizes.time_waves
        half = waves // 2
        rates = torch.exp(torch.arange(half, device=times.device) * -(math.log(_LONGEST_WAVE) / (half - 1)))
        angles = 1000 * times[:, None] * rates
        widen = exact.linear("time_embed.time_mlp.0", width, waves)
        narrow = exact.linear("time_embed.time_mlp.2", width, width)
        return functional.silu(narrow(functional.silu(widen(torch.cat([angles.sin(), angles.cos()], dim=1)))))

    def _time_terms(self, exact: Weights, moments: Tensor, count: int) -> list[Tensor]:
        """So many terms, [steps, width] each."""
        width = self._sizes.channels
        return list(exact.linear("linear", count * width, width)(moments).unflatten(1, (count, width)).unbind(1))


def _in_order(blocks: list[list[Tensor]], last: list[Tensor]) -> Tensor:
    """As `Dit.time_shifts`: 1 is added to scales, so that a norm takes them as its own."""
    norms = [
        (terms[scale] + 1, terms[shift])
        for terms in blocks
        for scale, shift in ((_SCALE, _SHIFT), (_LATE_SCALE, _LATE_SHIFT))
    ]
    norms.append((last[_LAST_SCALE] + 1, last[_LAST_SHIFT]))
    gates = [terms[gate] for terms in blocks for gate in (_GATE, _LATE_GATE)]
    first, *following = norms
    ordered = [*first, *(term for gate, norm in zip(gates, following, strict=True) for term in (gate, *norm))]
    # A copy of its own: the layers that made it are not kept.
    return torch.stack(ordered, dim=1)
