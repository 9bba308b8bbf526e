"""`paged.attend` as a Triton kernel: pages are read where they lie, and whatever lies behind, it is one launch.

A program for each row, guidance row and head, and each tile of its queries; it goes once over the pages.
"""

import triton
import triton.language as tl
from torch import Tensor

from cosyserve_workers.native.kernels.paged import Pages

QUERIES = 16
"""Of one program, as few as a product takes: a stream alone then has four times as many programs as heads."""
WARPS = 8
"""With four, float32 spills registers."""
_LOG2_E = tl.constexpr(1.4426950408889634)


def attend(qkv: Tensor, pages: Pages, layer: int, heads: int, bias: Tensor | None = None) -> Tensor:
    """As `paged.attend`."""
    _, layers, _, guidance, size, inner = pages.keys_values.shape
    rows = pages.past.shape[0]
    out = qkv.new_empty(guidance, rows * size, inner)
    grid = (rows, guidance * heads, triton.cdiv(size, QUERIES))
    attend_kernel[grid](
        qkv,
        pages.keys_values,
        out,
        qkv if bias is None else bias,
        pages.table,
        pages.step,
        pages.past,
        pages.first,
        pages.frames,
        layer,
        pages.table.shape[2],
        0 if bias is None else bias.shape[2],
        **shape_of(
            heads=heads,
            width=inner // heads,
            size=size,
            layers=layers,
            guidance=guidance,
            parts=qkv.shape[2] // inner,
        ),
        BIASED=bias is not None,
        num_warps=WARPS,
    )
    return out


def shape_of(*, heads: int, width: int, size: int, layers: int, guidance: int, parts: int) -> dict[str, int]:
    """What a kernel is compiled for. size: frames of a page; parts: how wide `qkv` is, in heads * width."""
    return {
        "HEADS": heads,
        "WIDTH": width,
        "SIZE": size,
        "LAYERS": layers,
        "GUIDANCE": guidance,
        "PARTS": parts,
        "TILE": QUERIES,
        "KEYS": triton.next_power_of_2(size),
        "WIDE": max(triton.next_power_of_2(width), 16),
    }


@triton.jit
def _visit(
    query: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    stride: tl.tensor,
    count: tl.tensor,
    bias: tl.tensor,
    best: tl.tensor,
    total: tl.tensor,
    sums: tl.tensor,
    WIDTH: tl.constexpr,
    KEYS: tl.constexpr,
    WIDE: tl.constexpr,
    BIASED: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Take in one page's keys and values; exponents are of two. bias: where the terms of the page's first key lie."""
    frame, channel = tl.arange(0, KEYS), tl.arange(0, WIDE)
    there = (frame[:, None] < count) & (channel[None] < WIDTH)
    offsets = frame[:, None] * stride + channel[None]
    key = tl.load(keys + offsets, there, other=0.0)
    scores = tl.dot(query, tl.trans(key), input_precision="ieee") * (_LOG2_E / tl.sqrt(WIDTH * 1.0))
    if BIASED:
        terms = tl.load(bias[:, None] + frame[None], frame[None] < count, other=0.0)
        scores += terms.to(tl.float32) * _LOG2_E
    scores = tl.where(frame[None] < count, scores, float("-inf"))
    higher = tl.maximum(best, tl.max(scores, 1))
    weights = tl.exp2(scores - higher[:, None])
    fade = tl.exp2(best - higher)
    value = tl.load(values + offsets, there, other=0.0)
    sums = sums * fade[:, None] + tl.dot(weights.to(value.dtype), value, input_precision="ieee")
    return higher, total * fade + tl.sum(weights, 1), sums


@triton.jit(
    do_not_specialize=["layer", "most", "distances"],
    do_not_specialize_on_alignment=["table", "step", "past", "first", "frames"],
)
def attend_kernel(
    qkv: tl.tensor,
    pages: tl.tensor,
    out: tl.tensor,
    bias: tl.tensor,
    table: tl.tensor,
    step: tl.tensor,
    past: tl.tensor,
    first: tl.tensor,
    frames: tl.tensor,
    layer: tl.tensor,
    most: tl.tensor,
    distances: tl.tensor,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    SIZE: tl.constexpr,
    LAYERS: tl.constexpr,
    GUIDANCE: tl.constexpr,
    PARTS: tl.constexpr,
    TILE: tl.constexpr,
    KEYS: tl.constexpr,
    WIDE: tl.constexpr,
    BIASED: tl.constexpr,
) -> None:
    """One tile of a row's queries, in one head and guidance row. All of one type but the table and the numbers."""
    row, rows = tl.program_id(0), tl.num_programs(0)
    guidance, head = tl.program_id(1) // HEADS, tl.program_id(1) % HEADS
    inner = HEADS * WIDTH
    frame, channel = tl.program_id(2) * TILE + tl.arange(0, TILE), tl.arange(0, WIDE)
    there = (frame[:, None] < SIZE) & (channel[None] < WIDTH)
    # Of this guidance row and head: the first frame of the first row, and of a page.
    fresh = qkv + (guidance.to(tl.int64) * rows * SIZE) * PARTS * inner + head * WIDTH
    page = pages + ((layer.to(tl.int64) * 2 * GUIDANCE + guidance) * SIZE) * inner + head * WIDTH
    own = fresh + (row * SIZE + frame[:, None]).to(tl.int64) * PARTS * inner + channel[None]
    query = tl.load(own, there, other=0.0)

    behind, start = tl.load(past + row), tl.load(first + row)
    chunk = LAYERS * 2 * GUIDANCE * SIZE * inner
    numbers = table + (tl.load(step) * rows + row) * most
    best = tl.full([TILE], float("-inf"), tl.float32)
    total = tl.zeros([TILE], tl.float32)
    sums = tl.zeros([TILE, WIDE], tl.float32)
    ago = (behind + row - start) * SIZE + tl.minimum(frame, SIZE - 1)
    line = (head.to(tl.int64) * rows + row) * SIZE + tl.minimum(frame, SIZE - 1)
    term = bias + line * distances + distances - SIZE - ago
    for index in range(behind + row - start + 1):
        # One loop for both, so that their addresses do not take registers twice.
        older, other = index < behind, start + index - behind
        number = tl.load(numbers + index, older, other=0).to(tl.int64)
        keys = tl.where(older, page + number * chunk, fresh + other.to(tl.int64) * (SIZE * PARTS * inner) + inner)
        values = keys + tl.where(older, GUIDANCE * SIZE * inner, inner)
        stride = tl.where(older, inner, PARTS * inner)
        count = tl.load(frames + other, index >= behind, other=SIZE)
        best, total, sums = _visit(
            query, keys, values, stride, count, term + index * SIZE, best, total, sums, WIDTH, KEYS, WIDE, BIASED
        )
    result = out + ((guidance.to(tl.int64) * rows + row) * SIZE + frame[:, None]) * inner + head * WIDTH + channel[None]
    tl.store(result, (sums / total[:, None]).to(out.dtype.element_ty), there)

    number = tl.load(numbers + behind + row - start)
    keep = page + number.to(tl.int64) * chunk + frame[:, None] * inner + channel[None]
    kept = there & (number >= 0)
    tl.store(keep, tl.load(own + inner, kept), kept)
    tl.store(keep + GUIDANCE * SIZE * inner, tl.load(own + 2 * inner, kept), kept)
