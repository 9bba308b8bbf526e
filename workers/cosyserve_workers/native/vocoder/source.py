"""HiFT's excitation: nine harmonics of the pitch where it is voiced, noise where it is not.

Upstream's SourceModuleHnNSF2 at 24 kHz, made exact and streaming. There the phase is a float32 cumulative sum over the
whole utterance, off by 0.05 rad on the ninth harmonic after 20 s; here it is a float64 carried modulo one turn. There
the noise comes from the process's generator; here it is numbered by the stream's samples, so that it does not depend on
how the stream was cut, or on the device. Upstream's random initial phase of the overtones is drawn at a sample that its
downsampling skips, and so has no effect: here it is left out.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.vocoder.noise import Noise, key_of
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, HiftWeights

SAMPLE_RATE = 24_000
AMPLITUDE = 0.1
VOICED_NOISE = 0.003
UNVOICED_NOISE = AMPLITUDE / 3
VOICED_ABOVE_HZ = 10.0


class Places(NamedTuple):
    """Where in their streams some stretches begin.

    turns: [b] float64, phase of the fundamental, mod 1, before the first frame's own step. frames: [b] int64, that
    frame's number. noise: [b] int64, as `HarmonicSource.noise_place` says.
    """

    turns: Tensor
    frames: Tensor
    noise: Tensor


class HarmonicSource:
    """Makes the source from pitch. weight: [1, harmonics]; bias: [1]: the mixing layer."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        device, harmonics = weight.device, weight.shape[1]
        self._weight = weight.double()
        self._bias = bias.float()
        self._noise = Noise(harmonics, device)
        self._multiples = (2 * math.pi * torch.arange(1, harmonics + 1, dtype=torch.float64))[:, None].to(device)
        offsets = (torch.arange(SAMPLES_PER_FRAME, dtype=torch.float64) + 0.5) / SAMPLES_PER_FRAME - 0.5
        self._before, self._after = offsets.clamp(max=0).to(device), offsets.clamp(min=0).to(device)

    @classmethod
    def of(cls, weights: HiftWeights) -> "HarmonicSource":
        """The one of a vocoder's weights."""
        return cls(weights.tensor("m_source.l_linear.weight"), weights.tensor("m_source.l_linear.bias"))

    def noise_place(self, key: int, frame: int) -> int:
        """Where the noise of a frame lies, for a stream with this key."""
        return self._noise.place(key, frame * SAMPLES_PER_FRAME)

    def whole(self, f0: Tensor, seed: int) -> Tensor:
        """[t] Hz, a whole stream's, to [480 t] float32."""
        begins = torch.zeros(1, dtype=torch.int64, device=f0.device)
        noise = torch.full_like(begins, self.noise_place(key_of(seed), 0))
        return self.make(f0[None], Places(begins.double(), begins, noise))[0][0]

    def make(self, f0: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """f0: [b, t] Hz, 0 beyond the ends. Returns [b, 480 t] float32, and turns before each frame and after the last.

        The second half of the last frame is what it is if nothing follows.
        """
        steps = f0.double() / SAMPLE_RATE
        turns = torch.cat([places.turns[:, None], steps], dim=1).cumsum(1)
        voiced = (f0 > VOICED_ABOVE_HZ).double()[..., None]
        level = voiced * (VOICED_NOISE - UNVOICED_NOISE) + UNVOICED_NOISE
        waves = self._harmonics(self._between_centres(turns[:, 1:], steps, places.frames)) * voiced
        noise = self._mixed(self._noise.draw(places.noise, f0.shape[1] * SAMPLES_PER_FRAME))
        mixed = torch.addcmul(waves, level, noise.view_as(waves)).float()
        return mixed.add_(self._bias).tanh_().flatten(1), turns

    def _between_centres(self, centres: Tensor, steps: Tensor, frames: Tensor) -> Tensor:
        """[b, t, 480]: phase over 480, linear between frame centres, flat before the first and after the last."""
        first = frames[:, None] + torch.arange(steps.shape[1], device=steps.device)
        before = steps.masked_fill(first == 0, 0.0)[..., None]
        after = F.pad(steps[:, 1:], (0, 1))[..., None]
        return torch.addcmul(centres[..., None], before, self._before).addcmul_(after, self._after)

    def _harmonics(self, phase: Tensor) -> Tensor:
        """Samples in a frame times turns: exact modulo one turn, harmonic by harmonic."""
        turns = (phase * SAMPLES_PER_FRAME).frac_()
        sines = (turns.flatten(1)[:, None] * self._multiples).sin_()
        return self._mixed(sines).mul_(AMPLITUDE).view_as(phase)

    def _mixed(self, waves: Tensor) -> Tensor:
        """[b, harmonics, n] to [b, n]."""
        return torch.matmul(self._weight, waves).squeeze(1)
