"""Who does what PyTorch has no operation for, on a device."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cosyserve_workers.native.kernels.add_norm import add_gated_norm, add_norm
from cosyserve_workers.native.kernels.cards import has_kernels
from cosyserve_workers.native.kernels.paged import Pages
from cosyserve_workers.native.kernels.turn import turn


class Attend(Protocol):
    """As `paged.attend`."""

    def __call__(self, qkv: Tensor, pages: Pages, layer: int, heads: int, bias: Tensor | None = None) -> Tensor:
        """As it."""


class AddNorm(Protocol):
    """As `add_norm.add_norm`."""

    def __call__(self, x: Tensor, more: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """As it."""


class AddGatedNorm(Protocol):
    """As `add_norm.add_gated_norm`."""

    def __call__(self, x: Tensor, more: Tensor, gate: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """As it."""


class Turn(Protocol):
    """As `turn.turn`."""

    def __call__(self, qkv: Tensor, cosines: Tensor, sines: Tensor, heads: int) -> Tensor:
        """As it."""


@dataclass(frozen=True)
class Kernels:
    """attend: as `paged.attend`; None where keys and values are better gathered. The others: as their names say."""

    attend: Attend | None
    add_norm: AddNorm = add_norm
    add_gated_norm: AddGatedNorm = add_gated_norm
    turn: Turn = turn


def kernels_for(device: torch.device) -> Kernels:
    """Triton's where the device runs them, else the plain ones."""
    if not has_kernels(device):
        return Kernels(None)
    from cosyserve_workers.native.kernels import add_norm_triton, paged_triton, turn_triton

    return Kernels(paged_triton.attend, add_norm_triton.add_norm, add_norm_triton.add_gated_norm, turn_triton.turn)
