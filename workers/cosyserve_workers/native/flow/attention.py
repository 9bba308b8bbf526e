"""How the estimator's frames attend to what is behind them: gathered first, or where it lies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.memory import KeysValues
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES
from cosyserve_workers.native.kernels.choice import Attend
from cosyserve_workers.native.kernels.paged import Pages, attend_plainly


class Attention(Protocol):
    """One step's, of all sequences."""

    def __call__(self, qkv: Tensor, layer: int) -> Tensor:
        """Each sequence over what it remembers and itself: [rows, frames, 3 * channels] to [rows, frames, channels]."""


@dataclass(frozen=True)
class Gathered:
    """Sequence by sequence and chunk by chunk: what suits a CPU, where little is read twice and nothing in vain."""

    layout: Layout
    memories: Sequence[KeysValues]
    """Of each sequence, at this step."""
    heads: int

    def __call__(self, qkv: Tensor, layer: int) -> Tensor:
        """As `Attention`."""
        parts = qkv.unflatten(2, (3, -1))
        results = []
        for place, memory in zip(self.layout.places, self.memories, strict=True):
            keys, values = memory.extend(layer, parts[:, place, 1:])
            results += _attend_by_chunk(parts[:, place, 0], keys, values, self.heads)
        return results[0] if len(results) == 1 else torch.cat(results, dim=1)

    def of_row(self, row: slice) -> "Gathered":
        """The same for one guidance row."""
        return Gathered(self.layout, [memory.of_row(row) for memory in self.memories], self.heads)


@dataclass(frozen=True)
class Paged:
    """All in one launch, where it lies; sequences are rows of a chunk, as in `rows`."""

    attend: Attend
    pages: Pages
    heads: int

    def __call__(self, qkv: Tensor, layer: int) -> Tensor:
        """As `Attention`."""
        return self.attend(qkv, self.pages, layer, self.heads)

    def on(self, pages: Pages) -> "Paged":
        """The same over others."""
        return Paged(self.attend, pages, self.heads)


def _attend_by_chunk(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> list[Tensor]:
    """Attention chunk by chunk, [2, n, channels] each; the queries are the last of the keys.

    All are [2, frames, channels]. A chunk is its own call: the part of the matrix that the mask would hide from it is
    then never computed.
    """
    return [
        attend_plainly(queries[:, chunk], keys[:, :seen], values[:, :seen], heads)
        for chunk, seen in seen_by_chunk(queries.shape[1], keys.shape[1])
    ]


def seen_by_chunk(queries: int, keys: int) -> Iterator[tuple[slice, int]]:
    """Chunk by chunk which of the queries it has, the last of so many keys, and how many keys it sees, the first."""
    for start in range(0, queries, CHUNK_FRAMES):
        end = min(start + CHUNK_FRAMES, queries)
        yield slice(start, end), keys - queries + end
