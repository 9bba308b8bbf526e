"""A solve in rows of one chunk, any number of which may be of one sequence.

What it reads has shapes that the number of rows alone decides, and that is one of a few.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from cosyserve_workers.native.flow.memory import Chunk, Lefts
from cosyserve_workers.native.flow.pieces import Piece
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    EULER_STEPS,
    FRAMES_PER_TOKEN,
    LOOKAHEAD_TOKENS,
    MEL_BINS,
)
from cosyserve_workers.native.kernels.paged import Pages

SHARED = 16
"""So many rows are solved together at most, but for those of one sequence."""
BUCKETS = (1, 2, 4, 8, SHARED, 32, 64, 128)
"""Numbers of rows that graphs are made for. A prompt of 30 s and the longest segment, solved at one go, are 126."""
MOST_PAST = 160
"""Chunks of a sequence that a page table has room for."""


def shared_out(counts: Sequence[int]) -> list[slice]:
    """Deal sequences of so many rows to solves, in order."""
    starts, rows = [], SHARED
    for index, count in enumerate(counts):
        if rows + count > SHARED:
            starts.append(index)
            rows = 0
        rows += count
    return [slice(start, end) for start, end in pairwise([*starts, len(counts)])]


def idle_piece(nothing: Lefts, absent: int) -> Piece:
    """A chunk that says nothing, to nobody."""
    return Piece(
        past=(),
        left=nothing,
        tokens=torch.full((CHUNK_TOKENS + LOOKAHEAD_TOKENS,), absent, device=nothing.condition.device),
        speaker=nothing.condition.new_zeros(MEL_BINS),
        prompt_mel=nothing.condition.new_zeros(CHUNK_FRAMES, MEL_BINS),
        fresh=(),
    )


class Rows:
    """pieces: of a chunk each. absent, nothing: what rows hear that are there to fill a bucket up."""

    def __init__(self, pieces: Sequence[Piece], absent: int, nothing: Lefts) -> None:
        idle = next((bucket for bucket in BUCKETS if bucket >= len(pieces)), len(pieces)) - len(pieces)
        self.pieces = [*pieces, *[idle_piece(nothing, absent)] * idle] if idle else list(pieces)
        self._given = len(pieces)

    @property
    def follows(self) -> list[bool]:
        """Whether each row continues the one above."""
        return [piece.before > 0 for piece in self.pieces]

    def joined(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Of each row's frames, [50, 80], those of each sequence, without what was padded."""
        starts = [row for row, follows in enumerate(self.follows[: self._given]) if not follows]
        whole = [torch.cat(list(mels[start:end])) for start, end in pairwise([*starts, self._given])]
        return [
            mel[: len(mel) - self.pieces[end - 1].padding * FRAMES_PER_TOKEN]
            for mel, end in zip(whole, [*starts[1:], self._given], strict=True)
        ]

    def pages(self, slab: Chunk, device: torch.device) -> tuple[Pages, Pages, list[Pages]]:
        """Where the encoder's layers read at the tokens' rate and at the frames', and the estimator's at each step."""
        table = self._table()
        steps = torch.arange(EULER_STEPS, dtype=torch.int32)[:, None, None]
        by_step = torch.where(table < 0, table, table * EULER_STEPS + steps)
        real = torch.tensor([CHUNK_TOKENS - piece.padding for piece in self.pieces], dtype=torch.int32)
        numbers = [
            table[None],
            by_step,
            torch.tensor([len(piece.past) for piece in self.pieces], dtype=torch.int32),
            torch.tensor([row - piece.before for row, piece in enumerate(self.pieces)], dtype=torch.int32),
            real,
            real * FRAMES_PER_TOKEN,
            torch.arange(EULER_STEPS, dtype=torch.int32),
        ]
        table, by_step, past, first, tokens, frames, step = _moved(numbers, device)
        estimator = Pages(slab.estimator.flatten(0, 1), by_step, step[:1], past, first, frames)
        return (
            Pages(slab.tokens, table, step[:1], past, first, tokens),
            Pages(slab.frames, table, step[:1], past, first, frames),
            [estimator._replace(step=step[index : index + 1]) for index in range(EULER_STEPS)],
        )

    def _table(self) -> Tensor:
        """[rows, n], as in `Pages`."""
        longest = 1 + max(piece.chunks_before for piece in self.pieces)
        table = torch.full((len(self.pieces), -(-longest // MOST_PAST) * MOST_PAST), -1, dtype=torch.int32)
        for line, piece in zip(table, self.pieces, strict=True):
            line[: len(piece.past)] = torch.tensor([page.number for page in piece.past], dtype=torch.int32)
            if piece.fresh:
                line[piece.chunks_before] = piece.fresh[0].number
        return table


def _moved(numbers: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """All in one copy, which nobody waits for."""
    flat = torch.cat([tensor.flatten() for tensor in numbers]).to(device, non_blocking=True)
    parts = flat.split([tensor.numel() for tensor in numbers])
    return [part.view(tensor.shape) for part, tensor in zip(parts, numbers, strict=True)]
