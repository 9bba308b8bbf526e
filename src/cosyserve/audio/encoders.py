"""PCM from a worker to the bytes that a client asked for, piece by piece as it streams."""

import struct
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from cosyserve.audio.formats import BYTES_PER_SAMPLE, AudioFormat

UNKNOWN_LENGTH = 0xFFFFFFFF


class Encoder(Protocol):
    """Stateful, one a stream, used by one thread at a time. The PCM that it is given is 16-bit little-endian mono."""

    media_type: str

    def encode(self, pcm: bytes) -> bytes:
        """Bytes ready to send, which may lag behind; the first call's answer has the header."""

    def finish(self) -> bytes:
        """What is still inside."""

    def close(self) -> None:
        """Let go of everything, finished or not; safe to call again."""


class PcmEncoder:
    """Raw PCM."""

    media_type = "audio/pcm"

    def encode(self, pcm: bytes) -> bytes:
        """As it is."""
        return pcm

    def finish(self) -> bytes:
        """Nothing."""
        return b""

    def close(self) -> None:
        """Nothing is held."""


class WavEncoder:
    """PCM behind a WAV header of unknown length: players read to the end of the stream."""

    media_type = "audio/wav"

    def __init__(self, sample_rate: int) -> None:
        self._header = wav_header(sample_rate)

    def encode(self, pcm: bytes) -> bytes:
        """The header first."""
        header, self._header = self._header, b""
        return header + pcm

    def finish(self) -> bytes:
        """The header, where there was no audio."""
        return self._header

    def close(self) -> None:
        """Nothing is held."""


class Resampled:
    """Another encoder behind a streaming resampler."""

    def __init__(self, encoder: Encoder, rate_in: int, rate_out: int) -> None:
        self.media_type = encoder.media_type
        self._encoder = encoder
        # In float: soxr dithers its 16-bit output by the clock, and one seed has to give the same bytes each time.
        self._resampler = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")

    def encode(self, pcm: bytes) -> bytes:
        """What the filter has let through so far."""
        return self._encoder.encode(self._resample(pcm, last=False))

    def finish(self) -> bytes:
        """The filter's tail, then the encoder's."""
        return self._encoder.encode(self._resample(b"", last=True)) + self._encoder.finish()

    def close(self) -> None:
        """The encoder's."""
        self._encoder.close()

    def _resample(self, pcm: bytes, *, last: bool) -> bytes:
        samples: NDArray[np.float32] = self._resampler.resample_chunk(
            np.frombuffer(pcm, "<i2").astype(np.float32), last=last
        )
        # The filter overshoots at full scale.
        return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()


def make_encoder(audio_format: AudioFormat, model_rate: int, sample_rate: int) -> Encoder:
    """model_rate: Hz of the PCM that comes. sample_rate: Hz of what leaves, as `output_rate` tells."""
    encoder = _encoder(audio_format, sample_rate)
    return encoder if model_rate == sample_rate else Resampled(encoder, model_rate, sample_rate)


def _encoder(audio_format: AudioFormat, sample_rate: int) -> Encoder:
    if audio_format is AudioFormat.PCM:
        return PcmEncoder()
    if audio_format is AudioFormat.WAV:
        return WavEncoder(sample_rate)
    # Here, because most answers need none of it.
    from cosyserve.audio.codecs import CodecEncoder

    return CodecEncoder(audio_format, sample_rate)


def wav_header(sample_rate: int, data_bytes: int = UNKNOWN_LENGTH) -> bytes:
    """44 bytes: RIFF, fmt (16-bit mono PCM) and the data chunk's head."""
    riff_bytes = UNKNOWN_LENGTH if data_bytes == UNKNOWN_LENGTH else 36 + data_bytes
    bytes_per_second = sample_rate * BYTES_PER_SAMPLE
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", riff_bytes, b"WAVE",
        b"fmt ", 16, 1, 1, sample_rate, bytes_per_second, BYTES_PER_SAMPLE, 16,
        b"data", data_bytes,
    )  # fmt: skip
