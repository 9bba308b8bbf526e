"""From mel to pitch, in float64."""

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.kernels.snake import only
from cosyserve_workers.native.models import COSYVOICE3
from cosyserve_workers.native.vocoder.blocks import convolve
from cosyserve_workers.native.vocoder.ends import Ends
from cosyserve_workers.native.vocoder.reach import Span
from cosyserve_workers.native.vocoder.weights import Convolution, HiftWeights

LAYERS = tuple(f"f0_predictor.condnet.{2 * index}" for index in range(5))
_OUT = "f0_predictor.classifier"


class Pitch:
    """Five convolutions and a sum (upstream: ConvRNNF0Predictor, CausalConvRNNF0Predictor).

    In float64, weight norms too: phase adds up whatever pitch is off by, and convolutions round differently in windows
    of different lengths. Measured on a random checkpoint, in float32, five seconds in pieces are off from one pass by
    1e-3.
    """

    def __init__(self, weights: HiftWeights) -> None:
        self._layers = [weights.convolution(name, torch.float64) for name in LAYERS]
        weight, bias = (weights.tensor(f"{_OUT}.{name}").double() for name in ("weight", "bias"))
        self._out = Convolution(weight[..., None], bias)
        # The newer model's phase is a sum of float32 pitch.
        self._rounds = weights.model is COSYVOICE3

    def __call__(self, mel: Tensor, ends: Ends) -> Tensor:
        """[b, mels, t] to float64 [b, t]: f0 in Hz. Mel, and pitch, is 0 beyond the ends."""
        x = mel.double()
        inside = ends.inside(1, Span(0, mel.shape[-1]))
        inside = inside if inside is None else inside.double()
        for conv in self._layers:
            x = F.elu(only(convolve(x, conv), inside))
        pitch = only(convolve(x, self._out).abs_(), inside).squeeze(1)
        return pitch.float().double() if self._rounds else pitch
