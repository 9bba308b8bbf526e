"""CosyVoice3's vocoder written down plainly: float64, one pass, no state. What ours is held against."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

UPSAMPLING, SOURCE_STRIDES = (8, 5, 3), (15, 3, 1)
SAMPLES_PER_FRAME, RATE = 480, 24000
FFT, HOP = 16, 4


class VocoderReference:
    """state: of `hift.pt`."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = {name: tensor.double() for name, tensor in state.items()}
        self._window = torch.hann_window(FFT, periodic=True, dtype=torch.float64)

    def sound(self, mel: Tensor, noise: Tensor) -> Tensor:
        """[80, t] and the table's [480 t, 9] to [480 t]."""
        return self.decode(mel, self.source(self.pitch(mel), noise))

    def pitch(self, mel: Tensor) -> Tensor:
        """[80, t] to f0 in Hz, [t], rounded to float32: each frame sees three to come, and eight before it."""
        x = functional.elu(self._convolve("f0_predictor.condnet.0", mel.double(), right=3))
        for layer in (2, 4, 6, 8):
            x = functional.elu(self._convolve(f"f0_predictor.condnet.{layer}", x))
        name = "f0_predictor.classifier"
        f0 = functional.linear(x.t(), self._state[f"{name}.weight"], self._state[f"{name}.bias"])
        return f0[:, 0].abs().float().double()

    def source(self, f0: Tensor, noise: Tensor) -> Tensor:
        """[t], [480 t, 9] -> [480 t]. A harmonic's phase moves by whole frames: within one it stands still."""
        multiples = torch.arange(1, 10, dtype=torch.float64)
        turns = ((f0[:, None] * multiples / RATE) % 1).cumsum(dim=0) * SAMPLES_PER_FRAME
        waves = 0.1 * torch.sin(2 * math.pi * (turns % 1))
        voiced = (f0 > 10).double()[:, None]
        waves, level = waves * voiced, voiced * 0.003 + (1 - voiced) * 0.1 / 3
        waves, level = (x.repeat_interleave(SAMPLES_PER_FRAME, dim=0) for x in (waves, level))
        mixed = (waves + level * noise) @ self._state["m_source.l_linear.weight"].t()
        return torch.tanh(mixed + self._state["m_source.l_linear.bias"])[:, 0]

    def decode(self, mel: Tensor, source: Tensor) -> Tensor:
        """[80, t], [480 t] -> [480 t]."""
        x = self.spectrum(mel, source)
        lines = FFT // 2 + 1
        spectrum = torch.polar(x[:lines].exp().clamp(max=100), x[lines:].sin())
        return torch.istft(spectrum, FFT, HOP, window=self._window).clamp(-0.99, 0.99)

    def spectrum(self, mel: Tensor, source: Tensor) -> Tensor:
        """The same up to the last convolution: log-magnitudes and phases, [18, 120 t + 1]."""
        heard = torch.stft(source, FFT, HOP, window=self._window, return_complex=True)
        heard = torch.cat([heard.real, heard.imag])
        x = self._convolve("conv_pre", mel.double(), right=4)
        for stage, (factor, stride) in enumerate(zip(UPSAMPLING, SOURCE_STRIDES, strict=True)):
            x = functional.leaky_relu(x, 0.1).repeat_interleave(factor, dim=1)
            x = self._convolve(f"ups.{stage}", x)
            if stage == len(UPSAMPLING) - 1:
                x = torch.cat([x[:, 1:2], x], dim=1)
            down = functional.conv1d(
                functional.pad(heard, (stride - 1, 0)),
                self._state[f"source_downs.{stage}.weight"],
                self._state[f"source_downs.{stage}.bias"],
                stride,
            )
            x = x + self._residual(f"source_resblocks.{stage}", down)
            x = torch.stack([self._residual(f"resblocks.{3 * stage + branch}", x) for branch in range(3)]).mean(dim=0)
        return self._convolve("conv_post", functional.leaky_relu(x, 0.01))

    def _residual(self, name: str, x: Tensor) -> Tensor:
        for index, dilation in enumerate((1, 3, 5)):
            inner = self._snake(f"{name}.activations1.{index}", x)
            inner = self._convolve(f"{name}.convs1.{index}", inner, dilation=dilation)
            inner = self._snake(f"{name}.activations2.{index}", inner)
            x = x + self._convolve(f"{name}.convs2.{index}", inner)
        return x

    def _snake(self, name: str, x: Tensor) -> Tensor:
        alpha = self._state[f"{name}.alpha"][:, None]
        return x + torch.sin(alpha * x) ** 2 / (alpha + 1e-9)

    def _convolve(self, name: str, x: Tensor, dilation: int = 1, right: int = 0) -> Tensor:
        """As many frames as there were: each sees those before it, or `right` to come. Zeros stand for the others."""
        gain = self._state[f"{name}.parametrizations.weight.original0"]
        direction = self._state[f"{name}.parametrizations.weight.original1"]
        weight = gain * direction / direction.flatten(1).norm(dim=1)[:, None, None]
        reach = (weight.shape[2] - 1) * dilation
        x = functional.pad(x, (0, right) if right else (reach, 0))
        return functional.conv1d(x, weight, self._state[f"{name}.bias"], dilation=dilation)
