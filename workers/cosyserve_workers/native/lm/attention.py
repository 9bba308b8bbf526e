"""Keys and values of many streams, and attention over them: one token of each stream, or pieces of their prompts."""

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class KeysAndValues(NamedTuple):
    """Of some positions in a row, all layers: [layers, kv_heads, positions, head_dim] each."""

    keys: Tensor
    values: Tensor

    @property
    def positions(self) -> int:
        """How many."""
        return self.keys.shape[2]

    @property
    def nbytes(self) -> int:
        """Memory of both."""
        return self.keys.nbytes + self.values.nbytes


class KeyValueCache:
    """What the language model remembers: a slot for each stream.

    keys, values: [layers, slots, kv_heads, max_tokens, head_dim]. A position is written before it is read; what lies
    beyond a stream's length is masked, but must be finite, because a weight of nought times infinity is not nought.
    """

    def __init__(self, shape: tuple[int, int, int, int, int], device: torch.device, dtype: torch.dtype) -> None:
        self.keys = _zeros(shape, device, dtype)
        self.values = _zeros(shape, device, dtype)

    def first(self, slot: int, count: int) -> KeysAndValues:
        """Copy a slot's first positions."""
        return KeysAndValues(*(tensor[:, slot, :, :count].clone() for tensor in (self.keys, self.values)))

    def put_first(self, slot: int, given: KeysAndValues) -> None:
        """Put these into a slot's first positions."""
        self.keys[:, slot, :, : given.positions] = given.keys
        self.values[:, slot, :, : given.positions] = given.values


def _zeros(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Zeros; on a CPU those that nobody has written to take no memory, and most streams fill a tenth of their slot."""
    if device.type != "cpu":
        return torch.zeros(shape, device=device, dtype=dtype)
    pages = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=dtype).view(shape)


@dataclass(frozen=True)
class Turns:
    """Rotary positions (RoPE) of some rows.

    cos, sin: [N, 1, head_dim]; `sin` carries the signs. heads, kv_heads: how many of each a row has.
    """

    cos: Tensor
    sin: Tensor
    heads: int
    kv_heads: int

    def split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, (heads + 2 kv_heads) * d] as turned queries [N, heads, d], turned keys and plain values [N, kv_heads, d].

        As Qwen2 has it, (a, b) -> (a cos - b sin, b cos + a sin) of the halves a, b.
        """
        width = self.cos.shape[-1]
        rows = projected.view(len(projected), -1, width)
        turned = rows[:, : self.heads + self.kv_heads]
        turned = torch.addcmul(turned * self.cos, turned.roll(width // 2, dims=-1), self.sin)
        return turned[:, : self.heads], turned[:, self.heads :], rows[:, self.heads + self.kv_heads :]


class Attention(Protocol):
    """One layer after another, of rows that belong to streams in the cache."""

    def __call__(self, layer: int, projected: Tensor) -> Tensor:
        """Remember keys and values, then attend.

        projected: [N, (heads + 2 kv_heads) * d], queries, keys and values side by side. Returns [N, heads * d].
        """


class RowAttention:
    """One row for each of N places, whichever streams they are of. Shapes depend on N and `span` alone.

    slots: [N] int64; the cache's first N, in order, if None: their keys and values are then read where they lie.
    positions: [N] int64, where the rows go. span: how many positions are looked at, more than any of those. Rows of
    one stream see each other up to themselves. This is the plain twin of `kernels.RowAttention`.
    """

    def __init__(self, cache: KeyValueCache, turns: Turns, slots: Tensor | None, positions: Tensor, span: int) -> None:
        self._cache = cache
        self._turns = turns
        self._gathered = slots
        self._rows = torch.arange(len(positions), device=positions.device) if slots is None else slots
        self._positions = positions
        self._span = span
        unseen = torch.arange(span, device=positions.device) > positions[:, None]
        self._mask = _minus_infinity(unseen, cache.keys.dtype)[:, None, None, :]

    def __call__(self, layer: int, projected: Tensor) -> Tensor:
        """As `Attention`."""
        query, key, value = self._turns.split(projected)
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        keys[self._rows, :, self._positions] = key
        values[self._rows, :, self._positions] = value
        batch, kv_heads, width = key.shape
        # The heads that share keys are given as so many queries: nothing is repeated.
        grouped = query.reshape(batch, kv_heads, -1, width)
        keys, values = self._seen(keys), self._seen(values)
        return scaled_dot_product_attention(grouped, keys, values, attn_mask=self._mask).reshape(batch, -1)

    def _seen(self, tensor: Tensor) -> Tensor:
        tensor = tensor[:, :, : self._span]
        return tensor[: len(self._rows)] if self._gathered is None else tensor.index_select(0, self._gathered)


@dataclass(frozen=True)
class Piece:
    """`count` tokens in a row of the stream in `slot`, the first at position `start`."""

    slot: int
    start: int
    count: int

    @property
    def end(self) -> int:
        """The position after its last."""
        return self.start + self.count


class PieceAttention:
    """Pieces of any lengths, packed one after another without padding; each sees its own stream, up to itself."""

    def __init__(self, cache: KeyValueCache, turns: Turns, pieces: Sequence[Piece]) -> None:
        self._cache = cache
        self._turns = turns
        self._pieces = pieces
        self._group = turns.heads // turns.kv_heads
        self._masks = [self._mask(piece) for piece in pieces]

    def _mask(self, piece: Piece) -> Tensor | None:
        """Of the heads that share keys, one after the other: [group * count, end]."""
        if piece.count == 1:
            return None
        device, dtype = self._cache.keys.device, self._cache.keys.dtype
        unseen = torch.ones(piece.count, piece.end, dtype=torch.bool, device=device).triu(piece.start + 1)
        return _minus_infinity(unseen, dtype).repeat(self._group, 1)

    def __call__(self, layer: int, projected: Tensor) -> Tensor:
        """As `Attention`."""
        query, key, value = self._turns.split(projected)
        attended = []
        row = 0
        for piece, mask in zip(self._pieces, self._masks, strict=True):
            rows = slice(row, row + piece.count)
            row += piece.count
            keys = self._cache.keys[layer, piece.slot, :, : piece.end]
            values = self._cache.values[layer, piece.slot, :, : piece.end]
            keys[:, piece.start :] = key[rows].transpose(0, 1)
            values[:, piece.start :] = value[rows].transpose(0, 1)
            attended.append(self._attend(query[rows], keys, values, mask))
        return torch.cat(attended)

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Within one stream, the heads that share keys as more queries: nothing is repeated but the mask.

        query: [T, heads, d]; keys, values: [kv_heads, n, d]. Returns [T, heads * d].
        """
        count, _, width = query.shape
        kv_heads = keys.shape[0]
        grouped = query.view(count, kv_heads, self._group, width).permute(1, 2, 0, 3).reshape(1, kv_heads, -1, width)
        attended = scaled_dot_product_attention(grouped, keys[None], values[None], attn_mask=mask)
        return attended.view(kv_heads, self._group, count, width).permute(2, 0, 1, 3).reshape(count, -1)


def _minus_infinity(where: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores, made once for all layers: nought, and minus infinity `where` nothing is to be seen."""
    return torch.zeros(where.shape, dtype=dtype, device=where.device).masked_fill_(where, -torch.inf)
