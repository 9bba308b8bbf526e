"""Who does what PyTorch has no operation for, on a device."""

from importlib.util import find_spec
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cosyserve_workers.native.kernels import add_norm
from cosyserve_workers.native.kernels.paged import Pages

OLDEST = (8, 0)
"""Compute capability: on older cards the kernels spill registers."""


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
    """Triton's on a GPU that it is good on, else the plain ones."""
    if device.type != "cuda" or find_spec("triton") is None or torch.cuda.get_device_capability(device) < OLDEST:
        return Kernels(None, add_norm.add_norm)
    from cosyserve_workers.native.kernels import add_norm_triton, paged_triton

    return Kernels(paged_triton.attend, add_norm_triton.add_norm)
