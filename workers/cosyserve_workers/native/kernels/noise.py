"""Normal noise by number: each sample's is a function of a seed and of its place, whoever asks for it, and where.

The bits are SplitMix64's (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), in int64,
whose products wrap around on every device. Two of 32 bits make two normals (Box and Muller), in float64.
"""

import math
from itertools import zip_longest

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
SHIFTS, FACTORS = (30, 27, 31), (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""A factor after each shift but the last."""
_BITS = 1 << 64


def key_of(seed: int) -> int:
    """Where a seed's noise begins, 64 bits: far from where its neighbours' do."""
    z = (seed + GOLDEN) % _BITS
    for shift, factor in zip_longest(SHIFTS, FACTORS, fillvalue=1):
        z ^= z >> shift
        z = z * factor % _BITS
    return z


def signed(bits: int) -> int:
    """64 bits as int64 has them."""
    bits %= _BITS
    return bits - _BITS if bits >> 63 else bits


class Noise:
    """Noise of some harmonics."""

    def __init__(self, harmonics: int, device: torch.device) -> None:
        self._harmonics = harmonics
        self._of_harmonics = (torch.arange(harmonics) * signed(GOLDEN))[:, None].to(device)
        # Of a pair's halves the first is an angle, from -pi to pi; the second lies between 0 and 1, and is neither.
        scale = torch.tensor([2 * math.pi, 1.0], dtype=torch.float64) / (1 << 32)
        self._scale = scale.to(device)
        self._offset = torch.tensor([0.0, 0.5 + 0.5 / (1 << 32)], dtype=torch.float64).to(device)

    def place(self, key: int, sample: int) -> int:
        """What `draw` is given to begin at that sample, an even one, of a stream."""
        return signed(key + (sample // 2 * self._harmonics + 1) * GOLDEN)

    def draw(self, places: Tensor, samples: int) -> Tensor:
        """places: [b] int64. Returns [b, harmonics, samples] float64, mean 0, deviation 1."""
        words = self.bits(places, samples)
        halves = torch.addcmul(self._offset, words.view(torch.int32).unflatten(2, (-1, 2)).double(), self._scale)
        angle, share = halves.unbind(-1)
        radius = share.log().mul_(-2).sqrt_()
        return torch.view_as_real(torch.polar(radius, angle)).flatten(2)

    def bits(self, places: Tensor, samples: int) -> Tensor:
        """[b, harmonics, samples / 2] int64: 64 bits for each two samples."""
        pairs = torch.arange(samples // 2, device=places.device) * signed(GOLDEN * self._harmonics)
        z = (places[:, None, None] + self._of_harmonics) + pairs
        for shift, factor in zip_longest(SHIFTS, FACTORS):
            # The shift is of a signed number: what it puts in from the left is taken out.
            z ^= (z >> shift).bitwise_and_((1 << 64 - shift) - 1)
            if factor is not None:
                z *= signed(factor)
        return z
