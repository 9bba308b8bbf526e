"""Sound files for tests, made on the spot."""

import io
from fractions import Fraction

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from cosyserve.audio.encoders import make_encoder
from cosyserve.audio.formats import AudioFormat


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


def answer(audio_format: AudioFormat, samples: NDArray[np.float32], rate: int) -> bytes:
    """What this service answers with, 100 ms at a time."""
    encoder = make_encoder(audio_format, rate, rate)
    pcm = np.rint(samples * 32767).astype("<i2").tobytes()
    pieces = [encoder.encode(pcm[at : at + rate // 5]) for at in range(0, len(pcm), rate // 5)]
    return b"".join(pieces) + encoder.finish()


def recorded(samples: NDArray[np.float32], rate: int, container: str, codec: str, layout: str = "mono") -> bytes:
    """A file as browsers and phones write them: [n] samples in every channel, by FFmpeg."""
    content = io.BytesIO()
    with av.open(content, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout=layout, rate=rate, frame_size=stream.codec_context.frame_size
        )
        channels = stream.codec_context.channels
        frame = av.AudioFrame.from_ndarray(np.repeat(samples, channels)[np.newaxis], "flt", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return content.getvalue()
