"""`hift.pt` to plain tensors: weight norms folded, sizes read from shapes."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model, of_the_other
from cosyserve_workers.native.state_dicts import read_state_dict
from cosyserve_workers.native.vocoder.reach import Sides

FILE_NAME = "hift.pt"
SAMPLES_PER_FRAME = 480
"""24 kHz audio over 50 Hz mel frames."""
_FIRST = ("conv_pre", "f0_predictor.condnet.0")
_FIRST_SEE = {COSYVOICE2: (7, 3), COSYVOICE3: (5, 4)}
"""How many frames of mel the first convolutions see, of sound and of pitch: the two models' tensors have the same
names."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """weight: [out, in, kernel] ([in, out, kernel] where transposed). bias: [out]. left: taps before a sample's own."""

    weight: Tensor
    bias: Tensor
    left: int = 0

    @property
    def looks(self) -> Sides:
        """What a sample sees, undilated."""
        return Sides(self.left, self.weight.shape[-1] - 1 - self.left)

    def to(self, dtype: torch.dtype) -> "Convolution":
        """The same in another dtype."""
        return Convolution(self.weight.to(dtype), self.bias.to(dtype), self.left)


@dataclass(frozen=True, slots=True)
class HiftSizes:
    """fft: samples in a Fourier frame, four hops. upsampling: factors whose product with the hop is a mel frame."""

    mels: int
    fft: int
    harmonics: int
    upsampling: tuple[int, ...]
    source_strides: tuple[int, ...]
    branches: int

    @property
    def hop(self) -> int:
        """Samples between Fourier frames."""
        return self.fft // 4


class HiftWeights:
    """The state dict in float32, read by name. Raises LoadError where the file is not what it should be.

    model: whose folder it is.
    """

    def __init__(self, model_dir: Path, device: torch.device, model: Model = COSYVOICE2) -> None:
        self.model = model
        self._path = model_dir / FILE_NAME
        # The published file has the training checkpoint's prefix in some releases.
        self._tensors = {
            name.removeprefix("generator."): tensor.to(device, torch.float32, copy=True)
            for name, tensor in read_state_dict(self._path).items()
        }
        self._check()
        self.sizes = self._sizes()

    def tensor(self, name: str) -> Tensor:
        """A tensor as it is."""
        try:
            return self._tensors[name]
        except KeyError:
            raise LoadError(
                f"{self._path} is not a {self.model.name} vocoder: it has no {name!r}; download it again"
            ) from None

    def convolution(self, name: str, dtype: torch.dtype = torch.float32) -> Convolution:
        """A convolution, its weight norm folded in once instead of at each call. dtype: in which."""
        bias = self.tensor(f"{name}.bias").to(dtype)
        gain_name = f"{name}.parametrizations.weight.original0"
        if gain_name not in self._tensors:
            weight = self.tensor(f"{name}.weight").to(dtype)
            return Convolution(weight, bias, self._left(name, weight.shape[-1]))
        names = (gain_name, f"{name}.parametrizations.weight.original1")
        gain, direction = (self.tensor(part).to(dtype) for part in names)
        weight = gain * direction / direction.flatten(1).norm(dim=1)[:, None, None]
        return Convolution(weight, bias, self._left(name, weight.shape[-1]))

    def _left(self, name: str, taps: int) -> int:
        """The older model looks to both sides; the newer one back, but for the first ones, which look ahead."""
        if self.model is COSYVOICE2:
            return (taps - 1) // 2
        return 0 if name in _FIRST else taps - 1

    def count(self, prefix: str) -> int:
        """How many modules the list `prefix` has."""
        heads = {name[len(prefix) + 1 :].partition(".")[0] for name in self._tensors if name.startswith(f"{prefix}.")}
        return len(heads)

    def _check(self) -> None:
        found = tuple(self.convolution(name).weight.shape[-1] for name in _FIRST)
        own = _FIRST_SEE[self.model]
        if found == own:
            return
        if found in _FIRST_SEE.values():
            raise of_the_other(self.model, self._path, "vocoder")
        raise LoadError(
            f"{self._path} is not a {self.model.name} vocoder (its first convolutions see {found[0]} and {found[1]} "
            f"frames, not {own[0]} and {own[1]}): all files must be of one model; download the folder again"
        )

    def _sizes(self) -> HiftSizes:
        ups = self.count("ups")
        fft = len(self.tensor("conv_post.bias")) - 2
        kernels = [self.tensor(f"source_downs.{index}.weight").shape[-1] for index in range(ups)]
        # A source convolution that reduces its rate has a kernel of two strides; the last one keeps the rate.
        strides = tuple(1 if kernel == 1 else kernel // 2 for kernel in kernels)
        rates = [SAMPLES_PER_FRAME // (fft // 4) // strides[0]]
        rates += [before // after for before, after in itertools.pairwise(strides)]
        return HiftSizes(
            mels=self.convolution("conv_pre").weight.shape[1],
            fft=fft,
            harmonics=self.tensor("m_source.l_linear.weight").shape[1],
            upsampling=tuple(rates),
            source_strides=strides,
            branches=self.count("resblocks") // ups,
        )
