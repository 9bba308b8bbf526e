"""The short Fourier transform of the source, and the way back to sound, as products with a few rows of sines.

`torch.stft` and `torch.istft` do the same, but the latter waits for the device. A window of 16 samples is nine bins.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.kernels.snake import only
from cosyserve_workers.native.vocoder.ends import Ends


class Fourier:
    """Hann windows of `fft` samples, a quarter of that apart, centred, reflected beyond the ends."""

    def __init__(self, fft: int, device: torch.device) -> None:
        self._fft, self._hop = fft, fft // 4
        window = torch.hann_window(fft, periodic=True, dtype=torch.float64)
        turns = 2 * math.pi * torch.arange(fft // 2 + 1)[:, None] * torch.arange(fft) / fft
        waves = torch.cat([turns.cos(), -turns.sin()]) * window
        # But for the first and the last bin, each stands for its mirror image too.
        twice = torch.full((fft // 2 + 1, 1), 2.0, dtype=torch.float64)
        twice[0] = twice[-1] = 1.0
        self._forth = waves.float()[:, None].to(device)
        self._back = (waves * twice.repeat(2, 1) / fft).float()[:, None].to(device)
        self._overlap = window.square().float()[None, None].to(device)

    def spectrum(self, source: Tensor, ends: Ends) -> Tensor:
        """[b, n] to [b, fft + 2, n / hop + 1]: real parts, then imaginary ones."""
        return F.conv1d(ends.mirrored(source, self._fft // 2)[:, None], self._forth, stride=self._hop)

    def sound(self, magnitude: Tensor, phase: Tensor, closed: Tensor | None) -> Tensor:
        """Each [b, fft / 2 + 1, n + 1] to [b, n * hop]. closed: as `Ends.closed`. Overwrites magnitudes."""
        parts = (torch.stack([phase.cos(), phase.sin()], dim=1) * only(magnitude, closed)[:, None]).flatten(1, 2)
        closed = parts.new_ones(1, 1, parts.shape[-1]) if closed is None else closed.float()
        samples, weight = (
            F.conv_transpose1d(x, waves, stride=self._hop, padding=self._fft // 2)
            for x, waves in ((parts, self._back), (closed, self._overlap))
        )
        # Where there is no signal, there is nothing to divide by.
        return (samples / weight.clamp_(min=self._overlap[0, 0, self._hop])).squeeze(1)
