"""CosyVoice2's excitation: nine harmonics of the pitch where it is voiced, noise where it is not.

Upstream's SourceModuleHnNSF2 at 24 kHz, made exact and streaming. There the phase is a float32 cumulative sum over the
whole utterance, off by 0.05 rad on the ninth harmonic after 20 s; here it is a float64 carried modulo one turn. There
the noise comes from the process's generator; here it is numbered by the stream's samples, so that it does not depend on
how the stream was cut, or on the device. Upstream's random initial phase of the overtones is drawn at a sample that its
downsampling skips, and so has no effect: here it is left out.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.kernels.excitation import Excitation, Phase
from cosyserve_workers.native.kernels.noise import key_of
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, HiftWeights

SAMPLE_RATE = 24_000


class Places(NamedTuple):
    """Where in their streams some stretches begin.

    turns: [b] float64, phase of the fundamental, mod 1, before the first frame's own step. frames: [b] int64, that
    frame's number. noise: [b] int64, as `HarmonicSource.noise_place` says.
    """

    turns: Tensor
    frames: Tensor
    noise: Tensor


class Source(ABC):
    """Makes the source from pitch."""

    @abstractmethod
    def noise_place(self, key: int, frame: int) -> int:
        """Where the noise of a frame lies, for a stream with this key."""

    @abstractmethod
    def make(self, f0: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """f0: [b, t] float64, Hz, 0 beyond the ends.

        Returns [b, 480 t] float32, and turns [b, t + 1], before each frame and after the last.
        """

    @abstractmethod
    def reserve(self, frames: int) -> None:
        """Have the noise ready for segments of so many frames."""

    def whole(self, f0: Tensor, seed: int) -> Tensor:
        """[t] Hz, a whole stream's, to [480 t] float32."""
        self.reserve(len(f0))
        begins = torch.zeros(1, dtype=torch.int64, device=f0.device)
        noise = torch.full_like(begins, self.noise_place(key_of(seed), 0))
        return self.make(f0[None].double(), Places(begins.double(), begins, noise))[0][0]


class HarmonicSource(Source):
    """weight: [1, harmonics]; bias: [1]: the mixing layer."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._excitation = Excitation.pick(weight, bias, SAMPLES_PER_FRAME)

    @classmethod
    def of(cls, weights: HiftWeights) -> "HarmonicSource":
        """The one of a vocoder's weights."""
        return cls(weights.tensor("m_source.l_linear.weight"), weights.tensor("m_source.l_linear.bias"))

    def noise_place(self, key: int, frame: int) -> int:
        """As `Source`."""
        return self._excitation.noise.place(key, frame * SAMPLES_PER_FRAME)

    def reserve(self, frames: int) -> None:
        """As `Source`: it is worked out place by place."""

    def make(self, f0: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """As `Source`.

        Phase is linear between the centres of frames, flat before the first and after the last: so the second half of
        the last frame is what it is if nothing follows.
        """
        f0 = f0.double()
        steps = f0 / SAMPLE_RATE
        turns = torch.cat([places.turns[:, None], steps], dim=1).cumsum(1)
        number = places.frames[:, None] + torch.arange(steps.shape[1], device=steps.device)
        phase = Phase(f0, turns[:, 1:], steps.masked_fill(number == 0, 0.0), F.pad(steps[:, 1:], (0, 1)))
        return self._excitation.make(phase, places.noise), turns
