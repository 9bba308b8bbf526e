"""The excitation of CosyVoice3's vocoder: nine harmonics that move by whole frames, and noise from one fixed table.

After upstream's SineGen2 with `causal=True`. A harmonic's phase stands still within a frame of mel. There it is a
float32 sum over the whole, off by up to 0.02 of a ninth harmonic's sine after 20 s; here a float64, carried modulo one
turn. The noise lies in [0, 1), depends on a sample's place in its segment alone, and is the same in every segment: no
seed changes it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from cosyserve_workers.native.kernels.steps import Steps
from cosyserve_workers.native.vocoder.pitch import LAYERS
from cosyserve_workers.native.vocoder.source import Places, Source
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, HiftWeights

FRAME_RATE = 50
MOST_FRAMES = 20_000
"""Of a segment: the longest one, 96 s, has 19,200 at a quarter of its pace."""
_FLOW_NOISE = 80 * 15000
_FLOW_EMBEDDING, _FLOW_SPEAKER = 6561 * 80, (192, 80)
_BLOCK_FRAMES = 250
"""What is drawn at a time: nine numbers a sample, of which one is kept."""


class FixedNoise:
    """Upstream's table, which is in no checkpoint: what its generator gives after all that it draws before.

    weight: [1, harmonics] of the mixing layer. All harmonics have one level, so their noise is mixed once, and a number
    a sample is kept. pitch_layers: of the pitch network's convolutions (inputs, outputs, taps), then the linear layer.
    It lies in one place, where graphs read it, and is filled as far as it is needed.
    """

    def __init__(self, weight: Tensor, pitch_layers: list[tuple[int, int, int]]) -> None:
        self._weight = weight.double().cpu()
        self._rows = rows(pitch_layers, weight.shape[1])
        self.mixed = torch.zeros(MOST_FRAMES, SAMPLES_PER_FRAME, device=weight.device)
        """[frames, 480] float32, nought where nothing was reserved."""
        self._drawn = 0

    def reserve(self, frames: int) -> None:
        """Draw as far as segments of so many frames need: 15 ms for a second of sound."""
        while self._drawn < min(frames, MOST_FRAMES):
            mixed = next(self._rows).double() @ self._weight.t()
            block = mixed.float().view(_BLOCK_FRAMES, SAMPLES_PER_FRAME)
            self.mixed[self._drawn : self._drawn + _BLOCK_FRAMES] = block.to(self.mixed.device)
            self._drawn += _BLOCK_FRAMES


def rows(pitch_layers: list[tuple[int, int, int]], harmonics: int) -> Iterator[Tensor]:
    """Yield upstream's table in parts of 250 frames: [120000, harmonics] float32 in [0, 1).

    Its process seeds the generator for the flow's noise, draws the first weights of the flow's last layers and of the
    pitch network (they are loaded over), phases that have no effect, then the table.
    """
    generator = torch.Generator().manual_seed(0)
    torch.empty(_FLOW_NOISE).normal_(generator=generator)
    torch.empty(_FLOW_EMBEDDING).normal_(generator=generator)
    for inputs, outputs, taps in ((*_FLOW_SPEAKER, 1), *pitch_layers):
        torch.empty(outputs * inputs * taps).uniform_(generator=generator)
        torch.empty(outputs).uniform_(generator=generator)
    torch.empty(harmonics).uniform_(generator=generator)
    while True:
        yield torch.empty(_BLOCK_FRAMES * SAMPLES_PER_FRAME, harmonics).uniform_(generator=generator)


class SteppedSource(Source):
    """bias: [1] of the mixing layer, whose weight, [1, harmonics], `noise` was mixed with."""

    def __init__(self, weight: Tensor, bias: Tensor, noise: FixedNoise) -> None:
        self._steps = Steps.pick(weight, bias)
        self._noise = noise

    @classmethod
    def of(cls, weights: HiftWeights) -> "SteppedSource":
        """The one of a vocoder's weights."""
        weight, bias = (weights.tensor(f"m_source.l_linear.{name}") for name in ("weight", "bias"))
        shapes = [weights.convolution(name).weight.shape for name in LAYERS]
        layers = [(inputs, outputs, taps) for outputs, inputs, taps in shapes]
        return cls(weight, bias, FixedNoise(weight, [*layers, (layers[-1][1], 1, 1)]))

    def noise_place(self, key: int, frame: int) -> int:
        """As `Source`: the same for every key."""
        del key
        return frame

    def reserve(self, frames: int) -> None:
        """As `Source`."""
        self._noise.reserve(frames)

    def make(self, f0: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """As `Source`."""
        # A frame moves harmonic k by k f0 480 / 24000 turns, and there it stands.
        turns = torch.cat([places.turns[:, None], f0 / FRAME_RATE], dim=1).cumsum(1)
        return self._steps.make(f0, turns[:, 1:], self._noise.mixed, places.noise), turns
