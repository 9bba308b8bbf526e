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


def voice(seconds: float, rate: int, hertz: float = 150.0, seed: int = 0) -> NDArray[np.float32]:
    """[seconds * rate] samples like speech: a buzz with a melody, vowels that change, hisses between them."""
    times = np.arange(round(seconds * rate)) / rate
    random = np.random.default_rng(seed)
    pitch = hertz * (1 + 0.3 * np.sin(2 * np.pi * 0.7 * times) + 0.02 * np.sin(2 * np.pi * 5.1 * times))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    vowel = 500 + 400 * np.sin(2 * np.pi * 1.3 * times)
    buzz = np.zeros_like(times)
    for harmonic in range(1, 25):
        formant = np.exp(-(((harmonic * pitch - vowel) / 400) ** 2)) + 0.3 * np.exp(
            -(((harmonic * pitch - 2500) / 600) ** 2)
        )
        buzz += np.where(harmonic * pitch < rate / 2, formant * np.sin(harmonic * phase), 0)
    syllables = np.clip(np.sin(2 * np.pi * 3 * times), 0, None)
    hiss = 0.05 * random.normal(size=len(times)) * np.clip(np.sin(2 * np.pi * 3 * times + 2.5), 0, None)
    sound = 0.2 * buzz * syllables + hiss + 1e-4 * random.normal(size=len(times))
    clipped: NDArray[np.float32] = np.clip(sound, -1, 1).astype(np.float32)
    return clipped
