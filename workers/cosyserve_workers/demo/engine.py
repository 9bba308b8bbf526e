"""The engine `demo`: pieces of text, spoken by espeak-ng one after another, as one stream of audio."""

import logging
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import soxr
from numpy.typing import NDArray

from cosyserve.protocol import SOUNDS, FailureCode, Synthesize, TextConfig, split_system_prompt
from cosyserve_workers.demo.espeak import FASTEST_RATE, NORMAL_RATE, SAMPLE_RATE, SLOWEST_RATE, Espeak
from cosyserve_workers.demo.readings import ENGLISH, MANDARIN
from cosyserve_workers.demo.stretch import stretch
from cosyserve_workers.demo.text import Piece, pieces
from cosyserve_workers.engine import RequestError
from cosyserve_workers.reading import Part, Reader

_BLOCK = 4096
"""Samples handed on at once: 186 ms."""
_SILENT = 20
"""Samples of less than this (of 32768) are pause, not speech."""
_MARGIN = SAMPLE_RATE // 200
"""Kept of the pause before and after each piece: 5 ms."""

log = logging.getLogger(__name__)


class _Stopped(Exception):
    """The job was cancelled."""


class DemoEngine:
    """espeak-ng's voices behind the Engine protocol.

    The voice goes by the text's script. The prompt, the instruction and the seed do not change the sound; the front end
    has validated them all the same.

    One synthesiser serves all streams: they take turns of one piece, at most some ten seconds of speech made in some
    20 ms, so that they advance side by side and the first piece is there early. Nothing is held between turns: no lock,
    no thread, no memory but the piece being yielded.

    speed: espeak-ng's own rate follows words per minute only roughly (measured at 300, nominally 1.71 times as fast:
    1.56 to 2.14 by voice and text; at 80, nominally 0.46: 0.46 to 0.54) and ends at 0.46 and about 2.6. So a piece is
    also spoken at the normal rate, which says how long it should be, and what the rate leaves is stretched: a request's
    duration is that of speed 1 divided by `speed`, to the sample for each piece, from 0.25 to 4.
    """

    model_type = "demo"
    sample_rate = 24000

    def __init__(self, espeak: Espeak, streams: int, text: TextConfig) -> None:
        self._espeak = espeak
        self._reader = Reader(text, SOUNDS) if text.normaliser == "cosyserve" else None
        self.streams = streams
        told = {"voice": "espeak-ng, not CosyVoice", "version": espeak.version, "device": "cpu"}
        self.details: Mapping[str, str] = told
        log.warning("the engine 'demo' speaks with the voice of espeak-ng %s, not of CosyVoice", espeak.version)

    def warm_up(self) -> None:
        """Speak a word in the usual voices: the dictionaries are then in the page cache."""
        for text, voice in (("你好", MANDARIN), ("Hello", ENGLISH)):
            self._espeak.speak(text, voice, NORMAL_RATE, lambda: None)

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """Yield the request's text as speech, in pieces of some 0.2 s. Raises RequestError, EngineBroken."""

        def step() -> None:
            if cancelled():
                raise _Stopped

        resampler = soxr.ResampleStream(SAMPLE_RATE, self.sample_rate, 1, dtype="float32")
        spoken = False
        try:
            for block in self._speech(request, step):
                step()
                spoken = True
                yield from _audible(resampler.resample_chunk(block))
            step()
        except _Stopped:
            return
        if not spoken:
            raise RequestError(FailureCode.UNSPEAKABLE_TEXT, "the text has nothing that can be spoken")
        yield from _audible(resampler.resample_chunk(np.empty(0, np.float32), last=True))

    def read_as(self, text: TextConfig) -> None:
        """Read the texts to come so. Raises LoadError."""
        if self._reader is not None:
            self._reader.read_as(text)

    def close(self) -> None:
        """Nothing is held between pieces."""

    def _speech(self, request: Synthesize, step: Callable[[], None]) -> Iterator[NDArray[np.float32]]:
        """[n] float32 blocks at espeak-ng's rate: pieces, and the pauses between them."""
        pause_s = asked_s = 0.0
        for part in self._parts(request):
            for piece in pieces(part.text):
                blocks = self._piece(piece, request.speed, step)
                first = next(blocks, None)
                if first is None:
                    continue
                yield from _silence(pause_s)
                yield first
                yield from blocks
                pause_s = piece.pause_s / request.speed
            # What an author asks for is no matter of pace.
            asked_s = part.pause_s
            pause_s += asked_s
        if asked_s:
            yield from _silence(pause_s)

    def _parts(self, request: Synthesize) -> list[Part]:
        text = split_system_prompt(request.text)[1]
        return self._reader.parts(text, request, len) if self._reader else [Part(text)]

    def _piece(self, piece: Piece, speed: float, step: Callable[[], None]) -> Iterator[NDArray[np.float32]]:
        normal = self._spoken(piece, NORMAL_RATE, step)
        length = round(len(normal) / speed)
        rate = min(max(round(NORMAL_RATE * speed), SLOWEST_RATE), FASTEST_RATE)
        samples = normal if rate == NORMAL_RATE else self._spoken(piece, rate, step)
        if len(samples) == length:
            yield from _blocks(samples)
        elif len(samples) > 0:
            yield from _gathered(stretch(samples, length))

    def _spoken(self, piece: Piece, rate: int, step: Callable[[], None]) -> NDArray[np.float32]:
        """Without the pause that espeak-ng puts before and after: its length depends on where the text was cut."""
        samples = self._espeak.speak(piece.text, piece.voice, rate, step)
        heard = np.flatnonzero(np.abs(samples.astype(np.int32)) > _SILENT)
        if len(heard) == 0:
            return np.empty(0, np.float32)
        kept = samples[max(0, heard[0] - _MARGIN) : heard[-1] + 1 + _MARGIN]
        return kept.astype(np.float32) / np.float32(32768)


def _silence(seconds: float) -> Iterator[NDArray[np.float32]]:
    if seconds:
        yield np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def _blocks(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(samples), _BLOCK):
        yield samples[start : start + _BLOCK]


def _gathered(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of _BLOCK or a little more."""
    waiting: list[NDArray[np.float32]] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= _BLOCK:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _audible(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Nothing for the resampler's first, empty answers; within [-1, 1], which resampling may overshoot."""
    if len(samples) > 0:
        yield np.clip(samples, -1.0, 1.0)
