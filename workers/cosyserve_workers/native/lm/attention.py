"""Keys and values of many streams, and attention over them: one token of each stream, or pieces of their prompts."""

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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


class StepAttention:
    """One new token for each of B streams. Shapes depend on B and `span` alone, and nothing waits for the device.

    slots: [B] int64; all of the cache's, in order, if None: their keys and values are then read where they lie.
    positions: [B] int64, where the new token goes. span: how many positions are looked at, more than any of those.
    """

    def __init__(self, cache: KeyValueCache, slots: Tensor | None, positions: Tensor, span: int) -> None:
        self._cache = cache
        self._gathered = slots
        self._rows = torch.arange(len(positions), device=positions.device) if slots is None else slots
        self._positions = positions
        self._span = span
        seen = torch.arange(span, device=positions.device) <= positions[:, None]
        self._mask = seen[:, None, None, :]

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Remember, then attend. query: [B, heads, d]; key, value: [B, kv_heads, d]. Returns [B, heads * d]."""
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        keys[self._rows, :, self._positions] = key
        values[self._rows, :, self._positions] = value
        keys, values = keys[:, :, : self._span], values[:, :, : self._span]
        if self._gathered is not None:
            keys, values = keys.index_select(0, self._gathered), values.index_select(0, self._gathered)
        # The heads that share keys are given as so many queries: nothing is repeated.
        batch, kv_heads, width = key.shape
        grouped = query.view(batch, kv_heads, -1, width)
        return scaled_dot_product_attention(grouped, keys, values, attn_mask=self._mask).reshape(batch, -1)


@dataclass(frozen=True)
class Piece:
    """`count` tokens in a row of the stream in `slot`, the first at position `start`."""

    slot: int
    start: int
    count: int


class PieceAttention:
    """Pieces of any lengths, packed one after another without padding; each sees its own stream, up to itself."""

    def __init__(self, cache: KeyValueCache, pieces: Sequence[Piece]) -> None:
        self._cache = cache
        self._pieces = pieces
        device = cache.keys.device
        self._masks = [
            None
            if piece.count == 1
            else torch.ones(piece.count, piece.start + piece.count, dtype=torch.bool, device=device).tril(piece.start)
            for piece in pieces
        ]

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Remember, then attend. query: [N, heads, d]; key, value: [N, kv_heads, d]. Returns [N, heads * d]."""
        attended = []
        row = 0
        for piece, mask in zip(self._pieces, self._masks, strict=True):
            rows = slice(row, row + piece.count)
            row += piece.count
            end = piece.start + piece.count
            keys = self._cache.keys[layer, piece.slot, :, :end]
            values = self._cache.values[layer, piece.slot, :, :end]
            keys[:, piece.start :] = key[rows].transpose(0, 1)
            values[:, piece.start :] = value[rows].transpose(0, 1)
            attended.append(_attend_grouped(query[rows], keys, values, mask))
        return torch.cat(attended)


def _attend_grouped(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attend within one stream, the heads that share keys as more queries: nothing is repeated but the mask.

    query: [T, heads, d]; keys, values: [kv_heads, n, d]; mask: [T, n] bool. Returns [T, heads * d].
    """
    count, heads, width = query.shape
    kv_heads = keys.shape[0]
    group = heads // kv_heads
    grouped = query.view(count, kv_heads, group, width).permute(1, 2, 0, 3).reshape(1, kv_heads, -1, width)
    repeated = None if mask is None else mask.repeat(group, 1)
    attended = scaled_dot_product_attention(grouped, keys[None], values[None], attn_mask=repeated)
    return attended.view(kv_heads, group, count, width).permute(2, 0, 1, 3).reshape(count, -1)
