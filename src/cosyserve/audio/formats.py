"""PCM from a worker to the bytes that a client asked for, piece by piece as it streams."""

import struct
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from cosyserve.errors import InvalidField

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 48_000
BYTES_PER_SAMPLE = 2
UNKNOWN_LENGTH = 0xFFFFFFFF


class AudioFormat(StrEnum):
    """The values of the field `format`."""

    PCM = "pcm"
    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"
    OPUS = "opus"
    AAC = "aac"

    @property
    def compressed(self) -> bool:
        """Whether a second of audio takes milliseconds to encode, which are a thread's and not the event loop's."""
        return self not in {AudioFormat.PCM, AudioFormat.WAV}

    @property
    def lossless(self) -> bool:
        """Whether what is decoded is the 16-bit samples that were encoded."""
        return self in {AudioFormat.PCM, AudioFormat.WAV, AudioFormat.FLAC}


_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
CARRIED_RATES: Mapping[AudioFormat, tuple[int, ...]] = {
    AudioFormat.MP3: _MPEG_RATES,
    AudioFormat.OPUS: (8_000, 12_000, 16_000, 24_000, 48_000),
    AudioFormat.AAC: _MPEG_RATES,
}
"""The sample rates, in Hz and rising, of the formats that cannot carry each one."""


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


def check_sample_rate(audio_format: AudioFormat, sample_rate: int | None) -> None:
    """Raises InvalidField where the format cannot carry the rate that was asked for."""
    carried = CARRIED_RATES.get(audio_format)
    if sample_rate is not None and carried is not None and sample_rate not in carried:
        rates = ", ".join(map(str, carried))
        raise InvalidField(f"sample_rate is {sample_rate}: {audio_format} carries {rates}", param="sample_rate")


def output_rate(audio_format: AudioFormat, model_rate: int, asked: int | None) -> int:
    """Hz of what leaves: the rate asked for, else the model's, or the next one up that the format carries."""
    if asked is not None:
        return asked
    carried = CARRIED_RATES.get(audio_format, (model_rate,))
    return next((rate for rate in carried if rate >= model_rate), carried[-1])


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
