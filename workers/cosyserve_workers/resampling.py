"""Prompts to the rate that a model hears, as the CosyVoice library resamples them wherever that can be afforded."""

import math

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.transforms import Resample

MAX_PHASES = 4_000_000
"""torchaudio makes a filter of as many taps as the product of the two rates, both divided by what they have in common:
141,120 from 22,050 to 16,000 Hz, but 3 billion (24 GB) from 191,999. The rate comes from an upload's header."""


def resample(samples: NDArray[np.float32], rate: int, wanted: int) -> Tensor:
    """Return [n] float32 samples at `rate` Hz as [n * wanted / rate, rounded up] float32 at `wanted` Hz.

    torchaudio's windowed sinc (what the library uses) between rates with much in common, as all usual ones have; soxr
    for the others.
    """
    common = math.gcd(rate, wanted)
    if (rate // common) * (wanted // common) <= MAX_PHASES:
        # A copy, because torch warns of arrays that cannot be written to.
        heard: Tensor = Resample(rate, wanted)(torch.from_numpy(samples.copy()))
        return heard
    return torch.from_numpy(soxr.resample(samples, rate, wanted))
