"""HiFT's network: mel to pitch, and mel with a source signal to audio. Stateless; `stream.py` cuts it into pieces.

The two models' have the same layers. Convolutions of the older one look to both sides; those of the newer one back,
but for the first, which looks ahead, and it gives samples several times before it convolves.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.kernels.snake import add, only
from cosyserve_workers.native.models import COSYVOICE2
from cosyserve_workers.native.vocoder.blocks import Block, Upsampling, add_up, convolve
from cosyserve_workers.native.vocoder.ends import Ends, Masks
from cosyserve_workers.native.vocoder.fourier import Fourier
from cosyserve_workers.native.vocoder.pitch import Pitch
from cosyserve_workers.native.vocoder.reach import Sides, Span, StageReach, frames_around
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, Convolution, HiftWeights

SLOPE, LAST_SLOPE = 0.1, 0.01
"""Leaky ReLU's: between stages, and before the last convolution (there upstream uses torch's default)."""
MAX_MAGNITUDE = 100.0
AUDIO_LIMIT = 0.99
UNMASKED = Ends()


class Hift:
    """The generator with folded weights (upstream: HiFTGenerator, CausalHiFTGenerator).

    dtype: of its convolutions; pitch is float64 whatever it is.
    """

    def __init__(self, weights: HiftWeights, dtype: torch.dtype = torch.float32) -> None:
        self.sizes = sizes = weights.sizes
        self.dtype = dtype
        self._pitch = Pitch(weights)
        self._pre = weights.convolution("conv_pre").to(dtype)
        stages = range(len(sizes.upsampling))
        self._ups = [self._upsampling(weights, stage) for stage in stages]
        self._post = self._after_branches(weights.convolution("conv_post")).to(dtype)
        self._source_downs = [self._source_down(weights, stage) for stage in stages]
        self._source_blocks = [Block(weights, f"source_resblocks.{stage}", dtype) for stage in stages]
        self._blocks = [
            [Block(weights, f"resblocks.{stage * sizes.branches + branch}", dtype) for branch in range(sizes.branches)]
            for stage in stages
        ]
        self._reach = [self._stage_reach(stage) for stage in stages]
        rates = [SAMPLES_PER_FRAME // sizes.hop // stride for stride in sizes.source_strides]
        # Half a Fourier frame to either side, each of which is the last convolution's of a sample before it.
        half = sizes.fft // 2 // sizes.hop
        self._around = frames_around(self._reach, rates, self._post.looks.plus(Sides(half + 1, half - 1)))
        self.device = self._pre.bias.device
        self._fourier = Fourier(sizes.fft, self.device)

    def _upsampling(self, weights: HiftWeights, stage: int) -> Upsampling:
        conv, factor = weights.convolution(f"ups.{stage}"), self.sizes.upsampling[stage]
        conv = self._after_branches(conv) if stage else conv
        return Upsampling.of(conv, factor, weights.model).to(self.dtype)

    def _after_branches(self, conv: Convolution) -> Convolution:
        """What comes in is the sum of branches, of which upstream takes the mean: leaky ReLU lets factors through."""
        return replace(conv, weight=conv.weight / self.sizes.branches)

    def _source_down(self, weights: HiftWeights, stage: int) -> Convolution:
        conv, stride = weights.convolution(f"source_downs.{stage}"), self.sizes.source_strides[stage]
        left = stride // 2 if weights.model is COSYVOICE2 else stride - 1
        return replace(conv, left=left).to(self.dtype)

    def _stage_reach(self, stage: int) -> StageReach:
        blocks = [block.looks for block in self._blocks[stage]]
        return StageReach(
            up=self._ups[stage].looks,
            # Beside the block, the convolution that brings the source down to the stage's rate.
            source=self._source_blocks[stage].looks.plus(Sides(1, 1)),
            blocks=Sides(max(looks.before for looks in blocks), max(looks.after for looks in blocks)),
        )

    def masks(self, frames: int) -> Masks:
        """For windows of so many frames that reach beyond the signal's ends."""
        rate = SAMPLES_PER_FRAME // self.sizes.hop
        return Masks(frames, rate, self.sizes.hop, self.sizes.fft // 2, self._pre.bias)

    def pitch(self, mel: Tensor, ends: Ends = UNMASKED) -> Tensor:
        """[b, mels, t] to float64 [b, t]: f0 in Hz. Mel, and pitch, is 0 beyond the ends."""
        return self._pitch(mel, ends)

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
        x = self._ups[stage](F.leaky_relu(x, SLOPE))
        if self.sizes.source_strides[stage] == 1:
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
        around = span.widened(self._reach[stage].source.times(stride / hops), whole)
        x = around.cut(spectrum, whole, hops)
        x = F.conv1d(x, down.weight, down.bias, stride, down.left)
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
