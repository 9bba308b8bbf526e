"""The excitation of CosyVoice3's vocoder: nine harmonics that move by whole frames, and noise from one fixed table.

After upstream's SineGen2 with `causal=True`. A harmonic's phase stands still within a frame of mel. There it is a
float32 sum over the whole, off by up to 0.02 of a ninth harmonic's sine after 20 s; here a float64, carried modulo one
turn. The noise lies in [0, 1), depends on a sample's place in its segment alone, and is the same in every segment: no
seed changes it.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, HiftWeights

FRAME_RATE = 50
AMPLITUDE = 0.1
VOICED_NOISE = 0.003
UNVOICED_NOISE = AMPLITUDE / 3
VOICED_ABOVE_HZ = 10.0

_FLOW_NOISE = 80 * 15000
_FLOW_EMBEDDING, _FLOW_SPEAKER = 6561 * 80, (192, 80)
_BLOCK_FRAMES = 250
"""What is drawn at a time: nine numbers a sample, of which one is kept."""


class FixedNoise:
    """Upstream's table, which is in no checkpoint: what its generator gives after all that it draws before.

    weight: [1, harmonics] of the mixing layer. All harmonics have one level, so their noise is mixed once, and a number
    a sample is kept. pitch_layers: of the pitch network's convolutions (inputs, outputs, taps), then the linear layer.
    """

    def __init__(self, weight: Tensor, pitch_layers: list[tuple[int, int, int]]) -> None:
        self._weight = weight.double().cpu()
        self._rows = rows(pitch_layers, weight.shape[1])
        self._device = weight.device
        self._mixed = torch.zeros(0, SAMPLES_PER_FRAME, device=self._device)

    def between(self, start: int, end: int) -> Tensor:
        """The mixed noise in these frames of a segment: [end - start, 480] float32."""
        self.reserve(end)
        return self._mixed[start:end]

    def reserve(self, frames: int) -> None:
        """Draw as far as segments of so many frames need: 15 ms for a second of sound."""
        missing = frames - len(self._mixed)
        if missing > 0:
            drawn = [self._next() for _ in range(-(-missing // _BLOCK_FRAMES))]
            self._mixed = torch.cat([self._mixed, *drawn])

    def _next(self) -> Tensor:
        mixed = next(self._rows).double() @ self._weight.t()
        return mixed.float().view(_BLOCK_FRAMES, SAMPLES_PER_FRAME).to(self._device)


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


class SteppedSource:
    """Makes the source from pitch. bias: [1] of the mixing layer, whose weight `noise` was mixed with."""

    def __init__(self, weight: Tensor, bias: Tensor, noise: FixedNoise) -> None:
        self._weight = weight.double()
        self._bias = bias.float()
        self._multiples = torch.arange(1, weight.shape[1] + 1, dtype=torch.float64, device=weight.device)
        self._noise = noise

    @classmethod
    def of(cls, weights: HiftWeights) -> "SteppedSource":
        """The one of a vocoder's weights."""
        weight, bias = (weights.tensor(f"m_source.l_linear.{name}").float() for name in ("weight", "bias"))
        shapes = [weights.convolution(f"f0_predictor.condnet.{2 * index}").weight.shape for index in range(5)]
        layers = [(inputs, outputs, taps) for outputs, inputs, taps in shapes]
        return cls(weight, bias, FixedNoise(weight, [*layers, (layers[-1][1], 1, 1)]))

    def reserve(self, frames: int) -> None:
        """Have the noise ready for segments of so many frames."""
        self._noise.reserve(frames)

    def make(self, f0: Tensor, turns: Tensor | float, start: int) -> tuple[Tensor, Tensor | float]:
        """Continue a segment: f0, [t] Hz, of its frames from `start` on.

        turns: the fundamental's phase before them, mod 1: 0, or what the last call gave. Returns [480 t] float32 and
        the phase after them.
        """
        # A frame moves harmonic k by k f0 480 / 24000 turns.
        phases = (turns + torch.cumsum(f0.double() / FRAME_RATE, 0)).frac()
        sines = torch.sin(2 * math.pi * (phases[:, None] * self._multiples).frac())
        voiced = f0 > VOICED_ABOVE_HZ
        tone = torch.where(voiced, AMPLITUDE * (sines @ self._weight[0]), 0.0).float()
        level = torch.where(voiced, VOICED_NOISE, UNVOICED_NOISE)
        noise = self._noise.between(start, start + len(f0))
        source = torch.tanh(tone[:, None] + level[:, None] * noise + self._bias)
        return source.flatten(), phases[-1] if len(f0) else turns
