"""One solve: chunks of many sequences from tokens to mel, each continued from what it carries.

The same for both models: CosyVoice2's estimator is a U-Net behind a Conformer, CosyVoice3's a transformer.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Graphs, Record
from cosyserve_workers.native.flow.attention import Attention, Gathered, Paged
from cosyserve_workers.native.flow.encoder import RowsBehind
from cosyserve_workers.native.flow.estimator import Batch, Left
from cosyserve_workers.native.flow.estimator_graphs import EstimatorGraphs, Stepper
from cosyserve_workers.native.flow.estimator_lanes import EstimatorLanes
from cosyserve_workers.native.flow.euler import noise_at, noise_table, schedule, stepped
from cosyserve_workers.native.flow.first_step import FirstStep
from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.memory import Chunk, KeysValues, Lefts, PagePool
from cosyserve_workers.native.flow.opening import Given, Lie, Opened, Opener, Opening, OpeningGraphs
from cosyserve_workers.native.flow.parts import AnySizes, parts_of
from cosyserve_workers.native.flow.pieces import Piece
from cosyserve_workers.native.flow.rows import BUCKETS, Rows, idle_piece, shared_out
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    CONDITION_CHANNELS,
    EULER_STEPS,
    FRAMES_PER_TOKEN,
)
from cosyserve_workers.native.flow.weights import Weights
from cosyserve_workers.native.kernels.choice import Attend, kernels_for
from cosyserve_workers.native.lanes import Lanes

_TRIAL_CHUNKS = 4
"""Behind a step that is timed: a prompt of four seconds."""


class _Behind(NamedTuple):
    """What is behind a solve's pieces, and how they lie: for the encoder, and at an Euler step."""

    lie: Lie
    places: Tensor
    """int64 [frames]: how far from its sequence's start each is."""
    step: Callable[[int], Attention]


class Solver:
    """The networks and the tables they need. lanes: where the guidance rows may be solved, on a CPU. pool: of pages."""

    def __init__(self, weights: Weights, sizes: AnySizes, device: torch.device, lanes: Lanes, pool: PagePool) -> None:
        times, self._spans = schedule()
        self._kernels = kernels_for(device)
        self._pool = pool
        self._encoder, self._estimator = parts_of(weights, sizes, times, self._kernels)
        self._noise = noise_table(device)
        self._device = device
        self._dtype = weights.dtype
        self._outer = weights.outer().dtype
        self._sizes = sizes
        self._opening: Opener = Opening(self._encoder, self._estimator)
        self._first: FirstStep | None = None
        self._steppers: list[Stepper] = [self._estimator] * EULER_STEPS
        """Who takes each Euler step."""
        if device.type == "cpu":
            any_step = EstimatorLanes(self._estimator, lanes)
            self._first = FirstStep(self._estimator, sizes, self._noise.to(self._outer), self._dtype, any_step)
            self._steppers = [self._first, *[any_step] * (EULER_STEPS - 1)]

    @torch.inference_mode()
    def record(self, record: Record) -> None:
        """Take graphs from now on, for all numbers of rows; where solves are in rows, once the pool has its pages."""
        if self._kernels.attend is None or self._pool.slab is None:
            return
        # What is solved once for all streams is gathered. Tables that grew would leave the graphs behind.
        self._first = None
        self._encoder.reserve(BUCKETS[-1] * CHUNK_TOKENS)
        graphs = Graphs("the flow", record)
        self._opening = OpeningGraphs(Opening(self._encoder, self._estimator), graphs)
        self._steppers = [EstimatorGraphs(self._estimator, graphs)] * EULER_STEPS
        for count in BUCKETS:
            self.rehearse(count, self._kernels.attend, self._pool.slab)
        graphs.seal()

    def rehearse(self, count: int, attend: Attend, slab: Chunk) -> None:
        """Take the parts of a solve of so many rows, each once."""
        rows = self._trial_of(count)
        self._open(rows.pieces, self._in_rows(rows, attend, slab).lie)
        self.trial(count)()

    @property
    def absent(self) -> int:
        """The token id that stands for a look-ahead past the end."""
        return self._encoder.absent

    def reserve(self, tokens: int) -> None:
        """Make the tables long enough for sequences of so many tokens; `solve` then changes nothing of ours."""
        self._encoder.reserve(tokens)
        if self._first is not None:
            self._first.reserve(tokens // CHUNK_TOKENS)

    def solve(self, pieces: Sequence[Piece]) -> list[Tensor]:
        """Solve all pieces as one batch, and fill their fresh pages; the mel of each, float32 [frames, 80].

        Of what convolutions look back to, a piece's last page has some, the others may have none.
        """
        attend, slab = self._kernels.attend, self._pool.slab
        if attend is None or slab is None:
            return self._solve(pieces, self._gathering(pieces))
        cut = [piece.chunk_by_chunk(self.absent) for piece in pieces]
        return [
            mel
            for part in shared_out([len(chunks) for chunks in cut])
            for mel in self._solve_rows([chunk for chunks in cut[part] for chunk in chunks], attend, slab)
        ]

    def _solve_rows(self, chunks: Sequence[Piece], attend: Attend, slab: Chunk) -> list[Tensor]:
        rows = Rows(chunks, self.absent, self._pool.nothing)
        return rows.joined(self._solve(rows.pieces, self._in_rows(rows, attend, slab)))

    def _gathering(self, pieces: Sequence[Piece]) -> _Behind:
        by_frame = Layout([piece.length * FRAMES_PER_TOKEN for piece in pieces], self._device)
        lie = Lie(
            Layout([piece.length for piece in pieces], self._device),
            by_frame,
            [piece.keys_values(lambda page: page.chunk.tokens) for piece in pieces],
            [piece.keys_values(lambda page: page.chunk.frames) for piece in pieces],
        )
        return _Behind(
            lie,
            self._places(pieces),
            lambda step: Gathered(by_frame, [piece.step(step) for piece in pieces], self._sizes.heads),
        )

    def _in_rows(self, rows: Rows, attend: Attend, slab: Chunk) -> _Behind:
        tokens, frames, steps = rows.pages(slab, self._device)
        count, follows = len(rows.pieces), rows.follows
        lie = Lie(
            Layout([CHUNK_TOKENS] * count, self._device, follows),
            Layout([CHUNK_FRAMES] * count, self._device, follows),
            RowsBehind(attend, tokens),
            RowsBehind(attend, frames),
        )
        return _Behind(lie, self._places(rows.pieces), lambda step: Paged(attend, steps[step], self._sizes.heads))

    def _solve(self, pieces: Sequence[Piece], behind: _Behind) -> list[Tensor]:
        by_frame = behind.lie.by_frame
        opened = self._open(pieces, behind.lie)
        mel_lefts = torch.stack([piece.left.mel for piece in pieces], dim=1)
        lefts = torch.stack([piece.left.convolutions for piece in pieces], dim=2)
        mel = noise_at(self._noise, behind.places)
        new_lefts = []
        for step in range(EULER_STEPS):
            velocity, left = self._steppers[step].velocity(
                self._estimator.time_shifts[step],
                mel.to(self._outer),
                Left(mel_lefts[step], lefts[step]),
                Batch(by_frame, behind.places, opened.heard, behind.step(step)),
            )
            mel = stepped(mel, velocity.float(), self._spans[step])
            new_lefts.append(left)
        mel_lefts = torch.stack([left.mel for left in new_lefts])
        lefts = torch.stack([left.others for left in new_lefts])
        for index, piece in enumerate(pieces):
            if piece.fresh:
                piece.leave(
                    Lefts(
                        opened.lookahead[index],
                        opened.upsampling[index],
                        opened.condition[index],
                        mel_lefts[:, index],
                        lefts[:, :, index],
                    )
                )
        return [mel[place] for place in by_frame.places]

    @torch.inference_mode()
    def trial(self, streams: int) -> Callable[[], object]:
        """One Euler step of so many streams, each of a chunk behind some others: of noise, with nothing to hear."""
        layout, attention = self._trial_rows(streams) or self._trial_gathering(streams)
        count, nothing = len(layout.lengths), self._pool.nothing
        left = Left(torch.stack([nothing.mel[0]] * count), torch.stack([nothing.convolutions[0]] * count, dim=1))
        condition = nothing.condition.new_zeros(layout.total, CONDITION_CHANNELS)
        heard, _ = self._estimator.hear(condition, torch.stack([nothing.condition] * count), layout)
        batch = Batch(layout, torch.arange(layout.total, device=self._device), heard, attention)
        mel = self._noise[: layout.total].to(self._outer)
        return lambda: self._steppers[-1].velocity(self._estimator.time_shifts[-1], mel, left, batch)

    def _trial_gathering(self, streams: int) -> tuple[Layout, Attention]:
        layout = Layout([CHUNK_FRAMES] * streams, self._device)
        chunk = torch.zeros(self._sizes.page.step, device=self._device, dtype=self._dtype)
        memories = [KeysValues([chunk] * _TRIAL_CHUNKS, []) for _ in range(streams)]
        return layout, Gathered(layout, memories, self._sizes.heads)

    def _trial_rows(self, streams: int) -> tuple[Layout, Attention] | None:
        """The same in rows, if solves are; whatever lies in a page."""
        if self._kernels.attend is None or self._pool.slab is None:
            return None
        behind = self._in_rows(self._trial_of(streams), self._kernels.attend, self._pool.slab)
        return behind.lie.by_frame, behind.step(EULER_STEPS - 1)

    def _trial_of(self, streams: int) -> Rows:
        past = self._pool.take(1) * _TRIAL_CHUNKS
        piece = idle_piece(self._pool.nothing, self.absent)
        piece = replace(piece, past=past, tokens=torch.arange(len(piece.tokens), device=self._device))
        return Rows([piece] * streams, self.absent, self._pool.nothing)

    def _open(self, pieces: Sequence[Piece], lie: Lie) -> Opened:
        self.reserve(max(piece.chunks_before * CHUNK_TOKENS + piece.length for piece in pieces))
        given = Given(
            torch.cat([piece.tokens for piece in pieces]),
            torch.cat([piece.speaker.expand(len(piece.prompt_mel), -1) for piece in pieces]),
            torch.cat([piece.prompt_mel for piece in pieces]),
            torch.stack([piece.left.lookahead for piece in pieces]),
            torch.stack([piece.left.upsampling for piece in pieces]),
            torch.stack([piece.left.condition for piece in pieces]),
        )
        return self._opening(given, lie)

    def _places(self, pieces: Sequence[Piece]) -> Tensor:
        """[frames], from each sequence's start."""
        starts = [piece.chunks_before * CHUNK_FRAMES for piece in pieces]
        places = torch.cat(
            [
                torch.arange(start, start + piece.length * FRAMES_PER_TOKEN)
                for piece, start in zip(pieces, starts, strict=True)
            ]
        )
        return places.to(self._device, non_blocking=True)
