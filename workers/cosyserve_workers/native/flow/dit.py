"""CosyVoice3's estimator: the velocity of the flow at one Euler step, for both guidance rows of many sequences.

After upstream's DiT (F5-TTS, arXiv:2410.06885): two grouped convolutions that look back, then transformer blocks that
are told the time by shifts, scales and gates. There are ten times in all, so what they say is worked out at load, and
the layers that say it, two fifths of the weights, are not kept.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.flow.attention import seen_by_chunk
from cosyserve_workers.native.flow.dit_sizes import CONV_LEFT, CONV_TAPS, TIME_TERMS, DitSizes
from cosyserve_workers.native.flow.dit_state import Past
from cosyserve_workers.native.flow.sizes import CONDITION_CHANNELS, MEL_BINS
from cosyserve_workers.native.flow.weights import Weights
from cosyserve_workers.native.linear import Linear

_EPS = 1e-6
_LONGEST_WAVE = 10_000
_SCALES = (1, 4)
"""Which of a block's terms are scales, of 1 more than they say."""


class _Convolution(NamedTuple):
    """weight: [width, group width, 31]."""

    weight: Tensor
    bias: Tensor


class _Block(NamedTuple):
    qkv: Linear
    out: Linear
    widen: Linear
    narrow: Linear


class Near:
    """Where each sequence lies in a flat axis of frames, and in one where 30 that it remembers come before it."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        *starts, self.total = accumulate(lengths, initial=0)
        self.places = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
        self._whole = len(lengths) == 1
        remembered = CONV_LEFT * len(lengths)
        joined: list[int] = []
        own: list[int] = []
        last: list[int] = []
        for index, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            joined += range(CONV_LEFT * index, CONV_LEFT * (index + 1))
            joined += range(remembered + start, remembered + start + length)
            own += range(len(joined) - length - CONV_LEFT, len(joined) - CONV_LEFT)
            last += range(len(joined) - CONV_LEFT, len(joined))
        self._joined, self._own, self._last = (torch.tensor(places, device=device) for places in (joined, own, last))

    def convolve(self, frames: Tensor, left: Tensor, convolution: _Convolution) -> tuple[Tensor, Tensor]:
        """Convolve each sequence with what it remembers. Returns the result, and what it is to remember next.

        frames: [rows, total, channels]. left: [rows, sequences, 30, channels].
        """
        joined = torch.cat([left.flatten(1, 2), frames], dim=1)
        if not self._whole:
            joined = joined.index_select(1, self._joined)
        groups = frames.shape[2] // convolution.weight.shape[1]
        convolved = functional.conv1d(joined.transpose(1, 2), *convolution, groups=groups).transpose(1, 2)
        if not self._whole:
            convolved = convolved.index_select(1, self._own)
        return convolved, joined.index_select(1, self._last).view_as(left)


class DitBatch(NamedTuple):
    """Whom a step is for."""

    near: Near
    heard: Tensor
    """[2, frames, width] float32, of `Dit.hear`."""
    turns: tuple[Tensor, Tensor]
    """Cosines and sines, [frames, head width / 2] each, of `Dit.turns`."""
    pasts: Sequence[Past]
    """Of each sequence."""


class Dit:
    """The estimator's weights, with all that depends on neither voice nor text worked out beforehand.

    Products are in the weights' dtype; norms, gates and what they add to are float32. times: at each Euler step.
    """

    def __init__(self, weights: Weights, sizes: DitSizes, times: Tensor) -> None:
        estimator = weights.under("decoder.estimator")
        exact = estimator.exact()
        self._sizes = sizes
        self._dtype = weights.dtype
        self._rates = exact.take("rotary_embed.inv_freq", sizes.head_width // 2)
        entry = estimator.take("input_embed.proj.weight", sizes.width, MEL_BINS + CONDITION_CHANNELS)
        self._entry_bias = estimator.take("input_embed.proj.bias", sizes.width)
        self._mel = Linear(entry[:, :MEL_BINS].contiguous())
        self._condition = Linear(entry[:, MEL_BINS:].contiguous(), self._entry_bias)
        self._near = [
            self._take_convolution(estimator, f"input_embed.conv_pos_embed.conv{which}.0") for which in (1, 2)
        ]
        self._blocks = [self._take_block(estimator.under(f"transformer_blocks.{i}")) for i in range(sizes.depth)]
        moments = self._moments(exact, times.to(self._rates))
        self._terms = torch.stack(
            [
                self._time_terms(exact.under(f"transformer_blocks.{i}.attn_norm"), moments, TIME_TERMS, _SCALES)
                for i in range(sizes.depth)
            ],
            dim=1,
        )
        """[steps, layers, 6, width]."""
        self._last_terms = self._time_terms(exact.under("norm_out"), moments, 2, (0,))
        self._to_mel = estimator.linear("proj_out", MEL_BINS, sizes.width)

    def hear(self, condition: Tensor) -> Tensor:
        """What the conditions do to the input, once for all steps: [2, frames, width] float32, guided row first.

        condition: [frames, 240], the prompt's mel, the tokens' mel and the speaker.
        """
        return torch.stack([self._condition(condition), self._entry_bias.expand(len(condition), -1)]).float()

    def turns(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of how far each frame's place, [frames] from the prompt's start, turns keys and queries."""
        angles = places.float()[:, None] * self._rates
        return angles.cos(), angles.sin()

    def velocity(self, step: int, mel: Tensor, left: Tensor, batch: DitBatch) -> tuple[Tensor, Tensor]:
        """The velocity at one Euler step.

        Args:
            step: which.
            mel: [frames, 80] float32, where the flow has come to.
            left: [2, rows, sequences, 30, width]: what the convolutions remember from this step of the last solve.
            batch: the sequences.

        Returns:
            [2, frames, 80] float32, guided row first, and the new left.
        """
        x = batch.heard + self._mel(mel.to(self._dtype)).float()
        near, lefts = x.to(self._dtype), []
        for convolution, remembered in zip(self._near, left, strict=True):
            near, kept = batch.near.convolve(near, remembered, convolution)
            near = functional.mish(near)
            lefts.append(kept)
        x = x + near.float()
        for layer, block in enumerate(self._blocks):
            shift, scale, gate, late_shift, late_scale, late_gate = self._terms[step, layer]
            heard = self._attend(block.qkv(self._normed(x, scale, shift)), step, layer, batch)
            x = torch.addcmul(x, gate, block.out(heard).float())
            inner = functional.gelu(block.widen(self._normed(x, late_scale, late_shift)), approximate="tanh")
            x = torch.addcmul(x, late_gate, block.narrow(inner).float())
        scale, shift = self._last_terms[step]
        return self._to_mel(self._normed(x, scale, shift)).float(), torch.stack(lefts)

    def _normed(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return functional.layer_norm(x, (self._sizes.width,), scale, shift, _EPS).to(self._dtype)

    def _attend(self, qkv: Tensor, step: int, layer: int, batch: DitBatch) -> Tensor:
        """Self-attention of each sequence over its past and itself: [2, frames, inner channels]."""
        shape = (qkv.shape[0], batch.near.total, 3, self._sizes.heads, self._sizes.head_width)
        heads = qkv.view(shape).permute(2, 0, 3, 1, 4)
        # Upstream turns before it cuts heads, so that the first head alone knows places.
        first = heads[:2, :, 0]
        first.copy_(_turned(first.float(), *batch.turns))
        results = []
        for place, past in zip(batch.near.places, batch.pasts, strict=True):
            keys, values = past.extend(step, layer, heads[1:, :, :, place])
            results += _attend_by_chunk(heads[0, :, :, place], keys, values)
        return results[0] if len(results) == 1 else torch.cat(results, dim=1)

    def _take_convolution(self, estimator: Weights, name: str) -> _Convolution:
        width = self._sizes.width
        weight = estimator.take(f"{name}.weight", width, self._sizes.group_width, CONV_TAPS)
        return _Convolution(weight, estimator.take(f"{name}.bias", width))

    def _take_block(self, weights: Weights) -> _Block:
        sizes = self._sizes
        matrices = [weights.take(f"attn.to_{which}.weight", sizes.inner, sizes.width) for which in "qkv"]
        biases = [weights.take(f"attn.to_{which}.bias", sizes.inner) for which in "qkv"]
        order = self._order().to(matrices[0].device)
        for tensors in (matrices, biases):
            tensors[:2] = [tensor[order] for tensor in tensors[:2]]
        return _Block(
            qkv=Linear(torch.cat(matrices), torch.cat(biases)),
            out=weights.linear("attn.to_out.0", sizes.width, sizes.inner),
            widen=weights.linear("ff.ff.0.0", sizes.hidden, sizes.width),
            narrow=weights.linear("ff.ff.2", sizes.width, sizes.hidden),
        )

    def _order(self) -> Tensor:
        """Channels of queries and keys, those of the first head so that the pairs that turn lie half a head apart.

        There they are neighbours; products of queries and keys are the same in any order.
        """
        first = torch.arange(self._sizes.head_width).view(-1, 2).t().flatten()
        return torch.cat([first, torch.arange(self._sizes.head_width, self._sizes.inner)])

    def _moments(self, exact: Weights, times: Tensor) -> Tensor:
        """What each time is to the blocks: [steps, width] float32."""
        width, waves = self._sizes.width, self._sizes.time_waves
        half = waves // 2
        rates = torch.exp(torch.arange(half, device=times.device) * -(math.log(_LONGEST_WAVE) / (half - 1)))
        angles = 1000 * times[:, None] * rates
        widen = exact.linear("time_embed.time_mlp.0", width, waves)
        narrow = exact.linear("time_embed.time_mlp.2", width, width)
        return functional.silu(narrow(functional.silu(widen(torch.cat([angles.sin(), angles.cos()], dim=1)))))

    def _time_terms(self, exact: Weights, moments: Tensor, count: int, scales: tuple[int, ...]) -> Tensor:
        """[steps, count, width], to the scales among which 1 is added: a norm then takes them as its own."""
        terms = exact.linear("linear", count * self._sizes.width, self._sizes.width)(moments)
        terms = terms.unflatten(1, (count, -1))
        terms[:, scales] += 1
        return terms


def _turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """[..., frames, head width]: turn channels that lie half a head apart."""
    one, other = x.chunk(2, dim=-1)
    return torch.cat([one * cosines - other * sines, other * cosines + one * sines], dim=-1)


def _attend_by_chunk(queries: Tensor, keys: Tensor, values: Tensor) -> list[Tensor]:
    """Attention chunk by chunk, [2, n, channels] each; the queries are the last of the keys.

    All are [2, heads, frames, head width]. A chunk sees itself and all before it: nothing need be masked.
    """
    results = []
    for chunk, seen in seen_by_chunk(queries.shape[2], keys.shape[2]):
        heard = functional.scaled_dot_product_attention(queries[:, :, chunk], keys[:, :, :seen], values[:, :, :seen])
        results.append(heard.transpose(1, 2).flatten(2))
    return results
