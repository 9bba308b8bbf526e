"""Sound files for tests, made on the spot."""

import io

import numpy as np
import soundfile
from numpy.typing import NDArray


def sine(seconds: float, rate: int, hertz: float = 440.0, peak: float = 0.5) -> NDArray[np.float32]:
    """[seconds * rate] samples."""
    times = np.arange(round(seconds * rate)) / rate
    return (peak * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def encode(samples: NDArray[np.float32], rate: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """A file of that kind: [n] mono or [n, channels]."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def prompt(seconds: float = 2.0, rate: int = 16_000, hertz: float = 440.0) -> bytes:
    """A WAV file that the server takes as a prompt."""
    return encode(sine(seconds, rate, hertz), rate)
