"""Where the signal begins and ends: with the window, or somewhere in it.

In one pass over the whole, every convolution sees noughts beyond the ends. In a window that reaches further it sees
them if what lies there is set to nought again before each layer.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.vocoder.reach import Span


class Ends:
    """The signal's ends are the window's."""

    def inside(self, rate: int, span: Span) -> Tensor | None:
        """[b, 1, samples]: 1 in the signal, else 0, at `rate` samples a frame of `span`. None: all are in."""

    def closed(self, span: Span) -> Tensor | None:
        """[b, 1, n + 1]: the same for Fourier frames, of which a signal has one more than hops."""

    def mirrored(self, signal: Tensor, beyond: int) -> Tensor:
        """[b, n] to [b, n + 2 * beyond]: beyond the ends the signal comes back."""
        return F.pad(signal[:, None], (beyond, beyond), "reflect")[:, 0]

    def with_one_before(self, x: Tensor, span: Span) -> Tensor:  # noqa: ARG002 - masked ends use it
        """[b, channels, n] to n + 1, for n hops in the frames `span`. The first is the second again."""
        return F.pad(x, (1, 0), "reflect")


class MaskedEnds(Ends):
    """Of windows of one length. signal: [b, 2] int64, the first frame and the one past the last of each.

    rate: Fourier frames in a mel frame, which is the finest rate of the network. dtype: of masks.
    """

    def __init__(self, signal: Tensor, frames: int, rate: int, dtype: torch.dtype) -> None:
        self._rate = rate
        self._places = torch.arange(frames * rate + 1, device=signal.device)
        # [b, 1]: the first Fourier frame and the last.
        self._first, self._last = (signal * rate)[:, :, None].unbind(1)
        closed = (self._places >= self._first) & (self._places <= self._last)
        self._closed = closed.to(dtype)[:, None]
        self._inside = self._closed[..., 1:] * self._closed[..., :-1]

    def inside(self, rate: int, span: Span) -> Tensor:
        """As `Ends`."""
        finest = self._inside[..., span.start * self._rate : span.end * self._rate]
        return finest[..., :: self._rate // rate]

    def closed(self, span: Span) -> Tensor:
        """As `Ends`."""
        return self._closed[..., span.start * self._rate : span.end * self._rate + 1]

    def mirrored(self, signal: Tensor, beyond: int) -> Tensor:
        """As `Ends`."""
        samples = signal.shape[1]
        hop = samples // (len(self._places) - 1)
        places = torch.arange(-beyond, samples + beyond, device=signal.device)
        first, last = self._first * hop, self._last * hop - 1
        places = (places - first).abs_().add_(first)
        return signal.gather(1, last.sub(places).abs_().neg_().add_(last).clamp_(0, samples - 1))

    def with_one_before(self, x: Tensor, span: Span) -> Tensor:
        """As `Ends`."""
        places = self._places[: x.shape[2] + 1]
        taken = torch.where(places == self._first - span.start * self._rate, places + 1, places - 1)
        return x.gather(2, taken.clamp_(0, x.shape[2] - 1)[:, None].expand(-1, x.shape[1], -1))


def only(x: Tensor, inside: Tensor | None) -> Tensor:
    """What lies in the signal, in place of all."""
    return x if inside is None else x.mul_(inside)
