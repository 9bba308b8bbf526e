"""`format` and `sample_rate`: what the bytes of an answer are."""

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from cosyserve.audio.formats import AudioFormat
from tests.decoding import SLACK, Slack, decode
from tests.engines import expected_pcm
from tests.http.wire import check_error
from tests.serving import Script, Server

HEADER_BYTES = 44
HEADERS_AT_MOST = {AudioFormat.PCM: 0, AudioFormat.WAV: HEADER_BYTES, AudioFormat.FLAC: 100, AudioFormat.OPUS: 120}
"""Bytes before the first audio, by format; 0 where it is not named."""
SAMPLES = 48_000
RATES = {AudioFormat.OPUS: (8_000, 12_000, 16_000, 24_000, 48_000)}

every_format = pytest.mark.parametrize("audio_format", AudioFormat)


def dominant_hertz(samples: NDArray[Any], rate: int) -> float:
    """The loudest frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


class TestWav:
    def test_header_and_samples(self, server: Server) -> None:
        answer = server.speak(text="chunks=4", seed=5, format="wav")
        assert answer.headers["content-type"] == "audio/wav"
        header, pcm = answer.content[:HEADER_BYTES], answer.content[HEADER_BYTES:]
        assert header[:4] == b"RIFF"
        assert header[4:8] == header[40:44] == b"\xff\xff\xff\xff"
        assert pcm == expected_pcm(5, 4)

    def test_decodes_with_the_standard_library(self, server: Server) -> None:
        content = server.speak(text="chunks=4", seed=5, format="wav").content
        with wave.open(io.BytesIO(content)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
            assert file.readframes(len(content)) == expected_pcm(5, 4)

    def test_decodes_with_libsndfile(self, server: Server) -> None:
        samples, rate = soundfile.read(
            io.BytesIO(server.speak(text="chunks=4", seed=5, format="wav").content), dtype="int16"
        )
        assert rate == 24_000
        assert samples.tobytes() == expected_pcm(5, 4)

    def test_streams(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=2, at=1)
        with server.stream(text=script.text, seed=1, format="wav") as answer:
            pieces = answer.iter_raw()
            content = next(pieces)
            assert content.startswith(b"RIFF")
            while len(content) < HEADER_BYTES + len(expected_pcm(1, 1)):
                content += next(pieces)
            assert "chunk 1" not in script.events()
            script.open_gate()
            content += b"".join(pieces)
        assert content[HEADER_BYTES:] == expected_pcm(1, 2)

    def test_the_name_in_capitals(self, server: Server) -> None:
        assert server.speak(text="hello", format="WAV").headers["content-type"] == "audio/wav"


class TestSampleRate:
    @pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
    def test_is_really_resampled(self, server: Server, rate: int) -> None:
        answer = server.speak(text="chunks=20 tone=1000", sample_rate=rate)
        assert answer.headers["x-sample-rate"] == str(rate)
        samples = np.frombuffer(answer.content, "<i2")
        assert abs(len(samples) - 2 * rate) <= 1
        assert dominant_hertz(samples, rate) == pytest.approx(1000, abs=1)
        middle = samples[rate // 2 : -rate // 2].astype(float)
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 * 32767 / np.sqrt(2), rel=0.01)

    def test_what_the_rate_cannot_carry_is_filtered_out(self, server: Server) -> None:
        answer = server.speak(text="chunks=20 tone=6000", sample_rate=8_000)
        middle = np.frombuffer(answer.content, "<i2")[4_000:-4_000]
        assert np.abs(middle).max() < 100

    def test_the_models_own_rate_changes_nothing(self, server: Server) -> None:
        assert server.speak(text="chunks=3", seed=8, sample_rate=24_000).content == expected_pcm(8, 3)

    def test_in_a_wav(self, server: Server) -> None:
        answer = server.speak(text="chunks=10 tone=500", sample_rate=16_000, format="wav")
        samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
        assert rate == 16_000
        assert abs(len(samples) - 16_000) <= 1
        assert dominant_hertz(samples, rate) == pytest.approx(500, abs=2)

    def test_streams(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=11, at=10, tone=440)
        with server.stream(text=script.text, sample_rate=16_000) as answer:
            pieces = answer.iter_raw()
            assert next(pieces)
            assert "end" not in script.events()
            script.open_gate()
            assert b"".join(pieces)


class TestCompressed:
    @every_format
    def test_the_first_audio_leaves_before_half_is_made(
        self, server: Server, tmp_path: Path, audio_format: AudioFormat
    ) -> None:
        """And what follows is the rest of it, to the last sample."""
        script = Script(tmp_path, chunks=20, at=8, tone=440)
        with server.stream(text=script.text, seed=1, format=audio_format) as answer:
            pieces = answer.iter_raw()
            content = b""
            while len(content) <= HEADERS_AT_MOST.get(audio_format, 0):
                content += next(pieces)
            assert "chunk 8" not in script.events()
            script.open_gate()
            content += b"".join(pieces)
        if audio_format is AudioFormat.PCM:
            assert len(content) == 2 * SAMPLES
            return
        samples, rate = decode(audio_format, content, SAMPLES)
        slack = SLACK.get(audio_format, Slack())
        assert rate == 24_000
        assert SAMPLES <= len(samples) <= SAMPLES + slack.delay + slack.padding
        assert dominant_hertz(samples, rate) == pytest.approx(440, abs=1)

    @pytest.mark.parametrize(
        ("audio_format", "rate"),
        [(kind, rate) for kind in AudioFormat for rate in RATES.get(kind, (8_000, 16_000, 22_050, 44_100, 48_000))],
    )
    def test_at_another_rate(self, server: Server, audio_format: AudioFormat, rate: int) -> None:
        answer = server.speak(text="chunks=10 tone=440", format=audio_format, sample_rate=rate)
        assert answer.headers["x-sample-rate"] == str(rate)
        if audio_format is AudioFormat.PCM:
            assert len(answer.content) == 2 * rate
            return
        samples, told = decode(audio_format, answer.content, rate)
        slack = SLACK.get(audio_format, Slack())
        assert told == rate
        assert rate <= len(samples) <= rate + slack.delay + slack.padding
        assert dominant_hertz(samples, rate) == pytest.approx(440, abs=2)

    @every_format
    def test_the_same_seed_gives_the_same_bytes(self, server: Server, audio_format: AudioFormat) -> None:
        answers = [server.speak(text="chunks=5", seed=3, format=audio_format).content for _ in range(2)]
        assert answers[0] == answers[1]

    @every_format
    def test_the_headers_say_what_it_is(self, server: Server, audio_format: AudioFormat) -> None:
        headers = server.speak(text="chunks=2", format=audio_format).headers
        assert headers["content-type"].startswith("audio/")
        assert (headers["x-sample-rate"], headers["x-channels"]) == ("24000", "1")
        assert ("x-bits-per-sample" in headers) == audio_format.lossless

    @pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac"])
    def test_a_rate_that_the_format_cannot_carry_is_refused(self, server: Server, audio_format: str) -> None:
        refusal = server.speak(text="hello", format=audio_format, sample_rate=23_000)
        message = check_error(refusal, 422, "invalid_field", "sample_rate")
        assert message.startswith(f"sample_rate is 23000: {audio_format} carries 8000, ")
