"""The language model's layers between their products, as Triton kernels: turning, remembering and attending; the gate.

The twins are `lm.attention.RowAttention` and `silu(gate) * up`. Rows are of any streams, and each looks back as far as
its own stream goes: lengths are tensors, so that a step's launches depend on nothing.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

KEYS = 64
"""Positions that a program looks at together."""
GROUP = 16
"""Queries of one program at least: as few as a product takes."""
MOST_SPLITS = 8
"""Programs that share the positions behind a row, where there are few rows."""
MANY_ROWS = 128
"""So many rows keep a GPU busy by themselves."""
GATED = 1024
"""Numbers of one program of the gate."""
WARPS = 4
_LOG2_E = tl.constexpr(1.4426950408889634)


def fits(width: int) -> bool:
    """Whether heads are as wide as the kernels can be."""
    return width >= GROUP and width & (width - 1) == 0


def splits_of(rows: int) -> int:
    """How many programs share the positions behind each of so many rows."""
    return min(MOST_SPLITS, max(1, MANY_ROWS // rows))


def padded_group(heads: int, kv_heads: int) -> int:
    """Rows of a program's tile of queries."""
    return int(max(triton.next_power_of_2(heads // kv_heads), GROUP))


class RowAttention:
    """As `lm.attention.RowAttention`, over all positions.

    cache: keys and values, [layers, slots, kv_heads, positions, width] each. tables: cosines and sines of all
    positions, [positions, 1, width] each. heads: of the queries.
    """

    def __init__(
        self, cache: tuple[Tensor, Tensor], tables: tuple[Tensor, Tensor], slots: Tensor, places: Tensor, heads: int
    ) -> None:
        self._cache = cache
        self._tables = tables
        self._slots = slots
        self._places = places
        rows = len(places)
        _, _, kv_heads, self._positions, width = cache[0].shape
        tile, splits = padded_group(heads, kv_heads), splits_of(rows)
        self._heads = {"HEADS": heads, "KV_HEADS": kv_heads, "WIDTH": width}
        self._parts = {**self._heads, "SPLITS": splits, "TILE": tile}
        self._sums = places.new_empty((rows, kv_heads, splits, tile, width), dtype=torch.float32)
        self._totals = places.new_empty((2, rows, kv_heads, splits, tile), dtype=torch.float32)

    def __call__(self, layer: int, projected: Tensor) -> Tensor:
        """As `lm.attention.Attention`."""
        rows, kv_heads, splits = self._sums.shape[:3]
        where = (self._slots, self._places)
        kept = tuple(tensor[layer] for tensor in self._cache)
        query = projected.new_empty(rows, self._heads["HEADS"] * self._heads["WIDTH"])
        every = triton.next_power_of_2(self._heads["HEADS"] + 2 * kv_heads)
        place_kernel[(rows,)](
            projected, *self._tables, *where, query, *kept, self._positions, **self._heads, ALL=every, num_warps=WARPS
        )
        found = (self._sums, self._totals)
        attend_kernel[(rows, kv_heads, splits)](
            query, *kept, *where, *found, self._positions, **self._parts, BLOCK=KEYS, num_warps=WARPS
        )
        join_kernel[(rows, kv_heads)](*found, query, **self._parts, num_warps=WARPS)
        return query


def gate(gate_up: Tensor) -> Tensor:
    """[N, 2 * inner], a gate and its partner, to their product through SiLU, [N, inner]."""
    rows, inner = len(gate_up), gate_up.shape[1] // 2
    out = gate_up.new_empty(rows, inner)
    gate_kernel[rows, triton.cdiv(inner, GATED)](gate_up, out, inner, BLOCK=GATED, num_warps=WARPS)
    return out


@triton.jit
def place_kernel(
    projected: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    slots: tl.tensor,
    places: tl.tensor,
    query: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    positions: tl.tensor,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    ALL: tl.constexpr,
) -> None:
    """Turn a row's queries and keys by its position, and put keys and values where its stream's are."""
    row = tl.program_id(0).to(tl.int64)
    slot, position = tl.load(slots + row), tl.load(places + row)
    head, channel = tl.arange(0, ALL)[:, None], tl.arange(0, WIDTH)[None]
    there = head < HEADS + 2 * KV_HEADS
    own = projected + (row * (HEADS + 2 * KV_HEADS) + head) * WIDTH
    plain = tl.load(own + channel, there, other=0.0)
    other = tl.load(own + (channel + WIDTH // 2) % WIDTH, there, other=0.0)
    by = position * WIDTH + channel
    cosines, sines = tl.load(cos + by).to(tl.float32), tl.load(sin + by).to(tl.float32)
    turned = (plain.to(tl.float32) * cosines + other.to(tl.float32) * sines).to(plain.dtype)
    tl.store(query + (row * HEADS + head) * WIDTH + channel, turned, head < HEADS)
    # Of this slot's heads: where their position is.
    line = ((slot * KV_HEADS + head - HEADS) * positions + position) * WIDTH + channel
    tl.store(keys + line, turned, (head >= HEADS) & (head < HEADS + KV_HEADS))
    tl.store(values + line - KV_HEADS * positions * WIDTH, plain, (head >= HEADS + KV_HEADS) & there)


@triton.jit
def attend_kernel(
    query: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    slots: tl.tensor,
    places: tl.tensor,
    sums: tl.tensor,
    totals: tl.tensor,
    positions: tl.tensor,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    SPLITS: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Every SPLITS-th block of the positions up to a row's, for the queries that share keys; exponents are of two."""
    row, kv_head, split = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    member, channel, frame = tl.arange(0, TILE), tl.arange(0, WIDTH), tl.arange(0, BLOCK)
    shared: tl.constexpr = HEADS // KV_HEADS
    asked = query + (row * HEADS + kv_head * shared + member[:, None]) * WIDTH + channel[None]
    asking = tl.load(asked, member[:, None] < shared, other=0.0)
    length = (tl.load(places + row) + 1).to(tl.int32)
    start = (tl.load(slots + row) * KV_HEADS + kv_head) * positions * WIDTH
    best = tl.full([TILE], float("-inf"), tl.float32)
    total = tl.zeros([TILE], tl.float32)
    summed = tl.zeros([TILE, WIDTH], tl.float32)
    for first in range(split * BLOCK, length, SPLITS * BLOCK):
        seen = first + frame < length
        offsets = start + (first + frame[:, None]) * WIDTH + channel[None]
        key = tl.load(keys + offsets, seen[:, None], other=0.0)
        scores = tl.dot(asking, tl.trans(key), input_precision="ieee") * (_LOG2_E / tl.sqrt(WIDTH * 1.0))
        scores = tl.where(seen[None], scores, float("-inf"))
        higher = tl.maximum(best, tl.max(scores, 1))
        weights = tl.exp2(scores - higher[:, None])
        fade = tl.exp2(best - higher)
        value = tl.load(values + offsets, seen[:, None], other=0.0)
        summed = summed * fade[:, None] + tl.dot(weights.to(value.dtype), value, input_precision="ieee")
        total = total * fade + tl.sum(weights, 1)
        best = higher
    part = ((row * KV_HEADS + kv_head) * SPLITS + split) * TILE + member
    tl.store(sums + part[:, None] * WIDTH + channel[None], summed)
    tl.store(totals + part, best)
    tl.store(totals + tl.num_programs(0) * KV_HEADS * SPLITS * TILE + part, total)


@triton.jit
def join_kernel(
    sums: tl.tensor,
    totals: tl.tensor,
    out: tl.tensor,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    SPLITS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """Put together what the programs of a row found, each by what its largest score was. The first has found some."""
    row, kv_head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    member, channel = tl.arange(0, TILE), tl.arange(0, WIDTH)
    behind = tl.num_programs(0) * KV_HEADS * SPLITS * TILE
    first = (row * KV_HEADS + kv_head) * SPLITS * TILE + member
    best = tl.load(totals + first)
    total = tl.load(totals + behind + first)
    summed = tl.load(sums + first[:, None] * WIDTH + channel[None])
    for split in range(1, SPLITS):
        part = first + split * TILE
        other = tl.load(totals + part)
        higher = tl.maximum(best, other)
        fade, weight = tl.exp2(best - higher), tl.exp2(other - higher)
        total = total * fade + tl.load(totals + behind + part) * weight
        more = tl.load(sums + part[:, None] * WIDTH + channel[None])
        summed = summed * fade[:, None] + more * weight[:, None]
        best = higher
    shared: tl.constexpr = HEADS // KV_HEADS
    result = out + (row * HEADS + kv_head * shared + member[:, None]) * WIDTH + channel[None]
    tl.store(result, (summed / total[:, None]).to(out.dtype.element_ty), member[:, None] < shared)


@triton.jit
def gate_kernel(gate_up: tl.tensor, out: tl.tensor, inner: tl.tensor, BLOCK: tl.constexpr) -> None:
    """A part of a row."""
    row, place = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = place < inner
    own = gate_up + row * 2 * inner + place
    opening = tl.load(own, there, other=0.0).to(tl.float32)
    partner = tl.load(own + inner, there, other=0.0).to(tl.float32)
    tl.store(out + row * inner + place, (opening / (1 + tl.exp(-opening)) * partner).to(out.dtype.element_ty), there)
