"""From phase and pitch to a vocoder's source, in plain PyTorch: the twin of `excitation_triton`, and who picks it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.kernels.cards import has_kernels
from cosyserve_workers.native.kernels.noise import Noise

AMPLITUDE = 0.1
VOICED_NOISE = 0.003
UNVOICED_NOISE = AMPLITUDE / 3
VOICED_ABOVE_HZ = 10.0


class Phase(NamedTuple):
    """Of frames, [b, t] float64 each. f0: Hz. centres: of the fundamental at a frame's centre, in turns by sample.

    before, after: how far it goes from the last frame's centre to this one's, and from this one's to the next one's.
    """

    f0: Tensor
    centres: Tensor
    before: Tensor
    after: Tensor


class Excitation:
    """Harmonics where there is pitch, noise where there is none. weight: [1, harmonics]; bias: [1]: the mixture."""

    def __init__(self, weight: Tensor, bias: Tensor, frame: int) -> None:
        """frame: samples in one."""
        device, harmonics = weight.device, weight.shape[1]
        self.noise = Noise(harmonics, device)
        self._frame = frame
        self._weight = weight.double()
        self._bias = bias.float()
        self._multiples = (2 * math.pi * torch.arange(1, harmonics + 1, dtype=torch.float64))[:, None].to(device)
        offsets = (torch.arange(frame, dtype=torch.float64) + 0.5) / frame - 0.5
        self._before, self._after = offsets.clamp(max=0).to(device), offsets.clamp(min=0).to(device)

    @staticmethod
    def pick(weight: Tensor, bias: Tensor, frame: int) -> "Excitation":
        """The one that the weights' device runs best."""
        if not has_kernels(weight.device):
            return Excitation(weight, bias, frame)
        from cosyserve_workers.native.kernels.excitation_triton import FusedExcitation

        return FusedExcitation(weight, bias, frame)

    def make(self, phase: Phase, noise: Tensor) -> Tensor:
        """noise: [b] int64, places of the first frames. Returns [b, samples] float32."""
        voiced = (phase.f0 > VOICED_ABOVE_HZ).double()[..., None]
        level = voiced * (VOICED_NOISE - UNVOICED_NOISE) + UNVOICED_NOISE
        waves = self._harmonics(phase) * voiced
        drawn = self._mixed(self.noise.draw(noise, phase.f0.shape[1] * self._frame))
        mixed = torch.addcmul(waves, level, drawn.view_as(waves)).float()
        return mixed.add_(self._bias).tanh_().flatten(1)

    def _harmonics(self, phase: Phase) -> Tensor:
        """[b, t, frame]: samples in a frame times turns, exact modulo one turn, harmonic by harmonic."""
        turns = torch.addcmul(phase.centres[..., None], phase.before[..., None], self._before)
        turns = turns.addcmul_(phase.after[..., None], self._after).mul_(self._frame).frac_()
        sines = (turns.flatten(1)[:, None] * self._multiples).sin_()
        return self._mixed(sines).mul_(AMPLITUDE).view_as(turns)

    def _mixed(self, waves: Tensor) -> Tensor:
        """[b, harmonics, n] to [b, n]."""
        return torch.matmul(self._weight, waves).squeeze(1)
