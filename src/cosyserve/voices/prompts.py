"""Uploaded audio to a checked, mono prompt. Nothing here believes a file's header further than it must."""

import hashlib
import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from cosyserve.errors import InvalidPrompt
from cosyserve.protocol import Prompt

MIN_S, MAX_S = 1.0, 30.0
MIN_RATE, MAX_RATE = 16_000, 192_000
MAX_CHANNELS = 8
SILENCE_PEAK = 10 ** (-50 / 20)
"""Peak below which a prompt counts as silent: -50 dB of full scale."""
BLOCK_FRAMES = 65_536
MEDIA_TYPES = {
    "WAV": "audio/wav",
    "WAVEX": "audio/wav",
    "RF64": "audio/wav",
    "FLAC": "audio/flac",
    "OGG": "audio/ogg",
    "MP3": "audio/mpeg",
    "AIFF": "audio/aiff",
}
"""By libsndfile's name of the container."""


def decode_prompt(audio: bytes, param: str = "prompt_wav") -> Prompt:
    """Decode WAV, FLAC, OGG or MP3 to mono float32 at its own rate. Raises InvalidPrompt.

    Blocks for as long as decoding takes; memory is bounded by MAX_S and MAX_RATE, whatever the header says.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(audio)) as file:
            _check_format(file, param)
            samples = _read_mono(file, param)
            rate = file.samplerate
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        raise InvalidPrompt(
            "the prompt is not audio that can be read: send WAV, FLAC, OGG or MP3", param=param
        ) from error
    duration = len(samples) / rate
    if duration < MIN_S:
        raise InvalidPrompt(f"the prompt is {duration:.2f} s long: at least {MIN_S:g} s are needed", param=param)
    if not np.isfinite(samples).all():
        raise InvalidPrompt("the prompt has samples that are no numbers", param=param)
    if np.abs(samples).max() < SILENCE_PEAK:
        raise InvalidPrompt("the prompt is silent", param=param)
    digest = hashlib.blake2b(samples.tobytes(), digest_size=16, salt=rate.to_bytes(4, "little"))
    return Prompt(samples, rate, digest.hexdigest())


def media_type_of(audio: bytes) -> str:
    """What to call a file that `decode_prompt` has taken."""
    with soundfile.SoundFile(io.BytesIO(audio)) as file:
        return MEDIA_TYPES.get(file.format, "application/octet-stream")


def load_default_prompt(path: Path | None) -> Prompt | None:
    """The configured prompt; None where none is configured or the file is not there. Raises InvalidPrompt."""
    if path is None or not path.is_file():
        return None
    return decode_prompt(path.read_bytes(), param="defaults.prompt_wav")


def _check_format(file: soundfile.SoundFile, param: str) -> None:
    if not MIN_RATE <= file.samplerate <= MAX_RATE:
        limit = f"at least {MIN_RATE}" if file.samplerate < MIN_RATE else f"at most {MAX_RATE}"
        raise InvalidPrompt(f"the prompt's sample rate is {file.samplerate} Hz: {limit} Hz is needed", param=param)
    if file.channels > MAX_CHANNELS:
        raise InvalidPrompt(f"the prompt has {file.channels} channels: at most {MAX_CHANNELS} are read", param=param)


def _read_mono(file: soundfile.SoundFile, param: str) -> NDArray[np.float32]:
    """Mix down block by block, and stop where it gets too long."""
    most = int(MAX_S * file.samplerate)
    blocks: list[NDArray[np.float32]] = []
    frames = 0
    while (block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)).size:
        frames += len(block)
        if frames > most:
            raise InvalidPrompt(f"the prompt is longer than {MAX_S:g} s", param=param)
        blocks.append(block.mean(axis=1, dtype=np.float32))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
