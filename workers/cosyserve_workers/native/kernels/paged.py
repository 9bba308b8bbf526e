"""Attention over keys and values that lie in pages, in plain PyTorch: the twin of `paged_triton`, and who picks it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class Pages(NamedTuple):
    """Where rows find what is behind them. A row is a page's frames; rows of one sequence follow one another."""

    keys_values: Tensor
    """[pages, layers, 2, guidance rows, frames of a page, heads * width]; keys first."""
    table: Tensor
    """int32 [steps, rows, n]: the pages behind a row's sequence, oldest first, then those of its rows here, -1 for what
    nobody will need."""
    step: Tensor
    """int32 [1]: which of the steps this is."""
    past: Tensor
    """int32 [rows]: how many pages are behind the row's sequence."""
    first: Tensor
    """int32 [rows]: the first row of the row's sequence."""
    frames: Tensor
    """int32 [rows]: how many of its frames are real, from the first on; not all in a sequence's last alone."""

    @property
    def numbers(self) -> tuple[Tensor, ...]:
        """All but the keys and values."""
        return self[1:]

    def with_numbers(self, numbers: Sequence[Tensor]) -> "Pages":
        """The same keys and values with others."""
        return Pages(self.keys_values, *numbers)

    @property
    def most(self) -> int:
        """How many pages the table has room for."""
        return self.table.shape[2]


def attend(qkv: Tensor, pages: Pages, layer: int, heads: int, bias: Tensor | None = None) -> Tensor:
    """Attention of each row over the pages behind it and the rows of its sequence up to itself.

    Writes the rows' keys and values to their pages.

    Args:
        qkv: [guidance rows, rows * frames of a page, n * heads * width], queries, keys and values first.
        pages: what is behind.
        layer: which of the pages' layers.
        heads: of the queries; as many of keys and values.
        bias: [heads, rows * frames of a page, distances], added to a query's scaled scores: the term of a key that lies
            d frames back is `frames of a page - 1 + d` before the end. One guidance row only.

    Returns:
        [guidance rows, rows * frames of a page, heads * width]; of no meaning where frames are not real.
    """
    _, _, _, guidance, size, inner = pages.keys_values.shape
    rows = qkv.view(guidance, -1, size, qkv.shape[2])[..., : 3 * inner].unflatten(3, (3, inner))
    table = pages.table[int(pages.step)].tolist()
    places = zip(pages.past.tolist(), pages.first.tolist(), pages.frames.tolist(), strict=True)
    results = []
    for row, (past, first, frames) in enumerate(places):
        behind = [pages.keys_values[page, layer].movedim(1, 0) for page in table[row][:past]]
        own = [rows[:, other, :, 1:].movedim(2, 1) for other in range(first, row + 1)]
        own[-1] = own[-1][:, :, :frames]
        keys, values = torch.cat([*behind, *own], dim=2).unbind(1)
        last = past + row - first
        skewed = None if bias is None else _skewed(bias[:, row * size : (row + 1) * size], last * size, keys.shape[1])
        results.append(attend_plainly(rows[:, row, :, 0], keys, values, heads, skewed))
        if table[row][last] >= 0:
            pages.keys_values[table[row][last], layer].copy_(rows[:, row, :, 1:].movedim(2, 0))
    return torch.cat(results, dim=1)


def attend_plainly(queries: Tensor, keys: Tensor, values: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Attention of each query over all keys, [guidance rows, frames, heads * width]. bias: [heads, queries, keys]."""
    query, key, value = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (queries, keys, values))
    return scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2).flatten(2)


def _skewed(bias: Tensor, before: int, keys: int) -> Tensor:
    """What each query adds for each key, [heads, queries, keys], the first query having so many keys before it."""
    _, queries, distances = bias.shape
    zero = distances - queries
    columns = torch.arange(keys)[None] - torch.arange(before, before + queries)[:, None] + zero
    return bias.gather(2, columns.clamp(max=distances - 1).expand(len(bias), -1, -1).to(bias.device))
