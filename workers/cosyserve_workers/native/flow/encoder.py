"""The encoder: speech tokens to the mean mel that the estimator starts from.

After `UpsampleConformerEncoder` of CosyVoice2: a look-ahead of three tokens, conformer layers at 25 Hz, doubling, more
layers at 50 Hz. Attention has relative positions (Transformer-XL, arXiv 1901.02860) and sees its own chunk and all
before it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.lookahead import LookAhead
from cosyserve_workers.native.flow.memory import KeysValues
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    FRAMES_PER_TOKEN,
    MEL_BINS,
    FlowSizes,
)
from cosyserve_workers.native.flow.weights import Norm, Weights
from cosyserve_workers.native.kernels.choice import Attend
from cosyserve_workers.native.kernels.paged import Pages
from cosyserve_workers.native.linear import Linear

_EMBEDDING_NORM_EPS = 1e-5
_LAYER_NORM_EPS = 1e-12
_UPSAMPLING_TAPS = 5
_QKV = ("linear_q", "linear_k", "linear_v")
_FIRST_POSITIONS = 1024
"""Tokens for which relative positions are made at first; more are made when a sequence needs them."""


class EncoderLeft(NamedTuple):
    """What the encoder's two causal convolutions remember, each [sequences, 2, width]."""

    lookahead: Tensor
    upsampling: Tensor


class RowsBehind(NamedTuple):
    """What is behind sequences that are rows of a chunk, and who attends to it where it lies."""

    attend: Attend
    pages: Pages


Behind = Sequence[KeysValues] | RowsBehind


class RelativeAttention:
    """Self-attention whose scores add, to query times key, a term for the distance between the two."""

    def __init__(self, weights: Weights, sizes: FlowSizes, chunk: int) -> None:
        width, heads, head_width = sizes.width, sizes.encoder_heads, sizes.encoder_head_width
        self._qkv = Linear(
            torch.cat([weights.take(f"{name}.weight", width, width) for name in _QKV]),
            torch.cat([weights.take(f"{name}.bias", width) for name in _QKV]),
        )
        self._out = weights.linear("linear_out", width, width)
        self._position = weights.exact().take("linear_pos.weight", width, width)
        self._content_bias = weights.take("pos_bias_u", heads, head_width)[:, None]
        self._distance_bias = weights.take("pos_bias_v", heads, head_width)[:, None]
        self._heads = heads
        self._scale = head_width**-0.5
        self._chunk = chunk
        self._distances = self._content_bias.new_empty(heads, head_width, 0)

    def prepare(self, positions: Tensor) -> None:
        """Project the positions made by `_positions`, float32 [distances, width]."""
        projected = functional.linear(positions, self._scale * self._position).view(len(positions), self._heads, -1)
        self._distances = projected.permute(1, 2, 0).to(self._distances.dtype).contiguous()

    def __call__(self, x: Tensor, layout: Layout, layer: int, behind: Behind) -> Tensor:
        """[total, width] to the same, each sequence over what it remembers and itself."""
        qkv = self._qkv(x).view(layout.total, 3, -1)
        if isinstance(behind, RowsBehind):
            return self._out(self._attend_in_rows(qkv, layer, behind))
        heard = []
        for place, memory in zip(layout.places, behind, strict=True):
            gathered = memory.extend(layer, qkv[None, place, 1:])
            heard += self._attend(*(self._by_head(part) for part in (qkv[place, 0], *gathered)))
        return self._out(torch.cat(heard))

    def _attend_in_rows(self, qkv: Tensor, layer: int, behind: RowsBehind) -> Tensor:
        """All in one launch; the terms of all distances are worked out, how many ever are asked for. [total, width]."""
        query = qkv[:, 0].unflatten(1, (self._heads, -1))
        by_distance = torch.bmm((query + self._distance_bias[:, 0]).transpose(0, 1), self._distances)
        query += self._content_bias[:, 0]
        return behind.attend(qkv.flatten(1)[None], behind.pages, layer, self._heads, by_distance)[0]

    def _by_head(self, x: Tensor) -> Tensor:
        """[..., frames, width] to [heads, frames, head width]."""
        return x.view(-1, self._heads, x.shape[-1] // self._heads).transpose(0, 1)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> list[Tensor]:
        """Chunk by chunk [n, width], the queries being the last of the keys. All are [heads, frames, head width]."""
        heads, frames, _ = queries.shape
        before = keys.shape[1] - frames
        zero_distance = self._distances.shape[2] - self._chunk
        results = []
        for start in range(0, frames, self._chunk):
            query = queries[:, start : start + self._chunk]
            count = query.shape[1]
            seen = before + start + count
            span = seen + count - 1
            first = zero_distance - (seen - 1)
            by_distance = torch.bmm(query + self._distance_bias, self._distances[:, :, first : first + span])
            # Row i of `by_distance` counts from the distance of the last query to the first key: key j of query i lies
            # `count - 1 - i` further on. Read with a row one shorter, the table is the matrix of scores.
            shifted = by_distance.as_strided((heads, count, seen), (count * span, span - 1, 1), count - 1)
            scores = torch.baddbmm(
                shifted,
                query + self._content_bias,
                keys[:, :seen].transpose(1, 2),
                beta=1,
                alpha=self._scale,
            )
            heard = torch.bmm(torch.softmax(scores, dim=-1), values[:, :seen])
            results.append(heard.transpose(0, 1).reshape(count, -1))
        return results


class _Layer(NamedTuple):
    attention_norm: Norm
    attention: RelativeAttention
    hidden_norm: Norm
    widen: Linear
    narrow: Linear

    @classmethod
    def take(cls, weights: Weights, sizes: FlowSizes, chunk: int) -> "_Layer":
        return cls(
            attention_norm=weights.norm("norm_mha", sizes.width),
            attention=RelativeAttention(weights.under("self_attn"), sizes, chunk),
            hidden_norm=weights.norm("norm_ff", sizes.width),
            widen=weights.linear("feed_forward.w_1", sizes.encoder_hidden, sizes.width),
            narrow=weights.linear("feed_forward.w_2", sizes.width, sizes.encoder_hidden),
        )


class Encoder:
    """The encoder's weights and one pass over a batch of sequences."""

    def __init__(self, weights: Weights, sizes: FlowSizes) -> None:
        encoder = weights.under("encoder")
        self._width = sizes.width
        self.absent = sizes.vocabulary
        """The id that stands for a look-ahead past the end: the library pads with zeros there."""
        self._embedded = self._embed_all(weights, encoder, sizes)
        self._look_ahead = LookAhead(encoder.under("pre_lookahead_layer"), sizes.width, sizes.width)
        self._layers = [
            _Layer.take(encoder.under(f"encoders.{index}"), sizes, CHUNK_TOKENS)
            for index in range(sizes.encoder_layers)
        ]
        self._upsampling = _doubling(encoder, sizes.width)
        self._upsampled_in = encoder.linear("up_embed.out.0", sizes.width, sizes.width)
        self._upsampled_norm = encoder.norm("up_embed.out.1", sizes.width)
        self._upsampled_layers = [
            _Layer.take(encoder.under(f"up_encoders.{index}"), sizes, CHUNK_FRAMES)
            for index in range(sizes.upsampled_layers)
        ]
        self._last_norm = encoder.norm("after_norm", sizes.width)
        self._to_mel = weights.linear("encoder_proj", MEL_BINS, sizes.width)
        self._reach = 0
        self.reserve(_FIRST_POSITIONS)

    def reserve(self, tokens: int) -> None:
        """Make relative positions for sequences of that many tokens, if there are not enough."""
        if tokens <= self._reach:
            return
        self._reach = max(tokens, 2 * self._reach)
        for layers, chunk, rate in (
            (self._layers, CHUNK_TOKENS, 1),
            (self._upsampled_layers, CHUNK_FRAMES, FRAMES_PER_TOKEN),
        ):
            positions = _positions(self._reach * rate, chunk, self._width).to(self._embedded.device)
            for layer in layers:
                layer.attention.prepare(positions)

    def __call__(
        self,
        tokens: Tensor,
        layouts: tuple[Layout, Layout],
        left: EncoderLeft,
        behind: tuple[Behind, Behind],
    ) -> tuple[Tensor, EncoderLeft]:
        """Encode whole chunks, or chunks and a tail, of each sequence.

        Args:
            tokens: int64 [sum of (length + 3)]: each sequence's tokens and the three after them, `absent` past the end.
            layouts: of the sequences in tokens and in frames.
            left: what the convolutions remember, each [sequences, 2, width].
            behind: keys and values of each sequence, at the tokens' rate and at the frames'.

        Returns:
            The mean mel [frames, 80] and the new left.
        """
        by_token, by_frame = layouts
        x, lookahead_left = self._look_ahead(functional.embedding(tokens, self._embedded), by_token, left.lookahead)
        for index, layer in enumerate(self._layers):
            x = _pass(layer, x, by_token, index, behind[0])
        windows, upsampling_left = by_token.windows(x[None], left.upsampling[None])
        x = self._upsampling(windows[0]).view(by_frame.total, self._width)
        x = _scaled_norm(self._upsampled_in(x), self._upsampled_norm)
        for index, layer in enumerate(self._upsampled_layers):
            x = _pass(layer, x, by_frame, index, behind[1])
        x = functional.layer_norm(x, (self._width,), *self._last_norm, _EMBEDDING_NORM_EPS)
        return self._to_mel(x), EncoderLeft(lookahead_left, upsampling_left[0])

    @staticmethod
    def _embed_all(weights: Weights, encoder: Weights, sizes: FlowSizes) -> Tensor:
        """The embedding layers' output for each token, and zeros for `absent`: [vocabulary + 1, width].

        They look at one token at a time, so a table of their results takes their place.
        """
        rows = weights.exact().take("input_embedding.weight", sizes.vocabulary, sizes.width)
        rows = encoder.exact().linear("embed.out.0", sizes.width, sizes.width)(rows)
        rows = _scaled_norm(rows, encoder.exact().norm("embed.out.1", sizes.width))
        return torch.cat([rows, rows.new_zeros(1, sizes.width)]).to(weights.dtype)


def _pass(layer: _Layer, x: Tensor, layout: Layout, index: int, behind: Behind) -> Tensor:
    """One conformer layer, of attention and feed-forward only: [total, width]."""
    width = (x.shape[1],)
    normed = functional.layer_norm(x, width, *layer.attention_norm, _LAYER_NORM_EPS)
    x = x + layer.attention(normed, layout, index, behind)
    normed = functional.layer_norm(x, width, *layer.hidden_norm, _LAYER_NORM_EPS)
    return x + layer.narrow(functional.silu(layer.widen(normed)))


def _scaled_norm(x: Tensor, norm: Norm) -> Tensor:
    """The end of both embedding layers: [n, width]."""
    width = x.shape[1]
    return functional.layer_norm(x, (width,), *norm, _EMBEDDING_NORM_EPS) * math.sqrt(width)


def _doubling(encoder: Weights, width: int) -> Linear:
    """The up-sampling as one linear layer from three tokens to two frames: [2 * width, 3 * width].

    The library repeats each token and convolves five frames wide, with four before: two of those five frames are always
    of one token, so their taps add up.
    """
    taps = encoder.exact().take("up_layer.conv.weight", width, width, _UPSAMPLING_TAPS).unbind(2)
    bias = encoder.take("up_layer.conv.bias", width)
    even = torch.cat([taps[0] + taps[1], taps[2] + taps[3], taps[4]], dim=1)
    odd = torch.cat([taps[0], taps[1] + taps[2], taps[3] + taps[4]], dim=1)
    return Linear(torch.cat([even, odd]).to(bias.dtype), torch.cat([bias, bias]))


def _positions(reach: int, chunk: int, width: int) -> Tensor:
    """Sines and cosines of the distances from `reach - 1` down to `1 - chunk`, as ESPnet makes them: [.., width]."""
    distances = torch.arange(reach - 1, -chunk, -1, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(math.log(10000.0) / width))
    angles = distances * rates
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=2).flatten(1)
