"""The language model's kernels beside their twins, as `interpreted` does.

TRITON_INTERPRET=1 python -m tests.model.native.kernels.interpreted_rows attend 0 1 2
"""

import torch
from torch.nn.functional import silu

from cosyserve_workers.native.kernels import rows_triton
from cosyserve_workers.native.lm.attention import KeyValueCache, RowAttention, Turns
from tests.model.native.kernels.interpreted import difference, draw, run

CPU = torch.device("cpu")


def attend(dice: torch.Generator) -> float:
    """Any number of rows of any streams, at any positions; some follow one another in one stream, as a prefill's do."""
    kv_heads, group, width = draw(dice, 1, 4), draw(dice, 1, 20), (16, 32, 64)[draw(dice, 0, 3)]
    heads, slots, positions = kv_heads * group, draw(dice, 1, 6), draw(dice, 70, 1100)
    caches = [KeyValueCache((2, slots, kv_heads, positions, width), CPU, torch.float32) for _ in range(2)]
    for ours, theirs in zip((caches[0].keys, caches[0].values), (caches[1].keys, caches[1].values), strict=True):
        theirs.copy_(ours.normal_(generator=dice))
    places = []
    for slot in torch.randperm(slots, generator=dice)[: draw(dice, 1, slots + 1)].tolist():
        start, count = draw(dice, 0, positions - 40), draw(dice, 1, 30)
        places += [(slot, start + row) for row in range(count if draw(dice, 0, 2) else 1)]
    where = torch.tensor(places)
    tables = torch.rand((2, positions, 1, width), generator=dice) * 2 - 1
    turns = Turns(tables[0][where[:, 1]], tables[1][where[:, 1]], heads, kv_heads)
    twin = RowAttention(caches[0], turns, where[:, 0].contiguous(), where[:, 1].contiguous(), positions)
    kernels = rows_triton.RowAttention(
        (caches[1].keys, caches[1].values),
        (tables[0], tables[1]),
        where[:, 0].contiguous(),
        where[:, 1].contiguous(),
        heads,
    )
    projected = torch.randn((len(places), (heads + 2 * kv_heads) * width), generator=dice)
    wanted, got = twin(1, projected), kernels(1, projected)
    kept = (caches[1].keys - caches[0].keys).abs().max() + (caches[1].values - caches[0].values).abs().max()
    return difference(got, wanted) + float(kept)


def gate(dice: torch.Generator) -> float:
    """Any number of rows of any width."""
    gate_up = torch.randn((draw(dice, 1, 20), 2 * draw(dice, 1, 3000)), generator=dice) * 4
    opening, partner = gate_up.chunk(2, dim=-1)
    wanted = silu(opening) * partner
    return difference(rows_triton.gate(gate_up), wanted)


if __name__ == "__main__":
    run(attend=attend, gate=gate)
