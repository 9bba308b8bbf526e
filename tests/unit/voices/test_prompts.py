"""Uploaded audio: what becomes a prompt, and what is said of what does not."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cosyserve.errors import InvalidPrompt
from cosyserve.voices.prompts import MAX_S, decode_prompt, load_default_prompt
from tests.sounds import encode, prompt, sine

TONE = sine(2, 16_000)
FLAC = encode(TONE, 16_000, "FLAC")


class TestDecoding:
    @pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000, 192_000])
    def test_samples_stay_at_their_own_rate(self, rate: int) -> None:
        tone = sine(1, rate)
        decoded = decode_prompt(encode(tone, rate, subtype="FLOAT"))
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
    def test_formats(self, kind: str, subtype: str, tolerance: float) -> None:
        decoded = decode_prompt(encode(TONE, 16_000, kind, subtype))
        np.testing.assert_allclose(decoded.samples, TONE, atol=tolerance)

    def test_mp3(self) -> None:
        decoded = decode_prompt(encode(TONE, 16_000, "MP3"))
        assert decoded.duration_s == pytest.approx(2, abs=0.1)
        assert np.abs(decoded.samples).max() == pytest.approx(0.5, abs=0.1)

    @pytest.mark.parametrize("channels", [1, 2, 8])
    def test_channels_are_mixed_down(self, channels: int) -> None:
        weights = (np.arange(1, channels + 1) / channels).astype(np.float32)
        decoded = decode_prompt(encode(TONE[:, None] * weights, 16_000, subtype="FLOAT"))
        np.testing.assert_allclose(decoded.samples, TONE * weights.mean(), atol=1e-6)

    def test_long_files_come_whole(self) -> None:
        """Longer than the block in which they are read."""
        tone = sine(MAX_S, 48_000)
        np.testing.assert_array_equal(decode_prompt(encode(tone, 48_000, subtype="FLOAT")).samples, tone)

    def test_a_wav_of_unknown_length(self) -> None:
        """As this server's own answers are."""
        content = bytearray(prompt(2))
        content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
        assert decode_prompt(bytes(content)).duration_s == pytest.approx(2)


class TestDigest:
    def test_same_audio_same_digest_in_any_wrapping(self) -> None:
        tone = (np.round(TONE * 32_768) / 32_768).astype(np.float32)
        digests = {decode_prompt(encode(tone, 16_000, kind, "PCM_16")).digest for kind in ("WAV", "FLAC", "AIFF")}
        assert len(digests) == 1

    def test_rate_and_samples_count(self) -> None:
        louder = decode_prompt(encode(TONE * 1.5, 16_000)).digest
        faster = decode_prompt(encode(TONE, 22_050)).digest
        assert len({decode_prompt(encode(TONE, 16_000)).digest, louder, faster}) == 3


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
    def test_says_which(self, samples: NDArray[np.float32], rate: int, says: str) -> None:
        with pytest.raises(InvalidPrompt, match=says) as rejected:
            decode_prompt(encode(samples, rate, subtype="FLOAT"))
        assert rejected.value.param == "prompt_wav"

    @pytest.mark.parametrize("content", [b"", b"x", b"RIFF", prompt()[:40], b"OggS" * 100, b"fLaC" + bytes(1000)])
    def test_not_audio(self, content: bytes) -> None:
        with pytest.raises(InvalidPrompt):
            decode_prompt(content)

    @given(st.binary(max_size=2000))
    def test_garbage_has_no_other_error(self, content: bytes) -> None:
        with pytest.raises(InvalidPrompt):
            decode_prompt(content)

    @pytest.mark.parametrize("whole", [prompt(), FLAC, encode(TONE, 16_000, "OGG"), encode(TONE, 16_000, "MP3")])
    @given(data=st.data())
    def test_damage_has_no_other_error(self, whole: bytes, data: st.DataObject) -> None:
        content = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
        for _ in range(data.draw(st.integers(0, 5))):
            content[data.draw(st.integers(0, min(200, len(content)) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(InvalidPrompt):
            decoded = decode_prompt(bytes(content))
            assert 1 <= decoded.duration_s <= MAX_S
            assert np.isfinite(decoded.samples).all()


class TestDefaultPrompt:
    def test_read(self, tmp_path: Path) -> None:
        (tmp_path / "voice.wav").write_bytes(prompt(2))
        loaded = load_default_prompt(tmp_path / "voice.wav")
        assert loaded is not None
        assert loaded.duration_s == 2

    def test_none_configured(self) -> None:
        assert load_default_prompt(None) is None

    def test_not_there(self, tmp_path: Path) -> None:
        assert load_default_prompt(tmp_path / "nowhere.wav") is None
        assert load_default_prompt(tmp_path) is None

    def test_unusable(self, tmp_path: Path) -> None:
        (tmp_path / "voice.wav").write_bytes(b"junk")
        with pytest.raises(InvalidPrompt) as rejected:
            load_default_prompt(tmp_path / "voice.wav")
        assert rejected.value.param == "defaults.prompt_wav"
