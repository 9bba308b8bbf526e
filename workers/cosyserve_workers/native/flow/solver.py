"""One solve: chunks of many sequences from tokens to mel, each continued from what it carries.

After `ConditionalCFM.solve_euler` of CosyVoice2: ten Euler steps on a cosine schedule, classifier-free guidance, noise
from one table by position.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import CudaRecorder
from cosyserve_workers.native.flow.encoder import Encoder, EncoderLeft
from cosyserve_workers.native.flow.estimator import Batch, Estimator, Left
from cosyserve_workers.native.flow.estimator_graphs import EstimatorGraphs, Stepper
from cosyserve_workers.native.flow.estimator_lanes import EstimatorLanes
from cosyserve_workers.native.flow.first_step import FirstStep
from cosyserve_workers.native.flow.layout import LEFT, Layout
from cosyserve_workers.native.flow.memory import KeysValues, Lefts, Page, estimator_step_shape
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    CONDITION_CHANNELS,
    EULER_STEPS,
    FRAMES_PER_TOKEN,
    GUIDANCE_ROWS,
    LOOKAHEAD_TOKENS,
    MEL_BINS,
    FlowSizes,
)
from cosyserve_workers.native.flow.weights import Weights
from cosyserve_workers.native.lanes import Lanes

_GUIDANCE = 0.7
_NOISE_FRAMES = 50 * 300
_TRIAL_CHUNKS = 4
"""Behind a step that is timed: a prompt of four seconds."""


@dataclass(frozen=True)
class Piece:
    """What one sequence solves: whole chunks, or at its end what is left, continued from a chunk's boundary."""

    past: tuple[Page, ...]
    """What it continues from, a page for each chunk behind."""
    left: Lefts
    """At the end of those."""
    tokens: Tensor
    """int64 [length + 3]: the three after the piece included, `absent` where there are none."""
    speaker: Tensor
    """[80]."""
    prompt_mel: Tensor
    """[frames, 80]: the voice's mel, zeros after its end."""
    fresh: tuple[Page, ...]
    """Pages to fill, one for each chunk; none if nothing will be carried on."""

    @property
    def length(self) -> int:
        """In tokens."""
        return self.tokens.shape[0] - LOOKAHEAD_TOKENS

    def keys_values(self, part: Callable[[Page], Tensor]) -> KeysValues:
        """Some layers' of its pages."""
        return KeysValues([part(page) for page in self.past], [part(page) for page in self.fresh])

    def step(self, step: int) -> KeysValues:
        """The estimator's at an Euler step."""
        return self.keys_values(lambda page: page.chunk.estimator[step])

    def leave(self, left: Lefts) -> None:
        """Put down what who continues looks back to."""
        for place, tensor in zip(self.fresh[-1].chunk.lefts, left, strict=True):
            place.copy_(tensor)


class Solver:
    """The networks and the tables they need. lanes: where the guidance rows may be solved, on a CPU."""

    def __init__(self, weights: Weights, sizes: FlowSizes, device: torch.device, lanes: Lanes) -> None:
        times, self._spans = _schedule()
        self._encoder = Encoder(weights, sizes)
        self._estimator = Estimator(weights, sizes, times)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn((1, MEL_BINS, _NOISE_FRAMES), generator=generator)
        self._noise = noise[0].t().contiguous().to(device)
        self._device = device
        self._sizes = sizes
        self._first: FirstStep | None = None
        self._steppers: list[Stepper]
        """Who takes each Euler step."""
        if device.type == "cuda":
            self._steppers = [EstimatorGraphs(self._estimator, sizes, CudaRecorder())] * EULER_STEPS
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

        Of what convolutions look back to, a piece's last page alone has any.
        """
        by_token = Layout([piece.length for piece in pieces], self._device)
        by_frame = Layout([piece.length * FRAMES_PER_TOKEN for piece in pieces], self._device)
        mean, encoder_left = self._encode(pieces, by_token, by_frame)
        speaker = torch.cat([piece.speaker.expand(len(piece.prompt_mel), -1) for piece in pieces])
        condition = torch.cat([mean, speaker, torch.cat([piece.prompt_mel for piece in pieces])], dim=1)
        heard, condition_left = self._estimator.hear(
            condition, torch.stack([piece.left.condition for piece in pieces]), by_frame
        )
        mel_lefts = torch.stack([piece.left.mel for piece in pieces], dim=1)
        lefts = torch.stack([piece.left.convolutions for piece in pieces], dim=2)
        mel = self._starting_noise(pieces)
        new_lefts = []
        for step in range(EULER_STEPS):
            memories = [piece.step(step) for piece in pieces]
            velocity, left = self._steppers[step].velocity(
                self._estimator.time_shifts[step],
                mel.to(mean.dtype),
                Left(mel_lefts[step], lefts[step]),
                Batch(by_frame, heard, memories),
            )
            guided, free = velocity.float().unbind(0)
            mel = mel + self._spans[step] * ((1 + _GUIDANCE) * guided - _GUIDANCE * free)
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
        sizes, dtype = self._sizes, self._estimator.time_shifts.dtype

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, device=self._device, dtype=dtype)

        layout = Layout([CHUNK_FRAMES] * streams, self._device)
        left = Left(zeros(streams, LEFT, MEL_BINS), zeros(GUIDANCE_ROWS, streams, LEFT, sizes.convolution_channels))
        chunk = zeros(*estimator_step_shape(sizes))
        memories = [KeysValues([chunk] * _TRIAL_CHUNKS, []) for _ in range(streams)]
        heard, _ = self._estimator.hear(
            zeros(layout.total, CONDITION_CHANNELS), zeros(streams, LEFT, CONDITION_CHANNELS), layout
        )
        batch = Batch(layout, heard, memories)
        mel = zeros(layout.total, MEL_BINS)
        return lambda: self._steppers[-1].velocity(self._estimator.time_shifts[-1], mel, left, batch)

    def _encode(self, pieces: Sequence[Piece], by_token: Layout, by_frame: Layout) -> tuple[Tensor, EncoderLeft]:
        """The mean mel [frames, 80], and what the encoder's convolutions remember."""
        self.reserve(max(len(piece.past) * CHUNK_TOKENS + piece.length for piece in pieces))
        left = EncoderLeft(
            torch.stack([piece.left.lookahead for piece in pieces]),
            torch.stack([piece.left.upsampling for piece in pieces]),
        )
        memories = [
            (piece.keys_values(lambda page: page.chunk.tokens), piece.keys_values(lambda page: page.chunk.frames))
            for piece in pieces
        ]
        return self._encoder(torch.cat([piece.tokens for piece in pieces]), (by_token, by_frame), left, memories)

    def _starting_noise(self, pieces: Sequence[Piece]) -> Tensor:
        """[frames, 80]. Past the table's five minutes, where the library fails, it begins anew."""
        spans = []
        for piece in pieces:
            start = len(piece.past) * CHUNK_FRAMES
            places = torch.arange(start, start + piece.length * FRAMES_PER_TOKEN, device=self._device)
            spans.append(self._noise[places % _NOISE_FRAMES])
        return torch.cat(spans)


def _schedule() -> tuple[Tensor, list[float]]:
    """The time at each Euler step, float32 [steps], and how far each step goes, rounded as the library rounds."""
    ends = 1 - torch.cos(torch.linspace(0, 1, EULER_STEPS + 1) * 0.5 * torch.pi)
    time, times, spans = ends[0], [], []
    for end in ends[1:]:
        span = end - time
        times.append(time)
        spans.append(float(span))
        time = time + span
    return torch.stack(times), spans
