"""A recording to the samples of a prompt, checked; nothing here believes a file's header further than it must.

Jobs for a helper: this module and what it imports load decoders, which the front end must not. What the functions
return is plain values; a text is a refusal, in words for the client.
"""

import hashlib
import math
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from cosyserve.voices.containers import READ
from cosyserve.voices.sources import AvSource, Samples, SoundFileSource, Source, Unreadable

MIN_S, MAX_S = 1.0, 30.0
MIN_RATE, MAX_RATE = 16_000, 192_000
KEPT_RATE = 48_000
"""Hz. What is above is brought down to it: no engine hears more, and a prompt is held in memory."""
MAX_CHANNELS = 8
SILENCE_PEAK = 10 ** (-50 / 20)
"""Peak below which a prompt counts as silent: -50 dB of full scale."""
CANCELLED = 10 ** (-20 / 10)
"""Energy of the channels' mean, as a part of the loudest one's, below which they cancel each other out. One channel of
eight alone has -18 dB."""
SAMPLE_BYTES = 4
NOT_AUDIO = f"the prompt is not audio that can be read: send {READ}"
TOO_LONG = f"the prompt is longer than {MAX_S:g} s"

Result = TypeVar("Result")
Open = Callable[[bytes], Source]


class _Refused(Exception):
    """The message is for the client."""


def probe(audio: bytes) -> int | str:
    """Bytes that `decode` would return of it, or a few more; from what the file says, before anything is decoded."""
    return _read(audio, _bytes_at_most)


def decode(audio: bytes) -> tuple[bytearray, int, str] | str:
    """Samples (float32, mono), their rate in Hz, and a hash of both.

    Memory is bounded by MAX_S, MAX_CHANNELS and the rates, whatever the header says.
    """
    return _read(audio, _prompt)


def _read(audio: bytes, work: Callable[[bytes, Open], Result]) -> Result | str:
    sources: tuple[Open, ...] = (SoundFileSource, AvSource)
    for open_source in sources:
        try:
            return work(audio, open_source)
        except Unreadable:
            continue
        except _Refused as refusal:
            return str(refusal)
    return NOT_AUDIO


def _bytes_at_most(audio: bytes, open_source: Open) -> int:
    with closing(open_source(audio)) as source:
        _check(source)
        frames = source.frames_at_most(_most_frames(source))
        return SAMPLE_BYTES * math.ceil(frames * min(1.0, KEPT_RATE / source.rate))


def _prompt(audio: bytes, open_source: Open) -> tuple[bytearray, int, str]:
    samples, rate = _mono(audio, open_source)
    _check_sound(samples)
    content = samples.tobytes()
    digest = hashlib.blake2b(content, digest_size=16, salt=rate.to_bytes(4, "little"))
    # Engines are given arrays that may be written to.
    return bytearray(content), rate, digest.hexdigest()


def _mono(audio: bytes, open_source: Open) -> tuple[Samples, int]:
    """The mean of the channels; the loudest one where they cancel each other out."""
    mixdown = _Mixdown()
    mean = _collect(audio, open_source, mixdown)
    if not mixdown.has_cancelled:
        return mean
    loudest = mixdown.loudest
    return _collect(audio, open_source, lambda block: np.ascontiguousarray(block[:, loudest]))


def _collect(audio: bytes, open_source: Open, mono: Callable[[Samples], Samples]) -> tuple[Samples, int]:
    """Samples and rate, block by block; stops where it gets too long. mono: [n, channels] to [n]."""
    with closing(open_source(audio)) as source:
        _check(source)
        lowered, pieces, frames = _Lowered(source.rate), [], 0
        for block in source.blocks():
            frames += len(block)
            if frames > _most_frames(source):
                raise _Refused(TOO_LONG)
            pieces.append(lowered(mono(block)))
        if frames < MIN_S * source.rate:
            raise _Refused(f"the prompt is {frames / source.rate:.2f} s long: at least {MIN_S:g} s are needed")
    return np.concatenate([*pieces, lowered.rest()]), lowered.rate


class _Mixdown:
    """Means of blocks, and whether the channels have cancelled each other out in them."""

    def __init__(self) -> None:
        self._energy = 0.0
        self._energies: NDArray[np.float64] = np.zeros(1)

    def __call__(self, block: Samples) -> Samples:
        with np.errstate(all="ignore"):
            mean: Samples = block.mean(axis=1, dtype=np.float32)
            self._energy += float(np.square(mean, dtype=np.float64).sum())
            self._energies = self._energies + np.square(block, dtype=np.float64).sum(axis=0)
        return mean

    @property
    def has_cancelled(self) -> bool:
        return bool(self._energy < CANCELLED * self._energies.max())

    @property
    def loudest(self) -> int:
        return int(self._energies.argmax())


class _Lowered:
    """Samples at KEPT_RATE at most, piece by piece. rate: Hz of what comes out."""

    def __init__(self, rate: int) -> None:
        self.rate = min(rate, KEPT_RATE)
        self._resampler = soxr.ResampleStream(rate, KEPT_RATE, 1, dtype="float32") if rate > KEPT_RATE else None

    def __call__(self, samples: Samples) -> Samples:
        return samples if self._resampler is None else self._resampler.resample_chunk(samples)

    def rest(self) -> Samples:
        """The filter's tail."""
        empty: Samples = np.zeros(0, np.float32)
        return empty if self._resampler is None else self._resampler.resample_chunk(empty, last=True)


def _check(source: Source) -> None:
    """What is known before anything is decoded. Raises _Refused."""
    if not MIN_RATE <= source.rate <= MAX_RATE:
        limit = f"at least {MIN_RATE}" if source.rate < MIN_RATE else f"at most {MAX_RATE}"
        raise _Refused(f"the prompt's sample rate is {source.rate} Hz: {limit} Hz is needed")
    if source.channels > MAX_CHANNELS:
        raise _Refused(f"the prompt has {source.channels} channels: at most {MAX_CHANNELS} are read")
    if source.length is not None and source.length > _most_frames(source):
        raise _Refused(TOO_LONG)


def _most_frames(source: Source) -> int:
    return int(MAX_S * source.rate)


def _check_sound(samples: Samples) -> None:
    if not np.isfinite(samples).all():
        raise _Refused("the prompt has samples that are no numbers")
    if np.abs(samples).max() < SILENCE_PEAK:
        raise _Refused("the prompt is silent")
