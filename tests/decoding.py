"""Compressed answers back to samples, with decoders that are not the encoder's own wherever there is one."""

import io
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from cosyserve.audio.formats import AudioFormat

FFMPEG = shutil.which("ffmpeg")


@dataclass(frozen=True)
class Slack:
    """What a codec may add, in samples at its own rate: a delay before the audio, padding after it."""

    delay: int = 0
    padding: int = 0


SLACK: Mapping[AudioFormat, Slack] = {
    # LAME's 576 + 529 samples and a decoder's 529, then a frame to push the last ones out and the rest of that.
    AudioFormat.MP3: Slack(1105 + 529, 2 * 1152 + 529),
    # One frame of priming; the last frame is filled up, and one more pushes it out.
    AudioFormat.AAC: Slack(1024, 2 * 1024),
}


def decode(audio_format: AudioFormat, content: bytes, samples: int) -> tuple[NDArray[np.float64], int]:
    """Mono samples in [-1, 1] and their rate in Hz, by libsndfile; AAC, which it does not know, by FFmpeg's decoder.

    samples: how many a FLAC file must have. It cannot say so itself, and libsndfile does not read on without knowing:
    it is told, reads so many, and fails at one more.
    """
    if audio_format is AudioFormat.AAC:
        return _decode_with_av(content)
    if audio_format is AudioFormat.FLAC:
        content = _with_length(content, samples)
    decoded, rate = soundfile.read(io.BytesIO(content))
    if audio_format is AudioFormat.FLAC:
        assert _fails_to_decode(_with_length(content, samples + 1))
    return decoded, rate


def decode_with_ffmpeg(audio_format: AudioFormat, content: bytes, rate: int) -> NDArray[np.float64]:
    """By the command line tool of this machine, which finds the format out.

    Not by its own decoder of Opus: version 5.1's stumbles where a stream goes over from speech coding to sound coding.
    """
    assert FFMPEG is not None
    decoder = ["-c:a", "libopus"] if audio_format is AudioFormat.OPUS else []
    command = [FFMPEG, "-v", "error", "-xerror", *decoder, "-i", "-", "-f", "s16le", "-ar", str(rate), "-"]
    done = subprocess.run(command, input=content, capture_output=True, check=True, timeout=60)
    assert not done.stderr
    return np.frombuffer(done.stdout, "<i2") / 32768


def _decode_with_av(content: bytes) -> tuple[NDArray[np.float64], int]:
    with av.open(io.BytesIO(content), "r", format="aac") as container:
        frames = list(container.decode(audio=0))
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(float), frames[0].sample_rate


def _with_length(flac: bytes, samples: int) -> bytes:
    """STREAMINFO ends its first 18 bytes with 36 bits of length; the file before it has 8 bytes."""
    assert flac[:4] == b"fLaC"
    return flac[:22] + samples.to_bytes(4, "big") + flac[26:]


def _fails_to_decode(content: bytes) -> bool:
    try:
        soundfile.read(io.BytesIO(content))
    except soundfile.LibsndfileError:
        return True
    return False
