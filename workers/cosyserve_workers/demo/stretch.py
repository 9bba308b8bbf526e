"""Time stretching at the same pitch: WSOLA.

Waveform similarity overlap-add (Verhelst and Roelands, ICASSP 1993): the output is overlapping windows of the input,
each taken near where its time comes from, at the place that best continues the window before it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FRAME = 1024
"""Samples in a window: 46 ms at 22050 Hz, several periods of a voice."""
HOP = FRAME // 2
"""Windows overlap by half, where Hann windows add up to one."""
SEARCH = FRAME // 4
"""How far a window may be from its nominal place, either way: a period of a voice down to 86 Hz."""


def stretch(samples: NDArray[np.float32], length: int) -> Iterator[NDArray[np.float32]]:
    """Yield `samples` ([n] float32) played in exactly `length` samples, HOP or fewer at a time."""
    ratio = len(samples) / length
    # The first window begins one hop before the samples; the last may reach past their end.
    padded = np.concatenate([np.zeros(HOP, np.float32), samples, np.zeros(2 * FRAME + SEARCH, np.float32)])
    window = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    taken = 0
    tail = (padded[:FRAME] * window)[HOP:]
    for start in range(0, length, HOP):
        nominal = min(round((start + HOP) * ratio), HOP + len(samples))
        taken = _best_place(padded, nominal, padded[taken + HOP : taken + HOP + FRAME])
        frame = padded[taken : taken + FRAME] * window
        yield (tail + frame[:HOP])[: length - start]
        tail = frame[HOP:]


def _best_place(padded: NDArray[np.float32], nominal: int, continuation: NDArray[np.float32]) -> int:
    """Where, within SEARCH of `nominal`, the samples are most like `continuation` ([FRAME])."""
    first = max(0, nominal - SEARCH)
    region = padded[first : nominal + SEARCH + FRAME]
    likeness = np.correlate(region, continuation, mode="valid")
    energy = np.cumsum(np.concatenate([[0.0], np.square(region, dtype=np.float64)]))
    loudness = np.sqrt(np.maximum(energy[FRAME:] - energy[:-FRAME], 1e-6))
    return first + int(np.argmax(likeness / loudness))
