"""Uploaded audio: what becomes a prompt, and what is said of what does not."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import InvalidPrompt
from cosyserve.protocol import Prompt
from cosyserve.voices.decoding import KEPT_RATE, MAX_S
from cosyserve.voices.prompts import Decoder
from tests import sounds
from tests.sounds import encode, prompt, sine

TONE = sine(2, 16_000)
FLAC = encode(TONE, 16_000, "FLAC")

WEBM = sounds.recorded(TONE, 16_000, "webm", "libopus")
M4A = sounds.recorded(TONE, 16_000, "ipod", "aac")
AAC = sounds.answer(AudioFormat.AAC, TONE, 16_000)

Decode = Callable[[bytes], Prompt]


@pytest.fixture(scope="session")
def decode(decoder: Decoder) -> Decode:
    return decoder.decode_in_thread


def loudness(decoded: Prompt) -> float:
    """Root mean square, the first and last tenth of a second apart."""
    edge = decoded.sample_rate // 10
    return float(np.sqrt(np.mean(np.square(decoded.samples[edge:-edge]))))


class TestDecoding:
    @pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
    def test_samples_stay_at_their_own_rate(self, rate: int, decode: Decode) -> None:
        tone = sine(1, rate)
        decoded = decode(encode(tone, rate, subtype="FLOAT"))
        assert (decoded.sample_rate, str(decoded.samples.dtype), decoded.duration_s) == (rate, "float32", 1.0)
        np.testing.assert_array_equal(decoded.samples, tone)

    @pytest.mark.parametrize(
        ("kind", "subtype", "tolerance"),
        [
            ("WAV", "PCM_U8", 0.02),
            ("WAV", "PCM_16", 1e-4),
            ("WAV", "PCM_24", 1e-6),
            ("WAV", "DOUBLE", 1e-7),
            ("WAV", "ULAW", 0.05),
            ("FLAC", "PCM_16", 1e-4),
            ("OGG", "VORBIS", 0.05),
            ("AIFF", "PCM_16", 1e-4),
        ],
    )
    def test_formats(self, kind: str, subtype: str, tolerance: float, decode: Decode) -> None:
        decoded = decode(encode(TONE, 16_000, kind, subtype))
        np.testing.assert_allclose(decoded.samples, TONE, atol=tolerance)

    def test_mp3(self, decode: Decode) -> None:
        decoded = decode(encode(TONE, 16_000, "MP3"))
        assert decoded.duration_s == pytest.approx(2, abs=0.1)
        assert np.abs(decoded.samples).max() == pytest.approx(0.5, abs=0.1)

    @pytest.mark.parametrize("channels", [1, 2, 8])
    def test_channels_are_mixed_down(self, channels: int, decode: Decode) -> None:
        weights = (np.arange(1, channels + 1) / channels).astype(np.float32)
        decoded = decode(encode(TONE[:, None] * weights, 16_000, subtype="FLOAT"))
        np.testing.assert_allclose(decoded.samples, TONE * weights.mean(), atol=1e-6)

    def test_long_files_come_whole(self, decode: Decode) -> None:
        """Longer than the block in which they are read."""
        tone = sine(MAX_S, 48_000)
        np.testing.assert_array_equal(decode(encode(tone, 48_000, subtype="FLOAT")).samples, tone)

    def test_a_wav_of_unknown_length(self, decode: Decode) -> None:
        """As this server's own answers are."""
        content = bytearray(prompt(2))
        content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
        assert decode(bytes(content)).duration_s == pytest.approx(2)


class TestWhatBrowsersAndPhonesRecord:
    @pytest.mark.parametrize(
        ("container", "codec", "rate"),
        [
            ("webm", "libopus", 48_000),
            ("ogg", "libopus", 48_000),
            ("matroska", "flac", 44_100),
            ("mp4", "aac", 44_100),
            ("mp4", "aac", 16_000),
            ("ipod", "aac", 48_000),
            ("ipod", "alac", 44_100),
            ("mov", "pcm_s16le", 44_100),
            ("adts", "aac", 32_000),
            ("3gp", "aac", 24_000),
        ],
    )
    @pytest.mark.parametrize("layout", ["mono", "stereo"])
    def test_is_read(self, decode: Decode, container: str, codec: str, rate: int, layout: str) -> None:
        decoded = decode(sounds.recorded(sounds.sine(3, rate), rate, container, codec, layout))
        assert decoded.sample_rate == rate
        assert decoded.duration_s == pytest.approx(3, abs=0.1)
        assert loudness(decoded) == pytest.approx(0.5 / 2**0.5, rel=0.1)

    @pytest.mark.parametrize("audio_format", [each for each in AudioFormat if each is not AudioFormat.PCM])
    def test_our_own_answers_are_read(self, decode: Decode, audio_format: AudioFormat) -> None:
        decoded = decode(sounds.answer(audio_format, sine(3, 24_000), 24_000))
        assert decoded.sample_rate == 24_000
        assert decoded.duration_s == pytest.approx(3, abs=0.15)
        assert loudness(decoded) == pytest.approx(0.5 / 2**0.5, rel=0.1)

    @pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("adts", "aac"), ("mp4", "aac")])
    @pytest.mark.parametrize(("seconds", "says"), [(0.5, "at least 1 s"), (31, "longer than 30 s")])
    def test_has_the_same_limits(self, decode: Decode, container: str, codec: str, seconds: float, says: str) -> None:
        with pytest.raises(InvalidPrompt, match=says):
            decode(sounds.recorded(sine(seconds, 48_000), 48_000, container, codec))

    def test_a_recording_that_was_broken_off_is_read_as_far_as_it_goes(self, decode: Decode) -> None:
        whole = sounds.recorded(sine(4, 48_000), 48_000, "webm", "libopus")
        assert 1 < decode(whole[: len(whole) * 3 // 4]).duration_s < 4

    @pytest.mark.parametrize("container", ["avi", "mpegts", "nut", "wav"])
    def test_no_other_reader_of_ffmpegs_is_open_to_strangers(self, decode: Decode, container: str) -> None:
        with pytest.raises(InvalidPrompt, match="send WAV, FLAC, OGG, MP3, M4A, MP4, WEBM or AAC"):
            decode(sounds.recorded(sine(2, 48_000), 48_000, container, "ac3"))

    def test_nor_any_other_decoder(self, decode: Decode) -> None:
        with pytest.raises(InvalidPrompt, match="not audio that can be read"):
            decode(sounds.recorded(sine(2, 48_000), 48_000, "mp4", "ac3"))


class TestRates:
    @pytest.mark.parametrize("rate", [88_200, 96_000, 192_000])
    def test_what_no_engine_hears_is_brought_down(self, decode: Decode, rate: int) -> None:
        decoded = decode(encode(sine(MAX_S, rate), rate, "FLAC"))
        assert (decoded.sample_rate, decoded.samples.nbytes) == (KEPT_RATE, MAX_S * KEPT_RATE * 4)
        middle = slice(KEPT_RATE, 2 * KEPT_RATE)
        np.testing.assert_allclose(decoded.samples[middle], sine(MAX_S, KEPT_RATE)[middle], atol=1e-3)

    def test_the_limit_counts_in_the_files_own_rate(self, decode: Decode) -> None:
        with pytest.raises(InvalidPrompt, match="longer than 30 s"):
            decode(encode(np.append(sine(MAX_S, 192_000), np.float32(0)), 192_000, "FLAC"))


class TestChannels:
    def test_in_antiphase_the_louder_one_is_taken(self, decode: Decode) -> None:
        decoded = decode(encode(np.stack([-0.9 * TONE, TONE], axis=1), 16_000, subtype="FLOAT"))
        np.testing.assert_array_equal(decoded.samples, TONE)

    def test_where_noise_is_left_of_their_sum_too(self, decode: Decode) -> None:
        noise = 0.01 * np.random.default_rng(1).normal(size=len(TONE)).astype(np.float32)
        decoded = decode(encode(np.stack([TONE, noise - TONE], axis=1), 16_000, subtype="FLOAT"))
        assert loudness(decoded) == pytest.approx(0.5 / 2**0.5, rel=0.01)

    @pytest.mark.parametrize("rate", [48_000, 96_000])
    def test_in_what_ffmpeg_reads_and_at_every_rate(self, decode: Decode, rate: int) -> None:
        tone = np.rint(sine(2, rate) * 32767).astype(np.int16)
        flac = encode(np.stack([tone, -tone], axis=1), rate, "FLAC")
        unknown = flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]
        for content in (flac, unknown):
            assert loudness(decode(content)) == pytest.approx(0.5 / 2**0.5, rel=0.01)

    def test_one_of_eight_is_no_antiphase(self, decode: Decode) -> None:
        channels = np.zeros((len(TONE), 8), np.float32)
        channels[:, 3] = TONE
        np.testing.assert_allclose(decode(encode(channels, 16_000, subtype="FLOAT")).samples, TONE / 8, atol=1e-6)


class TestReservation:
    FILES = (
        prompt(2.5, 22_050),
        encode(sine(2, 96_000), 96_000, "FLAC"),
        encode(sine(2, 44_100), 44_100, "MP3"),
        encode(np.stack([TONE, TONE], axis=1), 16_000, "OGG"),
        sounds.recorded(sine(2, 48_000), 48_000, "webm", "libopus"),
        sounds.recorded(sine(2, 44_100), 44_100, "mp4", "aac"),
        sounds.answer(AudioFormat.AAC, sine(2, 24_000), 24_000),
        sounds.answer(AudioFormat.FLAC, sine(2, 24_000), 24_000),
    )
    # Encoders number their streams at random, and tests that are dealt out need names that stay.
    NAMES = ("wav", "96 kHz", "mp3", "ogg", "webm", "mp4", "aac", "flac")

    @pytest.mark.parametrize("audio", FILES, ids=NAMES)
    def test_is_what_the_prompt_takes_and_little_more(self, decoder: Decoder, audio: bytes) -> None:
        for decode_it in (decoder.decode_in_thread, lambda *args: asyncio.run(decoder.decode(*args))):
            reserved: list[int] = []
            decoded = decode_it(audio, "prompt_wav", reserved.append)
            assert decoded.samples.nbytes <= sum(reserved) <= 1.1 * decoded.samples.nbytes

    @pytest.mark.parametrize("audio", FILES, ids=NAMES)
    def test_comes_before_the_decoding(self, decoder: Decoder, audio: bytes) -> None:
        class Full(Exception):
            pass

        def refuse(_: int) -> None:
            raise Full

        damaged_later = audio[: len(audio) // 2]
        with pytest.raises(Full):
            decoder.decode_in_thread(audio, reserve=refuse)
        with contextlib.suppress(InvalidPrompt), pytest.raises(Full):
            decoder.decode_in_thread(damaged_later, reserve=refuse)

    def test_nothing_is_reserved_for_what_the_header_rules_out(self, decoder: Decoder) -> None:
        reserved: list[int] = []
        for audio in (b"junk", encode(sine(31, 16_000), 16_000, "FLAC"), encode(sine(2, 8_000), 8_000)):
            with pytest.raises(InvalidPrompt) as rejected:
                decoder.decode_in_thread(audio, "audio_sample", reserved.append)
            assert rejected.value.param == "audio_sample"
        assert reserved == []


class TestDigest:
    def test_same_audio_same_digest_in_any_wrapping(self, decode: Decode) -> None:
        tone = (np.round(TONE * 32_768) / 32_768).astype(np.float32)
        digests = {decode(encode(tone, 16_000, kind, "PCM_16")).digest for kind in ("WAV", "FLAC", "AIFF")}
        assert len(digests) == 1

    def test_rate_and_samples_count(self, decode: Decode) -> None:
        louder = decode(encode(TONE * 1.5, 16_000)).digest
        faster = decode(encode(TONE, 22_050)).digest
        assert len({decode(encode(TONE, 16_000)).digest, louder, faster}) == 3


class TestRejection:
    @pytest.mark.parametrize(
        ("samples", "rate", "says"),
        [
            (sine(0.999, 16_000), 16_000, "at least 1 s"),
            (sine(0.5, 16_000), 16_000, "0.50 s long: at least 1 s"),
            (sine(30.001, 16_000), 16_000, "longer than 30 s"),
            (sine(2, 15_999), 15_999, "15999 Hz: at least 16000 Hz"),
            (sine(1, 192_001), 192_001, "192001 Hz: at most 192000 Hz"),
            (np.zeros(20_000, np.float32), 16_000, "silent"),
            (np.full(20_000, 0.003, np.float32), 16_000, "silent"),
            (np.full(20_000, np.nan, np.float32), 16_000, "no numbers"),
            (np.append(TONE, np.float32(-np.inf)), 16_000, "no numbers"),
            (np.full((20_000, 9), 0.5, np.float32), 16_000, "9 channels: at most 8"),
        ],
    )
    def test_says_which(self, samples: NDArray[np.float32], rate: int, says: str, decode: Decode) -> None:
        with pytest.raises(InvalidPrompt, match=says) as rejected:
            decode(encode(samples, rate, subtype="FLOAT"))
        assert rejected.value.param == "prompt_wav"

    @pytest.mark.parametrize("content", [b"", b"x", b"RIFF", prompt()[:40], b"OggS" * 100, b"fLaC" + bytes(1000)])
    def test_not_audio(self, content: bytes, decode: Decode) -> None:
        with pytest.raises(InvalidPrompt):
            decode(content)

    @pytest.mark.parametrize("layouts", [("stereo", "mono"), ("mono", "stereo")])
    @pytest.mark.parametrize("rates", [(16_000, 16_000), (16_000, 24_000)])
    def test_one_that_becomes_another_on_the_way(
        self, layouts: tuple[str, str], rates: tuple[int, int], decode: Decode
    ) -> None:
        """Each frame of an ADTS stream says of itself how many channels it has, and of what rate."""
        halves = [
            sounds.recorded(sine(2, rate), rate, "adts", "aac", layout)
            for rate, layout in zip(rates, layouts, strict=True)
        ]
        with pytest.raises(InvalidPrompt):
            decode(b"".join(halves))

    @given(content=st.binary(max_size=2000))
    def test_garbage_has_no_other_error(self, content: bytes, decode: Decode) -> None:
        with pytest.raises(InvalidPrompt):
            decode(content)

    @pytest.mark.parametrize(
        "whole",
        [prompt(), FLAC, encode(TONE, 16_000, "OGG"), encode(TONE, 16_000, "MP3"), WEBM, M4A, AAC],
        ids=["wav", "flac", "ogg", "mp3", "webm", "m4a", "aac"],
    )
    @given(data=st.data())
    def test_damage_has_no_other_error(self, whole: bytes, data: st.DataObject, decode: Decode) -> None:
        content = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
        for _ in range(data.draw(st.integers(0, 5))):
            content[data.draw(st.integers(0, min(200, len(content)) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(InvalidPrompt):
            decoded = decode(bytes(content))
            assert 1 <= decoded.duration_s <= MAX_S
            assert np.isfinite(decoded.samples).all()


class TestDefaultPrompt:
    def test_read(self, tmp_path: Path, decoder: Decoder) -> None:
        (tmp_path / "voice.wav").write_bytes(prompt(2))
        loaded = decoder.load_default(tmp_path / "voice.wav")
        assert loaded is not None
        assert loaded.duration_s == 2

    def test_none_configured(self, decoder: Decoder) -> None:
        assert decoder.load_default(None) is None

    def test_not_there(self, tmp_path: Path, decoder: Decoder) -> None:
        assert decoder.load_default(tmp_path / "nowhere.wav") is None
        assert decoder.load_default(tmp_path) is None

    def test_unusable(self, tmp_path: Path, decoder: Decoder) -> None:
        (tmp_path / "voice.wav").write_bytes(b"junk")
        with pytest.raises(InvalidPrompt) as rejected:
            decoder.load_default(tmp_path / "voice.wav")
        assert rejected.value.param == "defaults.prompt_wav"
