"""An encoder for coroutines: what takes long runs in a thread, and nothing is held once the audio has ended."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio.to_thread

from cosyserve.audio.encoders import Encoder, make_encoder
from cosyserve.audio.formats import AudioFormat

Result = TypeVar("Result")


class Encoding:
    """One stream's. A cancellation waits for the piece in hand, so that no thread uses an encoder that is closed.

    at_once: `encode` without a wait, where it takes so little that no thread is needed; else None.
    """

    def __init__(self, encoder: Encoder, audio_format: AudioFormat) -> None:
        self.media_type = encoder.media_type
        self.at_once = None if audio_format.compressed else encoder.encode
        self._encoder = encoder
        self._format = audio_format

    async def encode(self, pcm: bytes) -> bytes:
        """Take 16-bit little-endian mono; give bytes that are ready to send."""
        return await _call(self._format, lambda: self._encoder.encode(pcm))

    async def finish(self) -> bytes:
        """What is still inside."""
        return await _call(self._format, self._encoder.finish)


@asynccontextmanager
async def encoding(audio_format: AudioFormat, model_rate: int, sample_rate: int) -> AsyncIterator[Encoding]:
    """An encoder for as long as this is entered; rates as for `make_encoder`. Leaving it awaits nothing."""
    encoder = await _call(audio_format, lambda: make_encoder(audio_format, model_rate, sample_rate))
    try:
        yield Encoding(encoder, audio_format)
    finally:
        encoder.close()


async def _call(audio_format: AudioFormat, work: Callable[[], Result]) -> Result:
    return await anyio.to_thread.run_sync(work) if audio_format.compressed else work()
