"""HiFT's network: mel to pitch, and mel with a source signal to audio. Stateless; `stream.py` cuts it into pieces."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.vocoder.reach import Span, StageReach, frames_around
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, Convolution, HiftWeights

SLOPE, LAST_SLOPE = 0.1, 0.01
"""Leaky ReLU's: between stages, and before the last convolution (there upstream uses torch's default)."""
MAX_MAGNITUDE = 100.0
AUDIO_LIMIT = 0.99
DILATIONS = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class _Unit:
    """Snake, dilated convolution, snake, convolution; added to its input. alpha: [1, channels, 1]."""

    alpha1: Tensor
    dilated: Convolution
    dilation: int
    alpha2: Tensor
    plain: Convolution

    @property
    def reach(self) -> int:
        """What a sample depends on to either side."""
        return _reach_of(self.dilated) * self.dilation + _reach_of(self.plain)

    def __call__(self, x: Tensor) -> Tensor:
        inner = _conv(_snake(x, self.alpha1), self.dilated, self.dilation)
        return x + _conv(_snake(inner, self.alpha2), self.plain)


class Hift:
    """The generator with folded weights (upstream: HiFTGenerator).

    dtype: of its convolutions; pitch is float64 whatever it is.
    """

    def __init__(self, weights: HiftWeights, dtype: torch.dtype = torch.float32) -> None:
        self.sizes = sizes = weights.sizes
        self.dtype = dtype
        self._pitch = [weights.convolution(f"f0_predictor.condnet.{2 * index}").to(torch.float64) for index in range(5)]
        self._pitch_out = weights.convolution("f0_predictor.classifier").to(torch.float64)
        self._pre = weights.convolution("conv_pre").to(dtype)
        self._post = weights.convolution("conv_post").to(dtype)
        stages = range(len(sizes.upsampling))
        self._ups = [weights.convolution(f"ups.{stage}").to(dtype) for stage in stages]
        self._source_downs = [weights.convolution(f"source_downs.{stage}").to(dtype) for stage in stages]
        self._source_blocks = [_block(weights, f"source_resblocks.{stage}", dtype) for stage in stages]
        self._blocks = [
            [_block(weights, f"resblocks.{stage * sizes.branches + branch}", dtype) for branch in range(sizes.branches)]
            for stage in stages
        ]
        self._reach = [self._stage_reach(stage) for stage in stages]
        # The last convolution; half a Fourier frame; and one for what is put before the first.
        last = _reach_of(self._post) + sizes.fft // 2 // sizes.hop + 1
        rates = [SAMPLES_PER_FRAME // sizes.hop // stride for stride in sizes.source_strides]
        self._around = frames_around(self._reach, rates, last)
        self.device = self._pre.bias.device
        self._window = torch.hann_window(sizes.fft, periodic=True, device=self.device)

    def _stage_reach(self, stage: int) -> StageReach:
        kernel, factor = self._ups[stage].weight.shape[-1], self.sizes.upsampling[stage]
        return StageReach(
            up=(kernel - 1 - (kernel - factor) // 2) / factor,
            # Beside the block, the convolution that brings the source down to the stage's rate.
            source=1 + sum(unit.reach for unit in self._source_blocks[stage]),
            blocks=max(sum(unit.reach for unit in block) for block in self._blocks[stage]),
        )

    def pitch(self, mel: Tensor) -> Tensor:
        """[b, mels, t] to float64 [b, t]: f0 in Hz (upstream: ConvRNNF0Predictor). Each frame sees five to either side.

        In float64: phase adds up whatever pitch is off by, and convolutions round differently in windows of different
        lengths. Measured on a random checkpoint, in float32, five seconds in pieces are off from one pass by 1e-3.
        """
        x = mel.double()
        for conv in self._pitch:
            x = F.elu(_conv(x, conv))
        return F.linear(x.transpose(1, 2), self._pitch_out.weight, self._pitch_out.bias).squeeze(-1).abs()

    def decode(self, mel: Tensor, source: Tensor, kept: Span | None = None) -> Tensor:
        """mel: [b, mels, t]. source: [b, 480 t]. Returns audio [b, 480 n], within AUDIO_LIMIT, of the n frames `kept`.

        All t are kept if that is None. The frames beside are what those look to. Each stage looks less far than the one
        before it, so what enters it is cut: most of the work is in the last ones.
        """
        span = whole = Span(0, mel.shape[-1])
        kept = kept or whole
        spectrum = self._spectrum(source)
        x = _conv(mel.to(self.dtype), self._pre)
        rate = 1
        last = len(self._ups) - 1
        for stage, (up, factor) in enumerate(zip(self._ups, self.sizes.upsampling, strict=True)):
            cut = kept.widened(self._around[stage], whole)
            x, span = cut.cut(x, span, rate), cut
            padding = (up.weight.shape[-1] - factor) // 2
            x = F.conv_transpose1d(F.leaky_relu(x, SLOPE), up.weight, up.bias, factor, padding)
            rate *= factor
            if stage == last:
                # The Fourier frames of n hops are n + 1.
                x = F.pad(x, (1, 0), "reflect")
            x = x + self._source_features(stage, spectrum, span, whole)
            x = sum(_run(block, x) for block in self._blocks[stage]) / self.sizes.branches  # type: ignore[assignment]
        audio = self._audio(_conv(F.leaky_relu(x, LAST_SLOPE), self._post))
        return kept.cut(audio, span, SAMPLES_PER_FRAME)

    def _source_features(self, stage: int, spectrum: Tensor, span: Span, whole: Span) -> Tensor:
        """What a stage takes from the source in the frames `span`, of the spectrum of all of them."""
        down, stride = self._source_downs[stage], self.sizes.source_strides[stage]
        hops = SAMPLES_PER_FRAME // self.sizes.hop
        around = span.widened(math.ceil(self._reach[stage].source * stride / hops), whole)
        x = around.cut(spectrum, whole, hops)
        x = F.conv1d(x, down.weight, down.bias, stride, stride // 2 if stride > 1 else 0)
        return span.cut(_run(self._source_blocks[stage], x), around, hops // stride)

    def _spectrum(self, source: Tensor) -> Tensor:
        """[b, n] to [b, fft + 2, n / hop + 1]: real parts, then imaginary ones."""
        spectrum = torch.stft(source.float(), self.sizes.fft, self.sizes.hop, window=self._window, return_complex=True)
        return torch.cat([spectrum.real, spectrum.imag], dim=1).to(self.dtype)

    def _audio(self, x: Tensor) -> Tensor:
        bins = self.sizes.fft // 2 + 1
        magnitude = x[:, :bins].float().exp().clamp(max=MAX_MAGNITUDE)
        phase = x[:, bins:].float().sin()
        audio = torch.istft(torch.polar(magnitude, phase), self.sizes.fft, self.sizes.hop, window=self._window)
        return audio.clamp(-AUDIO_LIMIT, AUDIO_LIMIT)


def _block(weights: HiftWeights, name: str, dtype: torch.dtype) -> list[_Unit]:
    def alpha(which: str, index: int) -> Tensor:
        return weights.tensor(f"{name}.{which}.{index}.alpha")[None, :, None].to(dtype)

    return [
        _Unit(
            alpha("activations1", index),
            weights.convolution(f"{name}.convs1.{index}").to(dtype),
            dilation,
            alpha("activations2", index),
            weights.convolution(f"{name}.convs2.{index}").to(dtype),
        )
        for index, dilation in enumerate(DILATIONS)
    ]


def _run(block: list[_Unit], x: Tensor) -> Tensor:
    for unit in block:
        x = unit(x)
    return x


def _reach_of(conv: Convolution) -> int:
    return (conv.weight.shape[-1] - 1) // 2


def _conv(x: Tensor, conv: Convolution, dilation: int = 1) -> Tensor:
    """Same length out as in."""
    padding = _reach_of(conv) * dilation
    return F.conv1d(x, conv.weight, conv.bias, padding=padding, dilation=dilation)


def _snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Snake activation, x + sin²(αx)/α (arXiv:2006.08195)."""
    return x + torch.sin(x * alpha).square() / (alpha + 1e-9)
