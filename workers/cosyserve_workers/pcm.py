"""Float audio to 16-bit PCM."""

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32767


def to_pcm16(samples: NDArray[np.float32]) -> bytes:
    """[n] float in [-1, 1] to n 16-bit little-endian samples.

    Clips first: the usual `* 2**15` wraps +1.0 to -32768, a loud click. NaN becomes silence.
    """
    clipped = np.clip(np.nan_to_num(samples.astype(np.float32, copy=False), nan=0.0), -1.0, 1.0)
    pcm: bytes = np.rint(clipped * FULL_SCALE).astype("<i2").tobytes()
    return pcm
