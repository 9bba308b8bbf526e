"""CosyVoice3's vocoder: a HiFT that looks back, but for four frames of mel. Stateless; `causal_stream.py` cuts pieces.

After upstream's CausalHiFTGenerator. A sample of sound depends on the mel of 4 frames and 3 samples to come, the pitch
of a frame on 3 frames to come.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.vocoder.blocks import Block, add_up, look_back
from cosyserve_workers.native.vocoder.fourier import Fourier
from cosyserve_workers.native.vocoder.hift import AUDIO_LIMIT, LAST_SLOPE, MAX_MAGNITUDE, SLOPE, UNMASKED
from cosyserve_workers.native.vocoder.reach import Span
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, Convolution, HiftWeights

PITCH_LEFT, PITCH_RIGHT = 8, 3
"""Frames of mel that the pitch of a frame depends on."""
MEL_RIGHT = 4
"""Frames of mel that the first convolution sees after its own."""


class _Upsampling:
    """Each sample `factor` times, then a convolution that looks back: as one over the samples as they came.

    Of a kernel's taps all that fall on one sample add up, other ones for each of the `factor` places.
    """

    def __init__(self, convolution: Convolution, factor: int, dtype: torch.dtype) -> None:
        outputs, inputs, taps = convolution.weight.shape
        self._factor = factor
        self._back = -(-(taps - 1) // factor)
        kernel = convolution.weight.new_zeros(factor, outputs, inputs, self._back + 1)
        for place in range(factor):
            for tap in range(taps):
                sample = (place - (taps - 1) + tap) // factor
                kernel[place, :, :, self._back + sample] += convolution.weight[:, :, tap]
        self._kernel = kernel.flatten(0, 1).to(dtype)
        self._bias = convolution.bias.repeat(factor).to(dtype)

    @property
    def back(self) -> int:
        """Samples before it, at its input's rate, that an output depends on."""
        return self._back

    def __call__(self, x: Tensor) -> Tensor:
        """[b, inputs, n] to [b, outputs, factor n]."""
        places = F.conv1d(F.pad(x, (self._back, 0)), self._kernel, self._bias)
        return places.unflatten(1, (self._factor, -1)).permute(0, 2, 3, 1).flatten(2)


class CausalHift:
    """The generator with folded weights. dtype: of its convolutions; pitch is float64 whatever it is."""

    def __init__(self, weights: HiftWeights, dtype: torch.dtype = torch.float32) -> None:
        self.sizes = sizes = weights.sizes
        self.dtype = dtype
        self._pitch = [_exact(weights, f"f0_predictor.condnet.{2 * index}") for index in range(5)]
        self._pitch_out = weights.convolution("f0_predictor.classifier").to(torch.float64)
        self._pre = weights.convolution("conv_pre").to(dtype)
        self._post = weights.convolution("conv_post").to(dtype)
        stages = range(len(sizes.upsampling))
        self._ups = [
            _Upsampling(weights.convolution(f"ups.{stage}"), factor, dtype)
            for stage, factor in enumerate(sizes.upsampling)
        ]
        self._source_downs = [weights.convolution(f"source_downs.{stage}").to(dtype) for stage in stages]
        self._source_blocks = [_block(weights, f"source_resblocks.{stage}", dtype) for stage in stages]
        self._blocks = [
            [_block(weights, f"resblocks.{stage * sizes.branches + branch}", dtype) for branch in range(sizes.branches)]
            for stage in stages
        ]
        self.device = self._pre.bias.device
        self._hops = SAMPLES_PER_FRAME // sizes.hop
        self._fourier = Fourier(sizes.fft, self.device)
        self._mel_before, self._source_before = self._reaches()

    @property
    def left_frames(self) -> int:
        """Frames of mel and of source before it that a frame of sound depends on."""
        return max(*self._mel_before, *self._source_before)

    def pitch(self, mel: Tensor, *, final: bool) -> Tensor:
        """[b, mels, t] to float32 [b, n]: f0 in Hz. n is t if the signal ends with it, else t - 3.

        The first 8 are right only where nothing came before. Computed in float64, and rounded as upstream does: the
        phase adds up whatever it is off by.
        """
        right = PITCH_RIGHT if final else 0
        x = F.elu(_convolve(F.pad(mel.double(), (0, right)), self._pitch[0]))
        for convolution in self._pitch[1:]:
            x = F.elu(look_back(x, convolution))
        f0 = F.linear(x.transpose(1, 2), self._pitch_out.weight, self._pitch_out.bias)
        return f0.squeeze(-1).abs().float()

    def decode(self, mel: Tensor, source: Tensor, kept: Span, *, final: bool) -> Tensor:
        """Make the sound of the frames `kept`, which are counted in `mel`: [b, 480 n] float32, within 0.99.

        Each stage looks less far back than the one before it, so what enters it is cut.

        Args:
            mel: [b, mels, t], `left_frames` before those kept or all there are, and 5 after; none if final.
            source: [b, 480 s]: one frame after those kept or more; none if final.
            kept: to be made.
            final: whether the signal ends with `kept`.
        """
        spectrum = self._spectrum(source)
        x = _convolve(F.pad(mel.to(self.dtype), (0, MEL_RIGHT if final else 0)), self._pre)
        start, rate = 0, 1
        for stage, (up, factor) in enumerate(zip(self._ups, self.sizes.upsampling, strict=True)):
            begin = max(kept.start - self._mel_before[stage], 0)
            # Of what comes after, each stage looks at one sample.
            x = x[..., (begin - start) * rate : (kept.end - start) * rate + 1]
            start, rate = begin, rate * factor
            x = up(F.leaky_relu(x, SLOPE))[..., : (kept.end - start) * rate + 1]
            if stage == len(self._ups) - 1:
                # The Fourier frames of n hops are n + 1.
                x = F.pad(x, (1, 0), "reflect")
            x = x + self._source_features(stage, spectrum, kept.start, start, x.shape[-1])
            x = add_up([block(x) for block in self._blocks[stage]]) / self.sizes.branches
        audio = self._audio(look_back(F.leaky_relu(x, LAST_SLOPE), self._post))
        return audio[:, (kept.start - start) * SAMPLES_PER_FRAME : (kept.end - start) * SAMPLES_PER_FRAME]

    def _source_features(self, stage: int, spectrum: Tensor, kept: int, start: int, length: int) -> Tensor:
        """What a stage takes from the source: so many samples at its rate from the frame `start` on.

        kept: the first frame that is kept.
        """
        stride = self.sizes.source_strides[stage]
        rate = self._hops // stride
        begin = min(max(kept - self._source_before[stage], 0), start)
        hops = (start - begin) * self._hops + length * stride + 1
        x = F.pad(spectrum[..., begin * self._hops : begin * self._hops + hops], (stride - 1, 0))
        down = self._source_downs[stage]
        x = self._source_blocks[stage](F.conv1d(x, down.weight, down.bias, stride))
        return x[..., (start - begin) * rate : (start - begin) * rate + length]

    def _reaches(self) -> tuple[list[int], list[int]]:
        """How many frames of mel, and of the source, must enter each stage before those that are kept."""
        # The last convolution; two hops of the Fourier transform; and one for what is put before the first.
        needed = (_reach_of(self._post) + self.sizes.fft // self.sizes.hop // 2 + 1) / self._hops
        mel, source = [], []
        for stage, stride in reversed(list(enumerate(self.sizes.source_strides))):
            rate = self._hops // stride
            needed += max(block.reach for block in self._blocks[stage]) / rate
            hops = stride - 1 + self.sizes.fft // self.sizes.hop // 2
            source.append(math.ceil(needed + self._source_blocks[stage].reach / rate + hops / self._hops))
            needed += self._ups[stage].back * self.sizes.upsampling[stage] / rate
            mel.append(math.ceil(needed))
        return mel[::-1], source[::-1]

    def _spectrum(self, source: Tensor) -> Tensor:
        """[b, n] to [b, fft + 2, n / hop + 1]: real parts, then imaginary ones."""
        return self._fourier.spectrum(source.float(), UNMASKED).to(self.dtype)

    def _audio(self, x: Tensor) -> Tensor:
        magnitude, phase = x.float().tensor_split([self.sizes.fft // 2 + 1], dim=1)
        audio = self._fourier.sound(magnitude.exp().clamp_(max=MAX_MAGNITUDE), phase.sin(), None)
        return audio.clamp_(-AUDIO_LIMIT, AUDIO_LIMIT)


def _block(weights: HiftWeights, name: str, dtype: torch.dtype) -> Block:
    return Block(weights, name, dtype, looks_back=True)


def _exact(weights: HiftWeights, name: str) -> Convolution:
    """In float64, its weight norm included, as upstream does: voicing hangs on differences of large numbers."""
    weight = f"{name}.parametrizations.weight"
    gain, direction, bias = (
        weights.tensor(part).double() for part in (f"{weight}.original0", f"{weight}.original1", f"{name}.bias")
    )
    return Convolution(gain * direction / direction.flatten(1).norm(dim=1)[:, None, None], bias)


def _reach_of(convolution: Convolution) -> int:
    return int(convolution.weight.shape[-1]) - 1


def _convolve(x: Tensor, convolution: Convolution) -> Tensor:
    return F.conv1d(x, convolution.weight, convolution.bias)
