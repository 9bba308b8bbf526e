"""Rotary positions of the first head, in plain PyTorch: the twin of `turn_triton`."""

import torch
from torch import Tensor


def turn(qkv: Tensor, cosines: Tensor, sines: Tensor, heads: int) -> Tensor:
    """Turn the first head's queries and keys by their places, in place, and return all.

    Args:
        qkv: [guidance rows, frames, 3 * heads * width], queries, keys, values. What turns lies half a head apart.
        cosines: [frames, width / 2] float32, of the angles.
        sines: the same.
        heads: how many there are; the others have no positions.
    """
    first = qkv.unflatten(2, (3, heads, -1))[:, :, :2, 0]
    one, other = first.float().chunk(2, dim=-1)
    cosine, sine = cosines[:, None], sines[:, None]
    first.copy_(torch.cat([one * cosine - other * sine, other * cosine + one * sine], dim=-1))
    return qkv
