"""One solve: chunks of many sequences from tokens to mel, each continued from what it carries.

The same for both models: CosyVoice2's estimator is a U-Net behind a Conformer, CosyVoice3's a transformer.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import CudaRecorder
from cosyserve_workers.native.flow.attention import Attention, Gathered, Paged
from cosyserve_workers.native.flow.encoder import Behind, EncoderLeft, RowsBehind
from cosyserve_workers.native.flow.estimator import Batch, Left
from cosyserve_workers.native.flow.estimator_graphs import EstimatorGraphs, Stepper
from cosyserve_workers.native.flow.estimator_lanes import EstimatorLanes
from cosyserve_workers.native.flow.euler import noise_at, noise_table, schedule, stepped
from cosyserve_workers.native.flow.first_step import FirstStep
from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.memory import Chunk, KeysValues, Lefts, PagePool
from cosyserve_workers.native.flow.parts import AnySizes, parts_of
from cosyserve_workers.native.flow.pieces import Piece
from cosyserve_workers.native.flow.rows import Rows, idle_piece
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    CONDITION_CHANNELS,
    EULER_STEPS,
    FRAMES_PER_TOKEN,
    MEL_BINS,
)
from cosyserve_workers.native.flow.weights import Weights
from cosyserve_workers.native.kernels.choice import Attend, kernels_for
from cosyserve_workers.native.lanes import Lanes

_TRIAL_CHUNKS = 4
"""Behind a step that is timed: a prompt of four seconds."""


class _Behind(NamedTuple):
    """How a solve's pieces lie, and what is behind them: at both rates of the encoder, and at an Euler step."""

    by_token: Layout
    by_frame: Layout
    places: Tensor
    """int64 [frames]: how far from its sequence's start each is."""
    tokens: Behind
    frames: Behind
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
        self._sizes = sizes
        self._first: FirstStep | None = None
        self._steppers: list[Stepper]
        """Who takes each Euler step."""
        if device.type == "cuda":
            self._steppers = [EstimatorGraphs(self._estimator, CudaRecorder())] * EULER_STEPS
        else:
            any_step = EstimatorLanes(self._estimator, lanes)
            self._first = FirstStep(self._estimator, sizes, self._noise.to(weights.dtype), any_step)
            self._steppers = [self._first, *[any_step] * (EULER_STEPS - 1)]

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
        if self._kernels.attend is None or self._pool.slab is None:
            return self._solve(pieces, self._gathering(pieces))
        cut = [chunk for piece in pieces for chunk in piece.chunk_by_chunk(self.absent)]
        rows = Rows(cut, self.absent, self._pool.nothing)
        return rows.joined(self._solve(rows.pieces, self._in_rows(rows, self._kernels.attend, self._pool.slab)))

    def _gathering(self, pieces: Sequence[Piece]) -> _Behind:
        by_frame = Layout([piece.length * FRAMES_PER_TOKEN for piece in pieces], self._device)
        return _Behind(
            Layout([piece.length for piece in pieces], self._device),
            by_frame,
            self._places(pieces),
            [piece.keys_values(lambda page: page.chunk.tokens) for piece in pieces],
            [piece.keys_values(lambda page: page.chunk.frames) for piece in pieces],
            lambda step: Gathered(by_frame, [piece.step(step) for piece in pieces], self._sizes.heads),
        )

    def _in_rows(self, rows: Rows, attend: Attend, slab: Chunk) -> _Behind:
        tokens, frames, steps = rows.pages(slab, self._device)
        count, follows = len(rows.pieces), rows.follows
        return _Behind(
            Layout([CHUNK_TOKENS] * count, self._device, follows),
            Layout([CHUNK_FRAMES] * count, self._device, follows),
            self._places(rows.pieces),
            RowsBehind(attend, tokens),
            RowsBehind(attend, frames),
            lambda step: Paged(attend, steps[step], self._sizes.heads),
        )

    def _solve(self, pieces: Sequence[Piece], behind: _Behind) -> list[Tensor]:
        by_frame = behind.by_frame
        mean, encoder_left = self._encode(pieces, behind)
        speaker = torch.cat([piece.speaker.expand(len(piece.prompt_mel), -1) for piece in pieces])
        condition = torch.cat([mean, speaker, torch.cat([piece.prompt_mel for piece in pieces])], dim=1)
        heard, condition_left = self._estimator.hear(
            condition, torch.stack([piece.left.condition for piece in pieces]), by_frame
        )
        mel_lefts = torch.stack([piece.left.mel for piece in pieces], dim=1)
        lefts = torch.stack([piece.left.convolutions for piece in pieces], dim=2)
        mel = noise_at(self._noise, behind.places)
        new_lefts = []
        for step in range(EULER_STEPS):
            velocity, left = self._steppers[step].velocity(
                self._estimator.time_shifts[step],
                mel.to(mean.dtype),
                Left(mel_lefts[step], lefts[step]),
                Batch(by_frame, behind.places, heard, behind.step(step)),
            )
            mel = stepped(mel, velocity.float(), self._spans[step])
            new_lefts.append(left)
        mel_lefts = torch.stack([left.mel for left in new_lefts])
        lefts = torch.stack([left.others for left in new_lefts])
        for index, piece in enumerate(pieces):
            if piece.fresh:
                piece.leave(
                    Lefts(
                        encoder_left.lookahead[index],
                        encoder_left.upsampling[index],
                        condition_left[index],
                        mel_lefts[:, index],
                        lefts[:, :, index],
                    )
                )
        return [mel[place] for place in by_frame.places]

    @torch.inference_mode()
    def trial(self, streams: int) -> Callable[[], object]:
        """One Euler step of so many streams, each of a chunk behind some others, all from nought."""
        layout, attention = self._trial_rows(streams) or self._trial_gathering(streams)
        count, nothing = len(layout.lengths), self._pool.nothing
        left = Left(torch.stack([nothing.mel[0]] * count), torch.stack([nothing.convolutions[0]] * count, dim=1))
        condition = nothing.condition.new_zeros(layout.total, CONDITION_CHANNELS)
        heard, _ = self._estimator.hear(condition, torch.stack([nothing.condition] * count), layout)
        batch = Batch(layout, torch.arange(layout.total, device=self._device), heard, attention)
        mel = condition.new_zeros(layout.total, MEL_BINS)
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
        past = self._pool.take(1) * _TRIAL_CHUNKS
        piece = replace(idle_piece(self._pool.nothing, self.absent), past=past)
        rows = Rows([piece] * streams, self.absent, self._pool.nothing)
        behind = self._in_rows(rows, self._kernels.attend, self._pool.slab)
        return behind.by_frame, behind.step(EULER_STEPS - 1)

    def _encode(self, pieces: Sequence[Piece], behind: _Behind) -> tuple[Tensor, EncoderLeft]:
        """The mean mel [frames, 80], and what the encoder's convolutions remember."""
        self.reserve(max(piece.chunks_before * CHUNK_TOKENS + piece.length for piece in pieces))
        left = EncoderLeft(
            torch.stack([piece.left.lookahead for piece in pieces]),
            torch.stack([piece.left.upsampling for piece in pieces]),
        )
        tokens = torch.cat([piece.tokens for piece in pieces])
        return self._encoder(tokens, (behind.by_token, behind.by_frame), left, (behind.tokens, behind.frames))

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
