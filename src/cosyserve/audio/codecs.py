"""Compressed formats through FFmpeg's libraries (PyAV): FLAC, MP3, Opus in Ogg, AAC in ADTS, written as they stream.

This module is imported when the first such answer begins: the libraries are 70 MB on disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer

from cosyserve.audio.formats import AudioFormat


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How FFmpeg makes a format. bit_rates: pairs of a least sample rate and bit/s, highest first; () if lossless."""

    container: str
    codec: str
    samples: str
    media_type: str
    bit_rates: tuple[tuple[int, int], ...] = ()
    muxing: Mapping[str, str] = field(default_factory=dict)
    coding: Mapping[str, str] = field(default_factory=dict)
    frames_a_second: int = 0


_RECIPES: Mapping[AudioFormat, _Recipe] = {
    # Its own blocks last 105 ms, and the 8 KB that are kept free for tags would come before the first sound.
    AudioFormat.FLAC: _Recipe(
        "flac", "flac", "s16", "audio/flac", muxing={"metadata_header_padding": "0"}, frames_a_second=25
    ),
    # No ID3 tag and no Xing frame: both would tell lengths that nobody knows yet. Without the bit reservoir a frame
    # leaves when it is made.
    AudioFormat.MP3: _Recipe(
        "mp3",
        "libmp3lame",
        "s16p",
        "audio/mpeg",
        bit_rates=((32_000, 128_000), (0, 64_000)),
        muxing={"write_xing": "0", "id3v2_version": "0"},
        coding={"reservoir": "0"},
    ),
    # A page for each 20 ms: by default they last a second.
    AudioFormat.OPUS: _Recipe(
        "ogg",
        "libopus",
        "s16",
        "audio/ogg; codecs=opus",
        bit_rates=((0, 48_000),),
        muxing={"page_duration": "20000"},
        coding={"vbr": "constrained"},
    ),
    # The default coder takes three times as long, and starves the first frames of a stream.
    AudioFormat.AAC: _Recipe(
        "adts",
        "aac",
        "fltp",
        "audio/aac",
        bit_rates=((32_000, 96_000), (16_000, 64_000), (0, 32_000)),
        coding={"aac_coder": "fast"},
    ),
}


class _Outlet:
    """The file that FFmpeg writes to, emptied after every piece."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        written = bytes(self._written)
        self._written.clear()
        return written


class CodecEncoder:
    """An encoder and its container. The same PCM in the same pieces or in others gives the same bytes.

    sample_rate: Hz of the PCM; one that `audio.check_sample_rate` takes.
    """

    def __init__(self, audio_format: AudioFormat, sample_rate: int) -> None:
        recipe = _RECIPES[audio_format]
        self.media_type = recipe.media_type
        self._sample_rate = sample_rate
        self._outlet = _Outlet()
        self._samples = 0
        self._open = True
        # Bit-exact: no version in the tags, no random serial number in Ogg.
        self._container: OutputContainer = av.open(
            self._outlet,
            "w",
            format=recipe.container,
            container_options={"flush_packets": "1", "fflags": "+bitexact", **recipe.muxing},
        )
        options = {"flags": "+bitexact", **recipe.coding}
        if recipe.frames_a_second:
            options["frame_size"] = str(sample_rate // recipe.frames_a_second)
        stream = self._container.add_stream(recipe.codec, rate=sample_rate, layout="mono", options=options)
        assert isinstance(stream, AudioStream)
        self._stream = stream
        context = stream.codec_context
        context.format = recipe.samples
        if recipe.bit_rates:
            context.bit_rate = next(bit_rate for least, bit_rate in recipe.bit_rates if sample_rate >= least)

    def encode(self, pcm: bytes) -> bytes:
        """What is complete: whole frames, in whole pages where the container has pages."""
        samples = np.frombuffer(pcm, "<i2")
        if len(samples):
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "s16", "mono")
            frame.sample_rate = self._sample_rate
            frame.pts, frame.time_base = self._samples, Fraction(1, self._sample_rate)
            self._samples += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._outlet.take()

    def finish(self) -> bytes:
        """The last frames, filled up with silence where the codec needs it, and the container's end."""
        if self._samples:
            self._container.mux(self._stream.encode(None))
        self.close()
        return self._outlet.take()

    def close(self) -> None:
        """Free the codec; safe to call again."""
        if self._open:
            self._open = False
            self._container.close()
