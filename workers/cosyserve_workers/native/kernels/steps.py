"""From phase and pitch to CosyVoice3's source, in plain PyTorch: the twin of `steps_triton`, and who picks it."""

import math

import torch
from torch import Tensor

from cosyserve_workers.native.kernels.cards import has_kernels
from cosyserve_workers.native.kernels.excitation import AMPLITUDE, UNVOICED_NOISE, VOICED_ABOVE_HZ, VOICED_NOISE


class Steps:
    """Harmonics that stand still within a frame, and noise from a table. weight: [1, harmonics]; bias: [1]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        harmonics = torch.arange(1, weight.shape[1] + 1, dtype=torch.float64, device=weight.device)
        self._multiples = 2 * math.pi * harmonics
        self._weight = weight[0].double()
        self._bias = bias.float()

    @staticmethod
    def pick(weight: Tensor, bias: Tensor) -> "Steps":
        """The one that the weights' device runs best."""
        if not has_kernels(weight.device):
            return Steps(weight, bias)
        from cosyserve_workers.native.kernels.steps_triton import FusedSteps

        return FusedSteps(weight, bias)

    def make(self, f0: Tensor, turns: Tensor, table: Tensor, begins: Tensor) -> Tensor:
        """Mix tones and noise.

        f0: [b, t] float64, Hz. turns: the same, of the fundamental. table: [n, frame] float32. begins: [b] int64, lines
        of the table for the first frames, which may lie beyond its ends. Returns [b, frame t] float32.
        """
        waves = (turns.frac()[..., None] * self._multiples).sin_() @ self._weight
        voiced = f0 > VOICED_ABOVE_HZ
        tone = torch.where(voiced, AMPLITUDE * waves, 0.0).float() + self._bias
        level = torch.where(voiced, VOICED_NOISE, UNVOICED_NOISE)
        lines = begins[:, None] + torch.arange(f0.shape[1], device=f0.device)
        noise = table[lines.clamp_(0, len(table) - 1)]
        return torch.addcmul(tone[..., None], level[..., None], noise).tanh_().flatten(1)
