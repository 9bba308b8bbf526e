"""Chunks that find no room in fp16 are solved again in bf16, which has fewer digits and larger numbers.

Mel that is not finite is never heard. A stream that once had some goes on in bf16, from its beginning each time, since
what it carried and what its voice left are of the other kind. That is slow, and fails nobody.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import COUNTS, Record
from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.state import FlowStream
from cosyserve_workers.native.models import ModelFolder
from cosyserve_workers.native.transfers import Fetched


class Rescue:
    """A flow in fp16, and one of the same weights in bf16, which keeps no state."""

    def __init__(self, flow: Flow, spare: Flow) -> None:
        self._flow = flow
        self._spare = spare

    @classmethod
    def load(cls, folder: ModelFolder, flow: Flow) -> "Rescue":
        """Read the weights of a folder's flow once more. Raises LoadError."""
        return cls(flow, Flow.load(folder.path, flow.device, torch.bfloat16, flow.lanes, folder.model))

    def record(self, record: Record) -> None:
        """As `Flow.record`, for both. The second one has a page to be tried on; it never takes any."""
        self._spare.pool.reserve(self._spare.pool.page_bytes)
        for flow in (self._flow, self._spare):
            flow.record(record)

    def reserve(self, tokens: int) -> None:
        """As `Flow.reserve`."""
        self._flow.reserve(tokens)
        self._spare.reserve(tokens)

    @torch.inference_mode()
    def advance(self, steps: Sequence[FlowStep]) -> list[Tensor]:
        """As `Flow.advance`; all that it returns is finite in bf16 at least. Waits for the device."""
        before = [(step.stream.tokens, step.stream.frames_done) for step in steps]
        mels: list[Tensor | None] = [None] * len(steps)
        safe = [index for index, step in enumerate(steps) if not self._has(step.stream)]
        for index, mel in zip(safe, self._flow.advance([steps[index] for index in safe]), strict=True):
            mels[index] = mel
        finite = [mel.isfinite().all() for mel in mels if mel is not None]
        told = Fetched(torch.stack(finite)).tensor().tolist() if safe else []
        for index, sound in zip(safe, told, strict=True):
            if not sound:
                mels[index] = None
                self._take(steps[index].stream, *before[index])
        return self._solve_again(steps, mels)

    def _solve_again(self, steps: Sequence[FlowStep], mels: Sequence[Tensor | None]) -> list[Tensor]:
        lost = iter(
            self._spare.advance(
                [replace(step, keep=False) for step, mel in zip(steps, mels, strict=True) if mel is None]
            )
        )
        return [next(lost) if mel is None else mel for mel in mels]

    def _has(self, stream: FlowStream) -> bool:
        return stream.pool is self._spare.pool

    def _take(self, stream: FlowStream, tokens: Tensor, frames_done: int) -> None:
        """Have a stream go on from before the chunk that was lost."""
        COUNTS["flow_overflows"] += 1
        voice, dtype = stream.voice, self._spare.outer
        stream.voice = replace(voice, mel=voice.mel.to(dtype), speaker=voice.speaker.to(dtype), pages=())
        stream.pool = self._spare.pool
        stream.pages = ()
        stream.tokens, stream.frames_done, stream.finished = tokens, frames_done, False
