"""One solve of CosyVoice3's flow: chunks of many sequences from tokens to mel, each continued from what it carries."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.flow.dit import Dit, DitBatch, Near
from cosyserve_workers.native.flow.dit_sizes import DitSizes
from cosyserve_workers.native.flow.dit_state import ChunkedPast, DitCarry, chunk_shape
from cosyserve_workers.native.flow.euler import noise_at, noise_table, schedule, stepped
from cosyserve_workers.native.flow.layout import LEFT
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    FRAMES_PER_TOKEN,
    LOOKAHEAD_TOKENS,
    MEL_BINS,
)
from cosyserve_workers.native.flow.weights import Weights

_LOOKAHEAD_SLOPE = 0.01


@dataclass(frozen=True)
class DitPiece:
    """What one sequence solves: whole chunks, or at its end what is left, continued from a chunk's boundary."""

    carry: DitCarry
    tokens: Tensor
    """int64 [length + 3]: the three after the piece included, `DitSolver.absent` where there are none."""
    speaker: Tensor
    """[80]."""
    prompt_mel: Tensor
    """[frames, 80]: the voice's mel, zeros after its end."""
    keep: bool
    """Whether it will be carried on: it then is of whole chunks."""

    @property
    def length(self) -> int:
        """In tokens."""
        return self.tokens.shape[0] - LOOKAHEAD_TOKENS

    @property
    def start(self) -> int:
        """In frames from the prompt's start."""
        return len(self.carry.chunks) * CHUNK_FRAMES


class DitSolver:
    """The networks and the tables they need."""

    def __init__(self, weights: Weights, sizes: DitSizes, device: torch.device) -> None:
        self._sizes = sizes
        self._device = device
        self._dtype = weights.dtype
        embedding = weights.take("input_embedding.weight", sizes.vocabulary, MEL_BINS)
        self._embedding = torch.cat([embedding, embedding.new_zeros(1, MEL_BINS)])
        self.absent = sizes.vocabulary
        """The token id that stands for a look-ahead past the end."""
        lookahead = weights.under("pre_lookahead_layer")
        self._ahead = _take_convolution(lookahead, "conv1", sizes.lookahead_width, MEL_BINS, LOOKAHEAD_TOKENS + 1)
        self._back = _take_convolution(lookahead, "conv2", MEL_BINS, sizes.lookahead_width, LEFT + 1)
        times, self._spans = schedule()
        self._dit = Dit(weights, sizes, times)
        self._noise = noise_table(device)

    def solve(self, pieces: Sequence[DitPiece]) -> list[tuple[Tensor, DitCarry]]:
        """Solve all pieces as one batch.

        Returns:
            For each its mel, float32 [frames, 80], and what it carries on (of no meaning where it is not kept).
        """
        means, lookaheads = zip(*map(self._mean, pieces), strict=True)
        speakers = [piece.speaker.expand(len(mean), -1) for piece, mean in zip(pieces, means, strict=True)]
        prompts = torch.cat([piece.prompt_mel for piece in pieces])
        places = [torch.arange(len(mean)) + piece.start for piece, mean in zip(pieces, means, strict=True)]
        place = torch.cat(places).to(self._device)
        pasts = [ChunkedPast(piece.carry.chunks, self._fresh(piece)) for piece in pieces]
        batch = DitBatch(
            near=Near([len(mean) for mean in means], self._device),
            heard=self._dit.hear(torch.cat([prompts, torch.cat(means), torch.cat(speakers)], dim=1)),
            turns=self._dit.turns(place),
            pasts=pasts,
        )
        lefts = torch.stack([piece.carry.near for piece in pieces], dim=3)
        mel, lefts = self._integrate(noise_at(self._noise, place), lefts, batch)
        return [
            # Copies: a view would keep the whole batch in memory for as long as one of its streams lives.
            (mel[span], DitCarry(lookahead.clone(), lefts[:, :, :, index].clone(), piece.carry.chunks + past.fresh))
            for index, (piece, span, lookahead, past) in enumerate(
                zip(pieces, batch.near.places, lookaheads, pasts, strict=True)
            )
        ]

    def _integrate(self, mel: Tensor, lefts: Tensor, batch: DitBatch) -> tuple[Tensor, Tensor]:
        """From noise to mel, [frames, 80]. lefts: [steps, 2, rows, sequences, 30, width], returned as they are next."""
        remembered = []
        for step, span in enumerate(self._spans):
            velocity, left = self._dit.velocity(step, mel, lefts[step], batch)
            mel = stepped(mel, velocity, span)
            remembered.append(left)
        return mel, torch.stack(remembered)

    def _mean(self, piece: DitPiece) -> tuple[Tensor, Tensor]:
        """The look-ahead layer: [2 length, 80], and what it is to remember."""
        embedded = self._embedding[piece.tokens]
        ahead = functional.leaky_relu(functional.conv1d(embedded.t()[None], *self._ahead), _LOOKAHEAD_SLOPE)
        joined = torch.cat([piece.carry.lookahead.t()[None], ahead], dim=2)
        mean = functional.conv1d(joined, *self._back)[0].t() + embedded[: piece.length]
        return mean.repeat_interleave(FRAMES_PER_TOKEN, dim=0), joined[0, :, -LEFT:].t()

    def _fresh(self, piece: DitPiece) -> list[Tensor]:
        if not piece.keep:
            return []
        shape = chunk_shape(self._sizes)
        return [torch.empty(shape, device=self._device, dtype=self._dtype) for _ in range(piece.length // CHUNK_TOKENS)]


def _take_convolution(weights: Weights, name: str, outputs: int, inputs: int, taps: int) -> tuple[Tensor, Tensor]:
    return weights.take(f"{name}.weight", outputs, inputs, taps), weights.take(f"{name}.bias", outputs)
