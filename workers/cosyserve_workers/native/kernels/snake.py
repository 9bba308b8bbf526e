"""What lies between a vocoder's convolutions, in plain PyTorch: the twin of `snake_triton`, and who picks it.

A snake (arXiv:2006.08195) is x + sin²(αx)/α, which is (z + sin² z)/α with z = αx. Here it is z + sin² z: the factors
lie in the convolutions around.
"""

import torch
from torch import Tensor

from cosyserve_workers.native.kernels.cards import has_kernels


class Snakes:
    """Between the convolutions of a residual unit.

    x, and out, which is a convolution's and may be overwritten: [b, channels, n]. alpha: [channels]. inside: [b, 1, n],
    1 in the signal, else 0; None if all is. A snake of nought is nought, so that what is outside stays so.
    """

    @staticmethod
    def pick(device: torch.device) -> "Snakes":
        """Those that a device runs best."""
        if not has_kernels(device):
            return Snakes()
        from cosyserve_workers.native.kernels.snake_triton import FusedSnakes

        return FusedSnakes()

    def begin(self, x: Tensor, alpha: Tensor) -> Tensor:
        """Return the snake of alpha x."""
        return _snake(x * alpha[:, None])

    def between(self, out: Tensor, inside: Tensor | None) -> Tensor:
        """Return the snake of what is inside of `out`."""
        return _snake(only(out, inside))

    def join(self, x: Tensor, out: Tensor, inside: Tensor | None, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Return x with what is inside of `out`, and the snake of alpha times that."""
        joined = add(x, out, inside)
        return joined, _snake(joined * alpha[:, None])


def add(x: Tensor, out: Tensor, inside: Tensor | None) -> Tensor:
    """X with what is inside of `out`, which may be overwritten."""
    return out.add_(x) if inside is None else torch.addcmul(x, out, inside)


def only(x: Tensor, inside: Tensor | None) -> Tensor:
    """What is inside of x, in its place."""
    return x if inside is None else x.mul_(inside)


def _snake(z: Tensor) -> Tensor:
    sine = z.sin()
    # What is given may be a part of something longer: what is returned is not.
    return torch.addcmul(z, sine, sine, out=sine)
