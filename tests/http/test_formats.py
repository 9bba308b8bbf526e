"""`format` and `sample_rate`: what the bytes of an answer are."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.engines import expected_pcm
from tests.serving import Script, Server

HEADER_BYTES = 44


def dominant_hertz(samples: NDArray[np.int16], rate: int) -> float:
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
