"""HiFT's network: mel to pitch, and mel with a source signal to audio. Stateless; `stream.py` cuts it into pieces."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.kernels.snake import add, only
from cosyserve_workers.native.vocoder.blocks import Block, add_up, convolve, reach_of
from cosyserve_workers.native.vocoder.ends import Ends, Masks
from cosyserve_workers.native.vocoder.fourier import Fourier
from cosyserve_workers.native.vocoder.reach import Span, StageReach, frames_around
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, Convolution, HiftWeights

SLOPE, LAST_SLOPE = 0.1, 0.01
"""Leaky ReLU's: between stages, and before the last convolution (there upstream uses torch's default)."""
MAX_MAGNITUDE = 100.0
AUDIO_LIMIT = 0.99
UNMASKED = Ends()


class Hift:
    """The generator with folded weights (upstream: HiFTGenerator).

    dtype: of its convolutions; pitch is float64 whatever it is.
    """

    def __init__(self, weights: HiftWeights, dtype: torch.dtype = torch.float32) -> None:
        self.sizes = sizes = weights.sizes
        self.dtype = dtype
        self._pitch = [weights.convolution(f"f0_predictor.condnet.{2 * index}").to(torch.float64) for index in range(5)]
        out = weights.convolution("f0_predictor.classifier").to(torch.float64)
        self._pitch_out = Convolution(out.weight[..., None], out.bias)
        self._pre = weights.convolution("conv_pre").to(dtype)
        stages = range(len(sizes.upsampling))
        names = [f"ups.{stage}" for stage in stages] + ["conv_post"]
        self._ups = [self._after_branches(weights.convolution(name), index > 0) for index, name in enumerate(names)]
        self._post = self._ups.pop()
        self._source_downs = [weights.convolution(f"source_downs.{stage}").to(dtype) for stage in stages]
        self._source_blocks = [Block(weights, f"source_resblocks.{stage}", dtype) for stage in stages]
        self._blocks = [
            [Block(weights, f"resblocks.{stage * sizes.branches + branch}", dtype) for branch in range(sizes.branches)]
            for stage in stages
        ]
        self._reach = [self._stage_reach(stage) for stage in stages]
        # The last convolution; half a Fourier frame; and one for what is put before the first.
        last = reach_of(self._post) + sizes.fft // 2 // sizes.hop + 1
        rates = [SAMPLES_PER_FRAME // sizes.hop // stride for stride in sizes.source_strides]
        self._around = frames_around(self._reach, rates, last)
        self.device = self._pre.bias.device
        self._fourier = Fourier(sizes.fft, self.device)

    def _after_branches(self, conv: Convolution, after: bool) -> Convolution:
        """What comes in is the sum of branches, of which upstream takes the mean: leaky ReLU lets factors through."""
        weight = conv.weight / self.sizes.branches if after else conv.weight
        return Convolution(weight, conv.bias).to(self.dtype)

    def _stage_reach(self, stage: int) -> StageReach:
        kernel, factor = self._ups[stage].weight.shape[-1], self.sizes.upsampling[stage]
        return StageReach(
            up=(kernel - 1 - (kernel - factor) // 2) / factor,
            # Beside the block, the convolution that brings the source down to the stage's rate.
            source=1 + self._source_blocks[stage].reach,
            blocks=max(block.reach for block in self._blocks[stage]),
        )

    def masks(self, frames: int) -> Masks:
        """For windows of so many frames that reach beyond the signal's ends."""
        rate = SAMPLES_PER_FRAME // self.sizes.hop
        return Masks(frames, rate, self.sizes.hop, self.sizes.fft // 2, self._pre.bias)

    def pitch(self, mel: Tensor, ends: Ends = UNMASKED) -> Tensor:
        """[b, mels, t] to float64 [b, t]: f0 in Hz (upstream: ConvRNNF0Predictor). Each frame sees five to either side.

        Mel, and pitch, is 0 beyond the ends. In float64: phase adds up whatever pitch is off by, and convolutions round
        differently in windows of different lengths. Measured on a random checkpoint, in float32, five seconds in pieces
        are off from one pass by 1e-3.
        """
        x = mel.double()
        inside = ends.inside(1, Span(0, mel.shape[-1]))
        inside = inside if inside is None else inside.double()
        for conv in self._pitch:
            x = F.elu(only(convolve(x, conv), inside))
        return only(convolve(x, self._pitch_out).abs_(), inside).squeeze(1)

    def decode(self, mel: Tensor, source: Tensor, kept: Span | None = None, ends: Ends = UNMASKED) -> Tensor:
        """mel: [b, mels, t]. source: [b, 480 t]. Returns audio [b, 480 n], within AUDIO_LIMIT, of the n frames `kept`.

        All t are kept if that is None. The frames beside are what those look to. Each stage looks less far than the one
        before it, so what enters it is cut: most of the work is in the last ones. Mel is 0 beyond the ends; what sound
        is there says nothing.
        """
        span = whole = Span(0, mel.shape[-1])
        kept = kept or whole
        spectrum = self._spectrum(source, ends)
        x = only(convolve(mel.to(self.dtype), self._pre), ends.inside(1, whole))
        rate = 1
        for stage, factor in enumerate(self.sizes.upsampling):
            cut = kept.widened(self._around[stage], whole)
            x, span = cut.cut(x, span, rate), cut
            rate *= factor
            x = self._stage(stage, x, spectrum, span, ends)
        audio = self._audio(convolve(F.leaky_relu(x, LAST_SLOPE), self._post), ends.closed(span))
        return kept.cut(audio, span, SAMPLES_PER_FRAME)

    def _stage(self, stage: int, x: Tensor, spectrum: Tensor, span: Span, ends: Ends) -> Tensor:
        """Bring the frames `span` to the next rate, and put in what the source has for it."""
        up, factor, stride = self._ups[stage], self.sizes.upsampling[stage], self.sizes.source_strides[stage]
        padding = (up.weight.shape[-1] - factor) // 2
        x = F.conv_transpose1d(F.leaky_relu(x, SLOPE), up.weight, up.bias, factor, padding)
        if stride == 1:
            # The last stage. The Fourier frames of n hops are n + 1.
            x = ends.with_one_before(x, span)
        inside = self._inside(ends, stage, span)
        heard = self._source_features(stage, spectrum, span, ends)
        x = add(heard, x, inside)
        return add_up([block(x, inside) for block in self._blocks[stage]])

    def _inside(self, ends: Ends, stage: int, span: Span) -> Tensor | None:
        stride = self.sizes.source_strides[stage]
        return ends.closed(span) if stride == 1 else ends.inside(SAMPLES_PER_FRAME // self.sizes.hop // stride, span)

    def _source_features(self, stage: int, spectrum: Tensor, span: Span, ends: Ends) -> Tensor:
        """What a stage takes from the source in the frames `span`, of the spectrum of all of them."""
        down, stride = self._source_downs[stage], self.sizes.source_strides[stage]
        hops = SAMPLES_PER_FRAME // self.sizes.hop
        whole = Span(0, spectrum.shape[-1] // hops)
        around = span.widened(math.ceil(self._reach[stage].source * stride / hops), whole)
        x = around.cut(spectrum, whole, hops)
        x = F.conv1d(x, down.weight, down.bias, stride, stride // 2 if stride > 1 else 0)
        inside = self._inside(ends, stage, around)
        return span.cut(self._source_blocks[stage](only(x, inside), inside), around, hops // stride)

    def _spectrum(self, source: Tensor, ends: Ends) -> Tensor:
        """[b, n] to [b, fft + 2, n / hop + 1]: real parts, then imaginary ones."""
        spectrum = self._fourier.spectrum(source.float(), ends).to(self.dtype)
        return only(spectrum, ends.closed(Span(0, source.shape[1] // SAMPLES_PER_FRAME)))

    def _audio(self, x: Tensor, closed: Tensor | None) -> Tensor:
        magnitude, phase = x.float().tensor_split([self.sizes.fft // 2 + 1], dim=1)
        audio = self._fourier.sound(magnitude.exp().clamp_(max=MAX_MAGNITUDE), phase.sin(), closed)
        return audio.clamp_(-AUDIO_LIMIT, AUDIO_LIMIT)
