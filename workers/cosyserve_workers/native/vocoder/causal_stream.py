"""CosyVoice3's vocoder in pieces that join to what one pass over the whole gives: no fades, no lost samples.

A piece is decoded from a window that reaches back as far as its sound depends on mel and source; what it does not keep
is cut from stage to stage. Five frames of mel after those kept are all that must be known (upstream waits for eight).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Record
from cosyserve_workers.native.models import COSYVOICE3
from cosyserve_workers.native.vocoder.causal import MEL_RIGHT, PITCH_LEFT, PITCH_RIGHT, CausalHift
from cosyserve_workers.native.vocoder.causal_source import SteppedSource
from cosyserve_workers.native.vocoder.reach import Span
from cosyserve_workers.native.vocoder.stream import VocoderStep
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, HiftWeights

RIGHT_FRAMES = MEL_RIGHT + 1
"""To come after those that are kept: 0.1 s of sound waits for them."""


@dataclass(slots=True)
class CausalVocoderStream:
    """One segment's state. mel: [mels, t], the window's left context and what was not given out yet."""

    mel: Tensor | None = None
    source: Tensor | None = None
    """[480 s] of the first s frames of `mel`."""
    turns: Tensor | float = 0.0
    """The phase after them, mod 1."""
    dropped: int = 0
    """Frames of the segment before those of `mel`."""
    given_out: int = 0
    """How many frames of `mel` were given out already."""


class CausalVocoder:
    """Mel in, audio out, many streams in one call."""

    def __init__(self, hift: CausalHift, source: SteppedSource) -> None:
        self._hift = hift
        self._source = source

    @classmethod
    def load(cls, model_dir: Path, device: torch.device, dtype: torch.dtype) -> "CausalVocoder":
        """Read `hift.pt`. dtype: of the convolutions. Raises LoadError."""
        return cls.of(HiftWeights(model_dir, device, COSYVOICE3), dtype)

    @classmethod
    def of(cls, weights: HiftWeights, dtype: torch.dtype) -> "CausalVocoder":
        """The one of these weights."""
        return cls(CausalHift(weights, dtype), SteppedSource.of(weights))

    @property
    def dtype(self) -> torch.dtype:
        """Of its convolutions."""
        return self._hift.dtype

    def reserve(self, frames: int) -> None:
        """Make what is shared ready for segments of so many frames."""
        self._source.reserve(frames)

    def record(self, record: Record) -> None:
        """Its windows have many lengths: there is no program of a fixed size."""

    def open(self, seed: int) -> CausalVocoderStream:
        """A new segment. There is no randomness in it, whatever the seed."""
        del seed
        return CausalVocoderStream()

    @torch.inference_mode()
    def advance(self, steps: Sequence[VocoderStep[CausalVocoderStream]]) -> list[Tensor]:
        """Decode what has enough context by now. Returns for each step its audio, [n] float32; n may be 0."""
        windows = [self._window(step) for step in steps]
        audio = [torch.zeros(0, device=self._hift.device) for _ in steps]
        for shape in {window.shape for window in windows if window.kept.end > window.kept.start}:
            # One batch for windows of one shape: most streams move in the same stride.
            group = [index for index, window in enumerate(windows) if window.shape == shape]
            mel = torch.stack([windows[index].mel for index in group])
            source = torch.stack([windows[index].source for index in group])
            window = windows[group[0]]
            decoded = self._hift.decode(mel, source, window.kept, final=window.final)
            for index, samples in zip(group, decoded, strict=True):
                audio[index] = samples
        for step, window in zip(steps, windows, strict=True):
            self._remember(step.stream, window)
        return audio

    def _window(self, step: VocoderStep[CausalVocoderStream]) -> "_Window":
        stream = step.stream
        mel = step.mel if stream.mel is None else torch.cat([stream.mel, step.mel], dim=1)
        frames = mel.shape[1]
        until = frames if step.final else max(frames - RIGHT_FRAMES, stream.given_out)
        source = self._extend_source(stream, mel, final=step.final)
        return _Window(mel, source, Span(stream.given_out, until), step.final)

    def _extend_source(self, stream: CausalVocoderStream, mel: Tensor, *, final: bool) -> Tensor:
        """The source of all frames whose pitch is known, [480 s]; the stream's phase moves on with it."""
        have = mel.new_zeros(0, dtype=torch.float32) if stream.source is None else stream.source
        begin, end = len(have) // SAMPLES_PER_FRAME, mel.shape[1] - (0 if final else PITCH_RIGHT)
        if end <= begin:
            return have
        before = max(begin - PITCH_LEFT, 0)
        f0 = self._hift.pitch(mel[None, :, before:], final=final)[0, begin - before :]
        made, stream.turns = self._source.make(f0, stream.turns, stream.dropped + begin)
        return torch.cat([have, made])

    def _remember(self, stream: CausalVocoderStream, window: "_Window") -> None:
        drop = max(0, window.kept.end - self._hift.left_frames)
        stream.mel = window.mel[:, drop:]
        stream.source = window.source[drop * SAMPLES_PER_FRAME :]
        stream.dropped += drop
        stream.given_out = window.kept.end - drop


class _Window(NamedTuple):
    """mel: [mels, t]. source: [480 s]. kept: the frames that are new audio. final: whether the segment ends here."""

    mel: Tensor
    source: Tensor
    kept: Span
    final: bool

    @property
    def shape(self) -> tuple[int, int, Span, bool]:
        """What those of one batch have in common."""
        return self.mel.shape[1], len(self.source), self.kept, self.final
