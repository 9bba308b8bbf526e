"""Encoders: PCM as it is, WAV's header, and streaming resampling."""

import io
import itertools
import struct
import wave

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.audio.encoders import UNKNOWN_LENGTH, PcmEncoder, Resampled, make_encoder, wav_header
from cosyserve.audio.formats import (
    CARRIED_RATES,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    AudioFormat,
    check_sample_rate,
    output_rate,
)
from cosyserve.errors import InvalidField
from tests.sounds import sine

MODEL_RATE = 24_000
rates = st.integers(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE)


def encode(audio_format: AudioFormat, rate: int, pcm: bytes, cuts: list[int]) -> list[bytes]:
    """What an encoder gives for each piece, and at the end."""
    encoder = make_encoder(audio_format, MODEL_RATE, rate)
    bounds = [0, *sorted(2 * cut for cut in cuts), len(pcm)]
    pieces = [encoder.encode(pcm[start:end]) for start, end in itertools.pairwise(bounds)]
    return [*pieces, encoder.finish()]


def tone(seconds: float) -> bytes:
    return np.rint(sine(seconds, MODEL_RATE) * 32767).astype("<i2").tobytes()


class TestPcm:
    def test_unchanged(self) -> None:
        assert encode(AudioFormat.PCM, MODEL_RATE, b"abcdefgh", [1, 3]) == [b"ab", b"cdef", b"gh", b""]

    def test_media_types(self) -> None:
        assert make_encoder(AudioFormat.PCM, MODEL_RATE, MODEL_RATE).media_type == "audio/pcm"
        assert make_encoder(AudioFormat.PCM, MODEL_RATE, 8_000).media_type == "audio/pcm"
        assert make_encoder(AudioFormat.WAV, MODEL_RATE, 8_000).media_type == "audio/wav"

    def test_no_resampler_where_none_is_needed(self) -> None:
        assert isinstance(make_encoder(AudioFormat.PCM, MODEL_RATE, MODEL_RATE), PcmEncoder)
        assert isinstance(make_encoder(AudioFormat.PCM, MODEL_RATE, 16_000), Resampled)


class TestWav:
    def test_the_header_comes_once_and_first(self) -> None:
        pieces = encode(AudioFormat.WAV, MODEL_RATE, b"abcd", [1])
        assert pieces == [wav_header(MODEL_RATE) + b"ab", b"cd", b""]

    def test_without_audio_there_is_still_a_header(self) -> None:
        assert make_encoder(AudioFormat.WAV, MODEL_RATE, MODEL_RATE).finish() == wav_header(MODEL_RATE)

    @given(rates, st.integers(0, 1000))
    def test_header_of_known_length(self, rate: int, frames: int) -> None:
        with wave.open(io.BytesIO(wav_header(rate, 2 * frames) + bytes(2 * frames))) as file:
            assert (file.getframerate(), file.getnframes()) == (rate, frames)
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)

    def test_header_of_unknown_length(self) -> None:
        header = wav_header(MODEL_RATE)
        assert len(header) == 44
        assert struct.unpack("<I", header[4:8]) == struct.unpack("<I", header[40:44]) == (UNKNOWN_LENGTH,)
        samples, rate = soundfile.read(io.BytesIO(header + tone(1)), dtype="int16")
        assert (rate, samples.tobytes()) == (MODEL_RATE, tone(1))

    @given(rates, st.integers(0, 1000))
    def test_sizes_add_up(self, rate: int, frames: int) -> None:
        header = wav_header(rate, 2 * frames)
        riff, bytes_per_second, frame_bytes, data = struct.unpack("<4xI20xIH2x4xI", header)
        assert riff == len(header) + 2 * frames - 8
        assert (bytes_per_second, frame_bytes, data) == (2 * rate, 2, 2 * frames)


class TestResampling:
    @given(rates, st.integers(0, 20_000), st.lists(st.integers(0, 20_000), max_size=5))
    def test_length(self, rate: int, frames: int, cuts: list[int]) -> None:
        pcm = tone(1)[: 2 * frames]
        resampled = b"".join(encode(AudioFormat.PCM, rate, pcm, [min(cut, frames) for cut in cuts]))
        assert len(resampled) % 2 == 0
        assert abs(len(resampled) / 2 - frames * rate / MODEL_RATE) <= 1

    @given(rates, st.lists(st.integers(0, MODEL_RATE), max_size=8))
    def test_pieces_make_no_difference(self, rate: int, cuts: list[int]) -> None:
        """Nor does anything else: the same speech is the same bytes each time."""
        whole, cut = (b"".join(encode(AudioFormat.PCM, rate, tone(1), where)) for where in ([], cuts))
        assert whole == cut

    @pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
    def test_a_tone_stays_the_tone(self, rate: int) -> None:
        resampled = np.frombuffer(b"".join(encode(AudioFormat.PCM, rate, tone(2), [])), "<i2") / 32767
        middle = slice(rate // 2, -rate // 2)
        np.testing.assert_allclose(resampled[middle], sine(2, rate)[middle], atol=0.002)

    def test_audio_leaves_before_all_has_come(self) -> None:
        first, *_ = encode(AudioFormat.PCM, 16_000, tone(2), [MODEL_RATE])
        assert len(first) > 16_000

    def test_full_scale_does_not_wrap(self) -> None:
        """A click at full scale overshoots in the filter; it must clip there, not turn over."""
        square = np.repeat(np.array([32767, -32768] * 50, "<i2"), 240)
        resampled = np.frombuffer(b"".join(encode(AudioFormat.PCM, 16_000, square.tobytes(), [])), "<i2")
        for index in range(1, 99):
            inner = resampled[index * 160 + 40 : index * 160 + 120]
            assert (inner > 30_000).all() if index % 2 == 0 else (inner < -30_000).all()

    def test_in_a_wav_the_header_tells_the_new_rate(self) -> None:
        content = b"".join(encode(AudioFormat.WAV, 16_000, tone(1), [100, 200]))
        samples, rate = soundfile.read(io.BytesIO(content), dtype="int16")
        assert (rate, len(samples)) == (16_000, 16_000)


class TestRates:
    @given(st.sampled_from(AudioFormat), st.one_of(st.none(), rates))
    def test_what_is_not_refused_can_be_carried(self, audio_format: AudioFormat, rate: int | None) -> None:
        carried = CARRIED_RATES.get(audio_format)
        if rate is None or carried is None or rate in carried:
            check_sample_rate(audio_format, rate)
        else:
            with pytest.raises(InvalidField, match=f"{rate}: {audio_format} carries 8000, "):
                check_sample_rate(audio_format, rate)

    @pytest.mark.parametrize(
        ("audio_format", "model_rate", "expected"),
        [
            (AudioFormat.WAV, 22_050, 22_050),
            (AudioFormat.FLAC, 23_456, 23_456),
            (AudioFormat.MP3, 22_050, 22_050),
            (AudioFormat.MP3, 23_456, 24_000),
            (AudioFormat.OPUS, 22_050, 24_000),
            (AudioFormat.OPUS, 25_000, 48_000),
            (AudioFormat.AAC, 96_000, 48_000),
        ],
    )
    def test_nobody_asked(self, audio_format: AudioFormat, model_rate: int, expected: int) -> None:
        """The model's own, or the next one up, so that nothing of it is lost."""
        assert output_rate(audio_format, model_rate, None) == expected

    def test_somebody_did(self) -> None:
        assert output_rate(AudioFormat.OPUS, 24_000, 16_000) == 16_000
