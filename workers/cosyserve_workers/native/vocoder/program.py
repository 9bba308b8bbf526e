"""The vocoder's program: a batch of windows of one shape, with what their streams carry, to sound."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Graphs, Record
from cosyserve_workers.native.vocoder.ends import MaskedEnds
from cosyserve_workers.native.vocoder.hift import UNMASKED, Hift
from cosyserve_workers.native.vocoder.source import Places, Source
from cosyserve_workers.native.vocoder.windows import BUCKETS, Shape, Windows

_LOUDNESS = -5.0
"""Of a mel that graphs are tried with: what is between silence and a shout."""


class Carried(NamedTuple):
    """What streams carry from window to window, the same size for each.

    pitch: [b, reach.carried] float64, Hz of the next window's first frames. turns: [b] float64, as `source.Places`,
    before the first of them.
    """

    pitch: Tensor
    turns: Tensor


class Numbers(NamedTuple):
    """Of each row, int64.

    frame: number of its window's first frame in the stream. noise: where that frame's noise lies. first, last: between
    them is the signal in the window. given: frames that are given out. carries: 1 if there was a window before.
    """

    frame: int
    noise: int
    first: int
    last: int
    given: int
    carries: int


class Program:
    """One network and its source.

    record: how a GPU's graphs are made, one for each number of windows of the one length that they all have then.
    """

    def __init__(self, hift: Hift, source: Source, windows: Windows, record: Record | None = None) -> None:
        self._hift = hift
        self._source = source
        self._reach = windows.reach
        self._masks = hift.masks(windows.shape.frames) if windows.shape else None
        self._settled = torch.arange(windows.reach.carried, device=hift.device)
        self._graphs: Graphs | None = None
        if record is not None and windows.shape is not None:
            self._graphs = Graphs("the vocoder", record)
            for rows in BUCKETS:
                self.rehearse(windows.shape, rows)
            self._graphs.seal()

    @torch.inference_mode()
    def run(self, shape: Shape, mel: Tensor, numbers: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
        """mel: [b, mels, frames], 0 where there is no signal. numbers: [b, 6], as `Numbers`.

        Returns sound [b, 480 kept], of which the first `given` frames are right, and what is carried on.
        """
        if self._graphs is None:
            return self._run(shape, mel, numbers, carried)

        def program(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            mel, numbers, *carried = tensors
            sound, after = self._run(shape, mel, numbers, Carried(*carried))
            return sound, *after

        results = self._graphs.call(len(mel), [mel, numbers, *carried], program)
        sound, *after = (result.clone() for result in results)
        return sound, Carried(*after)

    def rehearse(self, shape: Shape, rows: int) -> None:
        """Run a batch of noise in the midst of streams."""
        device = self._hift.device
        dice = torch.Generator().manual_seed(rows)
        mel = torch.randn((rows, self._hift.sizes.mels, shape.frames), generator=dice) + _LOUDNESS
        numbers = Numbers(0, 0, 0, shape.frames, shape.kept.end - shape.kept.start, 1)
        pitch = torch.full((rows, self._reach.carried), 100.0, dtype=torch.float64, device=device)
        carried = Carried(pitch, pitch.new_zeros(rows))
        self.run(shape, mel.to(device), torch.tensor([numbers] * rows, device=device), carried)

    def _run(self, shape: Shape, mel: Tensor, numbers: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
        frame, noise, _, _, given, carries = numbers.unbind(1)
        ends = MaskedEnds(self._masks, numbers[:, 2:4]) if self._masks else UNMASKED
        fresh = self._hift.pitch(mel, ends)
        pitch = self._joined(shape, carried.pitch, fresh, carries)
        source, turns = self._source.make(pitch, Places(carried.turns, frame, noise))
        sound = self._hift.decode(mel, source, shape.kept, ends)
        return sound, self._carry(shape, pitch, turns, given)

    def _joined(self, shape: Shape, carried: Tensor, fresh: Tensor, carries: Tensor) -> Tensor:
        """[b, frames] float64: what was settled before as it was then."""
        absent = self._reach.left - shape.kept.start
        count = self._reach.carried - absent if shape.kept.start else 0
        if not count:
            return fresh
        settled = torch.where(carries[:, None].bool(), carried[:, absent:], fresh[:, :count])
        return torch.cat([settled, fresh[:, count:]], dim=1)

    def _carry(self, shape: Shape, pitch: Tensor, turns: Tensor, given: Tensor) -> Carried:
        # Where the next window begins in this one.
        begins = given[:, None] + (shape.kept.start - self._reach.left)
        places = begins + self._settled
        return Carried(
            pitch.gather(1, places.clamp_(0, pitch.shape[1] - 1)), turns.gather(1, begins.clamp_(min=0)).frac_()[:, 0]
        )
