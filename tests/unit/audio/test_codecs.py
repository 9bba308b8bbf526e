"""Compressed formats: every sample is there, soon and whole, the same bytes each time, and nothing is left behind."""

import ctypes
import gc

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from cosyserve.audio.encoders import make_encoder
from cosyserve.audio.formats import AudioFormat
from tests.decoding import FFMPEG, SLACK, Slack, decode, decode_with_ffmpeg

MODEL_RATE = 24_000
SECONDS = 2
COMPRESSED = [audio_format for audio_format in AudioFormat if audio_format.compressed]
RATES = {AudioFormat.OPUS: (8_000, 12_000, 16_000, 24_000, 48_000)}
USUAL_RATES = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)

every_format = pytest.mark.parametrize("audio_format", COMPRESSED)
every_format_and_rate = pytest.mark.parametrize(
    ("audio_format", "rate"),
    [(audio_format, rate) for audio_format in COMPRESSED for rate in RATES.get(audio_format, USUAL_RATES)],
)


def sweep(seconds: float = SECONDS) -> bytes:
    """PCM that rises from 200 to 3000 Hz, so that no piece of it is like another."""
    times = np.arange(round(seconds * MODEL_RATE)) / MODEL_RATE
    phase = 2 * np.pi * (200 * times + (3000 - 200) / (2 * seconds) * times**2)
    pcm: bytes = np.rint(16_000 * np.sin(phase)).astype("<i2").tobytes()
    return pcm


def encode(audio_format: AudioFormat, rate: int, pcm: bytes, piece_bytes: int = 4800) -> list[bytes]:
    """What leaves for each piece of PCM, and at the end."""
    encoder = make_encoder(audio_format, MODEL_RATE, rate)
    pieces = [encoder.encode(pcm[start : start + piece_bytes]) for start in range(0, len(pcm), piece_bytes)]
    pieces.append(encoder.finish())
    encoder.close()
    return pieces


def as_pcm(rate: int, pcm: bytes) -> NDArray[np.float64]:
    """The samples that the codec was given."""
    return np.frombuffer(b"".join(encode(AudioFormat.PCM, rate, pcm)), "<i2") / 32768


def assert_all_there(
    decoded: NDArray[np.float64], given: NDArray[np.float64], slack: Slack, rate: int, play: int = 0
) -> None:
    """Found by correlation, every 50 ms of it in its place, and nothing besides but the slack.

    play: samples by which a place may be off.
    """
    assert len(decoded) >= len(given)
    delay = best_lag(decoded, given)
    assert -play <= delay <= slack.delay + play
    assert -play <= len(decoded) - delay - len(given) <= slack.padding + play
    window = rate // 20
    padded = np.concatenate([np.zeros(2 * play), decoded, np.zeros(2 * play)])
    for start in [*range(0, len(given) - window, window), len(given) - window]:
        said = given[start : start + window]
        around = padded[delay + play + start : delay + start + window + 3 * play]
        heard = max(np.lib.stride_tricks.sliding_window_view(around, window), key=lambda piece: float(piece @ said))
        assert np.corrcoef(heard, said)[0, 1] > 0.9, f"at {start / rate:.2f} s"
        assert np.std(heard) == pytest.approx(np.std(said), rel=0.15), f"at {start / rate:.2f} s"


def play_of(audio_format: AudioFormat, rate: int) -> int:
    """Opus is decoded at 48 kHz or resampled from there, and its pre-skip is not exact: a tenth of a millisecond."""
    return 1 + rate // 10_000 if audio_format is AudioFormat.OPUS else 0


def best_lag(decoded: NDArray[np.float64], given: NDArray[np.float64]) -> int:
    """Where `given` begins in `decoded`."""
    size = len(decoded) + len(given)
    match = np.fft.irfft(np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(given, size)), size)
    lag = int(np.argmax(match))
    return lag if lag < len(decoded) else lag - size


@every_format_and_rate
def test_every_sample_is_there(audio_format: AudioFormat, rate: int) -> None:
    given = as_pcm(rate, sweep())
    decoded, told_rate = decode(audio_format, b"".join(encode(audio_format, rate, sweep())), len(given))
    assert told_rate == rate
    assert_all_there(decoded, given, SLACK.get(audio_format, Slack()), rate, play_of(audio_format, rate))
    if audio_format.lossless:
        np.testing.assert_array_equal(decoded, given)


@pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")
@every_format_and_rate
def test_every_sample_is_there_for_ffmpeg(audio_format: AudioFormat, rate: int) -> None:
    """Without a complaint of the tool either."""
    at = 48_000 if audio_format is AudioFormat.OPUS else rate
    decoded = decode_with_ffmpeg(audio_format, b"".join(encode(audio_format, rate, sweep())), at)
    slack = SLACK.get(audio_format, Slack())
    assert_all_there(decoded, as_pcm(at, sweep()), slack, at, play_of(audio_format, at))


@every_format_and_rate
def test_audio_leaves_with_little_delay(audio_format: AudioFormat, rate: int) -> None:
    """No codec sits on more than three frames, the longest of which (AAC at 8 kHz) lasts 0.128 s."""
    pieces = encode(audio_format, rate, sweep(0.6))
    assert any(pieces[:4])
    assert len(b"".join(pieces[:-1])) > 0.3 * len(b"".join(pieces))


@every_format
@pytest.mark.parametrize("piece_bytes", [2, 1000, 48_000, 1_000_000])
def test_pieces_make_no_difference(audio_format: AudioFormat, piece_bytes: int) -> None:
    """Nor does anything else: the same speech is the same bytes each time."""
    pcm = sweep(0.5)
    whole = b"".join(encode(audio_format, 16_000, pcm))
    assert b"".join(encode(audio_format, 16_000, pcm, piece_bytes)) == whole


@every_format
@pytest.mark.parametrize("samples", [1, 2, 100, 1024, 1025])
def test_the_shortest_audio(audio_format: AudioFormat, samples: int) -> None:
    pcm = sweep()[: 2 * samples]
    decoded, _ = decode(audio_format, b"".join(encode(audio_format, MODEL_RATE, pcm)), samples)
    slack = SLACK.get(audio_format, Slack())
    assert samples <= len(decoded) <= samples + slack.delay + slack.padding


@every_format
def test_no_audio_at_all(audio_format: AudioFormat) -> None:
    encode(audio_format, MODEL_RATE, b"")


@every_format
def test_media_types(audio_format: AudioFormat) -> None:
    encoder = make_encoder(audio_format, MODEL_RATE, MODEL_RATE)
    encoder.close()
    assert (
        encoder.media_type
        == {
            AudioFormat.FLAC: "audio/flac",
            AudioFormat.MP3: "audio/mpeg",
            AudioFormat.OPUS: "audio/ogg; codecs=opus",
            AudioFormat.AAC: "audio/aac",
        }[audio_format]
    )


@every_format
def test_encoders_that_are_given_up_leave_nothing(audio_format: AudioFormat) -> None:
    """As when a listener goes away in the middle. What each would leave is 32 KB at least, FFmpeg's output buffer."""
    pcm = sweep(0.1)
    process = psutil.Process()

    def resident_after_giving_up(count: int) -> int:
        for _ in range(count):
            encoder = make_encoder(audio_format, MODEL_RATE, 16_000)
            encoder.encode(pcm)
            encoder.close()
            encoder.close()
        gc.collect()
        # What the allocator keeps for later use is not held by anybody.
        ctypes.CDLL(None).malloc_trim(0)
        return process.memory_info().rss

    before = resident_after_giving_up(50)
    assert resident_after_giving_up(200) - before < 200 * 32_768 / 2
