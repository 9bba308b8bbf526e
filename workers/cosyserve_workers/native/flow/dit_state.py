"""What a sequence of CosyVoice3's flow carries from one solve to the next."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cosyserve_workers.native.flow.dit_sizes import CONV_LEFT, DitSizes
from cosyserve_workers.native.flow.layout import LEFT
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES, EULER_STEPS, GUIDANCE_ROWS


class Past(Protocol):
    """One sequence's keys and values during a solve. Where they lie, and how, is no business of the network's."""

    def extend(self, step: int, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Put a layer's new keys and values, [2, rows, heads, frames, head width], behind those it has.

        Returns all keys, all values, [rows, heads, frames, head width] each.
        """
        ...


class DitCarry(NamedTuple):
    """All that a sequence carries at a chunk's boundary. Nobody writes to it, so that many may start from one."""

    lookahead: Tensor
    """[2, look-ahead width]: what the look-ahead layer's second convolution remembers."""
    near: Tensor
    """[steps, 2, rows, 30, width]: what the two convolutions before the blocks remember."""
    chunks: tuple[Tensor, ...]
    """Keys, already turned by their places, and values: one [steps, layers, 2, rows, heads, 50, head width] a chunk."""

    @classmethod
    def empty(cls, sizes: DitSizes, device: torch.device, dtype: torch.dtype) -> "DitCarry":
        """What there is before the first frame: zeros, also before the second convolution, as the library pads."""
        lookahead = torch.zeros(LEFT, sizes.lookahead_width, device=device, dtype=dtype)
        near = torch.zeros(EULER_STEPS, 2, GUIDANCE_ROWS, CONV_LEFT, sizes.width, device=device, dtype=dtype)
        return cls(lookahead, near, ())


class ChunkedPast:
    """A past in one tensor a chunk. behind: only read. fresh: to be filled; none if nobody will need them."""

    def __init__(self, behind: Sequence[Tensor], fresh: Sequence[Tensor]) -> None:
        self._behind = behind
        self.fresh = tuple(fresh)

    def extend(self, step: int, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """See `Past`."""
        start = 0
        for chunk in self.fresh:
            chunk[step, layer].copy_(new[..., start : start + CHUNK_FRAMES, :])
            start += CHUNK_FRAMES
        keys, values = ([*(chunk[step, layer, part] for chunk in self._behind), new[part]] for part in (0, 1))
        return torch.cat(keys, dim=-2), torch.cat(values, dim=-2)


def chunk_shape(sizes: DitSizes) -> torch.Size:
    """Of one chunk's keys and values."""
    return torch.Size((EULER_STEPS, sizes.depth, 2, GUIDANCE_ROWS, sizes.heads, CHUNK_FRAMES, sizes.head_width))
