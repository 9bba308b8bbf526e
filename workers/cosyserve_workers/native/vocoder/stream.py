"""HiFT in pieces that join to what one pass over the whole gives: no fades, no lost or repeated samples.

Every output sample depends on a bounded stretch of mel frames. So a piece is decoded from a window that reaches some
frames past it on either side, and only its own samples are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Record
from cosyserve_workers.native.kernels.noise import key_of
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model
from cosyserve_workers.native.vocoder.causal_source import SteppedSource
from cosyserve_workers.native.vocoder.hift import Hift
from cosyserve_workers.native.vocoder.program import Given, Numbers, Program
from cosyserve_workers.native.vocoder.source import HarmonicSource, Source
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, HiftWeights
from cosyserve_workers.native.vocoder.windows import REACHES, Shape, Window, Windows


@dataclass(slots=True)
class VocoderStream:
    """One segment's state. mel: [mels, reach], the last frames, noughts before the first. carried: a row of `Given`."""

    noise_key: int
    mel: Tensor
    carried: Tensor
    known: int = 0
    """How many frames came."""
    given: int = 0
    """How many of them were given out as sound."""


class VocoderStep(NamedTuple):
    """mel: [mels, t] new frames, t may be 0. final: the segment ends with them."""

    stream: VocoderStream
    mel: Tensor
    final: bool


class Vocoder:
    """Mel in, audio out, many streams in one call."""

    def __init__(self, hift: Hift, source: Source, windows: Windows) -> None:
        self._windows = windows
        self._hift = hift
        self._source = source
        self._program = Program(hift, source, self._windows)
        self._nothing = torch.zeros(hift.sizes.mels, 1, device=hift.device)

    def record(self, record: Record) -> None:
        """Take graphs from now on, before the first stream."""
        self._windows = self._windows.of_one_length
        self._program = Program(self._hift, self._source, self._windows, record)

    @classmethod
    def load(cls, model_dir: Path, device: torch.device, dtype: torch.dtype, model: Model = COSYVOICE2) -> "Vocoder":
        """Read a model's `hift.pt`. Raises LoadError."""
        return cls.of(HiftWeights(model_dir, device, model), dtype)

    @classmethod
    def of(cls, weights: HiftWeights, dtype: torch.dtype) -> "Vocoder":
        """The one of these weights, with the windows that suit the device. dtype: of the convolutions."""
        hift, windows = Hift(weights, dtype), Windows(REACHES[weights.model])
        return cls(hift, source_of(weights), windows.of_one_length if hift.device.type == "cuda" else windows)

    @property
    def dtype(self) -> torch.dtype:
        """Of its convolutions."""
        return self._hift.dtype

    def reserve(self, frames: int) -> None:
        """Make what is shared ready for segments of so many frames."""
        self._source.reserve(frames)

    def open(self, seed: int) -> VocoderStream:
        """A new segment."""
        reach, device = self._windows.reach, self._hift.device
        carried = torch.zeros(1 + reach.carried, dtype=torch.float64, device=device)
        mel = torch.zeros(self._hift.sizes.mels, reach.left + reach.right, device=device)
        return VocoderStream(key_of(seed), mel, carried)

    @torch.inference_mode()
    def advance(self, steps: Sequence[VocoderStep]) -> list[Tensor]:
        """Decode what has enough context by now. Returns for each step its audio, [n] float32; n may be 0."""
        heard = _Heard(steps, self._nothing)
        self.reserve(max(step.stream.known for step in steps))
        cut = [self._windows.cut(step.stream.given, step.stream.known, final=step.final) for step in steps]
        audio: list[list[Tensor]] = [[] for _ in steps]
        for turn in zip_longest(*cut):
            rows = [_Row(index, steps[index].stream, window) for index, window in enumerate(turn) if window]
            for shape in dict.fromkeys(row.window.shape for row in rows):
                # One batch for windows of one shape: most streams move in the same stride.
                for batch in self._windows.batches([row for row in rows if row.window.shape == shape]):
                    for row, samples in zip(batch, self._make(shape, batch, heard), strict=True):
                        audio[row.step].append(samples)
        return [_joined(pieces) for pieces in audio]

    def _make(self, shape: Shape, batch: Sequence["_Row"], heard: "_Heard") -> list[Tensor]:
        """Make sound of some windows, each of another stream, and have the streams carry on from there."""
        filled = self._windows.filled(batch)
        places = self._program.places(len(filled))
        mel, numbers = heard.windows(filled, [self._numbers(row) for row in filled], places and places.mel)
        carried = torch.stack([row.stream.carried for row in filled], out=places and places.carried)
        sound, after = self._program.run(shape, Given(mel, numbers, carried))
        for row, carried in zip(batch, after, strict=False):
            row.stream.carried = carried
            row.stream.given += row.window.given
        return [sound[index, : row.window.given * SAMPLES_PER_FRAME] for index, row in enumerate(batch)]

    def _numbers(self, row: "_Row") -> Numbers:
        _, stream, window = row
        noise = self._source.noise_place(stream.noise_key, window.start)
        return Numbers(window.start, noise, *window.signal(stream.known), window.given, int(stream.given > 0))


def source_of(weights: HiftWeights) -> Source:
    """Their model's."""
    return SteppedSource.of(weights) if weights.model is COSYVOICE3 else HarmonicSource.of(weights)


class _Row(NamedTuple):
    """A window of the stream of a step of that number."""

    step: int
    stream: VocoderStream
    window: Window


class _Heard:
    """The mel of all steps side by side, which windows are taken from at one go. The streams remember its end.

    nothing: [mels, 1], what lies beyond a signal's ends.
    """

    def __init__(self, steps: Sequence[VocoderStep], nothing: Tensor) -> None:
        parts = [nothing]
        self._begins: list[int] = []
        columns, ends = 1, []
        for stream, mel, _ in steps:
            parts += [stream.mel, mel]
            self._begins.append(columns + stream.mel.shape[1] - stream.known)
            columns += stream.mel.shape[1] + mel.shape[1]
            ends.append(columns)
        self._mel = torch.cat(parts, dim=1)
        for (stream, mel, _), end in zip(steps, ends, strict=True):
            stream.known += mel.shape[1]
            stream.mel = self._mel[:, end - stream.mel.shape[1] : end]

    def windows(self, rows: Sequence[_Row], numbers: Sequence[Numbers], into: Tensor | None) -> tuple[Tensor, Tensor]:
        """Windows of one shape: mel as in `Given`, which is put `into` that, and `numbers` on the device."""
        count = len(rows)
        columns = [column for row, ours in zip(rows, numbers, strict=True) for column in self._columns(row, ours)]
        told = torch.tensor([number for ours in numbers for number in ours] + columns)
        told = told.to(self._mel.device, non_blocking=True)
        told, there = told.tensor_split([count * len(Numbers._fields)])
        if into is None:
            into = self._mel.new_empty(len(self._mel), count, len(there) // count)
        torch.index_select(self._mel, 1, there, out=into.view(len(into), -1))
        return into, told.view(count, -1)

    def _columns(self, row: _Row, numbers: Numbers) -> list[int]:
        begin, frames = self._begins[row.step] + row.window.start, row.window.shape.frames
        inside = range(begin + numbers.first, begin + numbers.last)
        return [0] * numbers.first + [*inside] + [0] * (frames - numbers.last)


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    if not pieces:
        return torch.zeros(0)
    return torch.cat(list(pieces)) if len(pieces) > 1 else pieces[0]
