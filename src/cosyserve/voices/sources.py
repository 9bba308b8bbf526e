"""Recordings as blocks of samples: libsndfile reads them, and FFmpeg what libsndfile does not.

Runs in a helper's process alone: both libraries read what strangers send.
"""

import contextlib
import io
import itertools
from collections.abc import Iterator
from typing import Protocol

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from cosyserve.voices.containers import container_of

BLOCK_FRAMES = 65_536
NO_LENGTH = 1 << 62
"""libsndfile's word for a FLAC file that does not tell its length, which it does not read."""
ESTIMATED = "MP3"
"""The format whose length may be a guess from its bit rate."""
CODECS = ("aac", "alac", "flac", "libopus", "mp3", "mp3float", "opus", "pcm_s16be", "pcm_s16le", "pcm_s24le", "vorbis")
"""FFmpeg's decoders that may see a stranger's bytes: what browsers, phones and this service write."""

Samples = NDArray[np.float32]


class Unreadable(Exception):
    """This library does not take it for sound."""


class Source(Protocol):
    """An open recording. rate: Hz. length: frames that a header tells, where it can be believed.

    Its methods may raise Unreadable, and are called once.
    """

    rate: int
    channels: int
    length: int | None

    def frames_at_most(self, most: int) -> int:
        """How many there are, found without decoding them; `most` where it is more or not told. Instead of `blocks`."""

    def blocks(self) -> Iterator[Samples]:
        """[n, channels] at a time."""

    def close(self) -> None:
        """Let go of it."""


class SoundFileSource:
    """By libsndfile."""

    def __init__(self, audio: bytes) -> None:
        with _unreadable():
            self._file = soundfile.SoundFile(io.BytesIO(audio))
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self._frames: int = self._file.frames
        if self._frames >= NO_LENGTH:
            self._file.close()
            raise Unreadable
        self.length: int | None = None if self._file.format == ESTIMATED else self._frames

    def frames_at_most(self, most: int) -> int:
        """No more are read than the header says."""
        return min(most, self._frames)

    def blocks(self) -> Iterator[Samples]:
        """[BLOCK_FRAMES, channels] at a time, the last one shorter."""
        while (block := self._read()).size:
            yield block

    def close(self) -> None:
        """Let go of it."""
        self._file.close()

    def _read(self) -> Samples:
        with _unreadable():
            block: Samples = self._file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
            return block


class AvSource:
    """By FFmpeg, told which container it is: its guessing would let strangers choose among hundreds of readers."""

    def __init__(self, audio: bytes) -> None:
        self._seconds = 0.0
        with _unreadable(), contextlib.ExitStack() as half_open:
            self._container = half_open.enter_context(_container(audio))
            self._stream = _stream(self._container)
            self._packets = self._demux()
            self._frames = self._decode()
            # What a header says of the rate may be half of it (AAC with SBR): a frame knows.
            first = next(self._frames)
            half_open.pop_all()
        self._frames = itertools.chain((first,), self._frames)
        self.rate: int = first.sample_rate
        self.channels: int = first.layout.nb_channels
        self.length: int | None = None

    def frames_at_most(self, most: int) -> int:
        """What the packets say that they last, for headers do not know, or lie."""
        with _unreadable():
            for _ in self._packets:
                if self._seconds * self.rate >= most:
                    return most
        return round(self._seconds * self.rate)

    def blocks(self) -> Iterator[Samples]:
        """[n, channels], about BLOCK_FRAMES at a time: a codec's own frames are short, and many."""
        held: list[Samples] = []
        for piece in self._pieces():
            held.append(piece)
            if sum(map(len, held)) >= BLOCK_FRAMES:
                yield np.concatenate(held)
                held.clear()
        if held:
            yield np.concatenate(held)

    def close(self) -> None:
        """Let go of it."""
        self._container.close()

    def _pieces(self) -> Iterator[Samples]:
        """[n, channels] a frame of the codec."""
        resampler = av.AudioResampler(format="fltp")
        while (frame := self._next()) is not None:
            # Where it has nothing to convert, the resampler lets these pass.
            if (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self.channels):
                raise Unreadable
            with _unreadable():
                pieces = [piece.to_ndarray().astype(np.float32, copy=False) for piece in resampler.resample(frame)]
            for piece in pieces:
                yield piece.T

    def _next(self) -> AudioFrame | None:
        with _unreadable():
            return next(self._frames, None)

    def _demux(self) -> "Iterator[Packet[AudioStream]]":
        for packet in self._container.demux(self._stream):
            if packet.size:
                # One that does not say how long it lasts could last for ever.
                self._seconds += float(packet.duration * packet.time_base) if packet.duration else float("inf")
            yield packet

    def _decode(self) -> Iterator[AudioFrame]:
        for packet in self._packets:
            # As players do: the next packet may be whole.
            with contextlib.suppress(av.InvalidDataError):
                for frame in packet.decode():
                    if isinstance(frame, AudioFrame) and frame.samples:
                        yield frame


def _container(audio: bytes) -> InputContainer:
    if not (demuxer := container_of(audio).demuxer):
        raise Unreadable
    return av.open(
        io.BytesIO(audio),
        "r",
        format=demuxer,
        metadata_errors="replace",
        container_options={"codec_whitelist": ",".join(CODECS)},
    )


def _stream(container: InputContainer) -> AudioStream:
    """The first one; raises IndexError where there is none."""
    stream = container.streams.audio[0]
    if stream.codec_context.name not in CODECS:
        raise Unreadable
    stream.codec_context.thread_count = 1
    return stream


@contextlib.contextmanager
def _unreadable() -> Iterator[None]:
    """Whatever a library raises at a stranger's bytes says that they are no sound, lack of memory apart."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable from error
