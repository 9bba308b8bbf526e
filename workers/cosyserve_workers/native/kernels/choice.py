"""Who does what PyTorch has no operation for, on a device."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cosyserve_workers.native.kernels import add_norm
from cosyserve_workers.native.kernels.cards import has_kernels
from cosyserve_workers.native.kernels.paged import Pages


class Attend(Protocol):
    """As `paged.attend`."""

    def __call__(self, qkv: Tensor, pages: Pages, layer: int, heads: int, bias: Tensor | None = None) -> Tensor:
        """As it."""


class AddNorm(Protocol):
    """As `add_norm.add_norm`."""

    def __call__(self, x: Tensor, more: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """As it."""


class Kernels(NamedTuple):
    """attend: as `paged.attend`; None where keys and values are better gathered. add_norm: as `add_norm`."""

    attend: Attend | None
    add_norm: AddNorm


def kernels_for(device: torch.device) -> Kernels:
    """Triton's where the device runs them, else the plain ones."""
    if not has_kernels(device):
        return Kernels(None, add_norm.add_norm)
    from cosyserve_workers.native.kernels import add_norm_triton, paged_triton

    return Kernels(paged_triton.attend, add_norm_triton.add_norm)
