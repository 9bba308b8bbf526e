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


class Masks:
    """What is the same for all windows of one length. rate: Fourier frames in a mel frame, the network's finest rate.

    hop: samples from one to the next. beyond: what `Ends.mirrored` is asked for. like: what is masked.
    """

    def __init__(self, frames: int, rate: int, hop: int, beyond: int, like: Tensor) -> None:
        self.rate, self.hop = rate, hop
        self.dtype = like.dtype
        self.places = torch.arange(frames * rate + 2, device=like.device)
        self.places_before = (self.places - 1).clamp_(min=0)
        self.samples = torch.arange(-beyond, frames * rate * hop + beyond, device=like.device)


class MaskedEnds(Ends):
    """Of windows of one length. signal: [b, 2] int64, the first frame and the one past the last of each."""

    def __init__(self, masks: Masks, signal: Tensor) -> None:
        self._masks = masks
        ends = (signal * masks.rate)[:, :, None]
        # [b, 1]: the first Fourier frame.
        self._first, last = ends.unbind(1)
        twice = ends * (2 * masks.hop)
        self._twice_first, self._twice_past = twice.unbind(1)
        places = masks.places[:-1]
        self._closed = ((places >= self._first) & (places <= last)).to(masks.dtype)[:, None]
        self._inside = self._closed[..., 1:] * self._closed[..., :-1]

    def inside(self, rate: int, span: Span) -> Tensor:
        """As `Ends`."""
        finest = self._inside[..., span.start * self._masks.rate : span.end * self._masks.rate]
        return finest[..., :: self._masks.rate // rate]

    def closed(self, span: Span) -> Tensor:
        """As `Ends`."""
        return self._closed[..., span.start * self._masks.rate : span.end * self._masks.rate + 1]

    def mirrored(self, signal: Tensor, beyond: int) -> Tensor:  # noqa: ARG002 - known before
        """As `Ends`."""
        samples = self._masks.samples
        places = torch.maximum(samples, self._twice_first - samples)
        # One sample less: what is past the last comes back as the last but one.
        places = torch.minimum(places, (self._twice_past - 2) - places)
        return signal.gather(1, places.clamp_(min=0))

    def with_one_before(self, x: Tensor, span: Span) -> Tensor:
        """As `Ends`."""
        samples = x.shape[2]
        begins = self._masks.places[span.start * self._masks.rate :][: samples + 1] == self._first
        taken = torch.where(begins, self._masks.places[1 : samples + 2], self._masks.places_before[: samples + 1])
        return x.gather(2, taken.clamp_(max=samples - 1)[:, None].expand(-1, x.shape[1], -1))
