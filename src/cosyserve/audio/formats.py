"""The formats that a client may ask for, and the sample rates that they carry."""

from collections.abc import Mapping
from enum import StrEnum

from cosyserve.errors import InvalidField

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 48_000
BYTES_PER_SAMPLE = 2


class AnyCase(StrEnum):
    """Values that may be written in any case."""

    @classmethod
    def _missing_(cls, value: object) -> "AnyCase | None":
        return next((one for one in cls if isinstance(value, str) and one == value.lower()), None)


class AudioFormat(AnyCase):
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
