"""The vocoder's program: a batch of windows of one shape, with what their streams carry, to sound."""

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


class Given(NamedTuple):
    """What a batch of windows is made of.

    mel: [mels, b, frames], 0 where there is no signal. numbers: [b, 6], as `Numbers`. carried: [b, 1 + reach.carried]
    float64, what streams carry from window to window: turns as in `source.Places` before the window's first frame, and
    the first frames' pitch in Hz.
    """

    mel: Tensor
    numbers: Tensor
    carried: Tensor


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

    def places(self, rows: int) -> Given | None:
        """Where so many windows' graph reads. What lies there already is not copied by `run`."""
        places = self._graphs.places(rows) if self._graphs else None
        return Given(*places) if places else None

    @torch.inference_mode()
    def run(self, shape: Shape, given: Given) -> tuple[Tensor, Tensor]:
        """Returns sound [b, 480 kept], of which the first `given` frames are right, and what is carried on."""
        if self._graphs is None:
            return self._run(shape, given)
        results = self._graphs.call(len(given.numbers), given, lambda places: self._run(shape, Given(*places)))
        sound, carried = (result.clone() for result in results)
        return sound, carried

    def rehearse(self, shape: Shape, rows: int) -> None:
        """Run a batch of noise in the midst of streams."""
        device = self._hift.device
        dice = torch.Generator().manual_seed(rows)
        mel = torch.randn((self._hift.sizes.mels, rows, shape.frames), generator=dice) + _LOUDNESS
        numbers = Numbers(0, 0, 0, shape.frames, shape.kept.end - shape.kept.start, 1)
        carried = torch.full((rows, 1 + self._reach.carried), 100.0, dtype=torch.float64, device=device)
        self.run(shape, Given(mel.to(device), torch.tensor([numbers] * rows, device=device), carried))

    def _run(self, shape: Shape, given: Given) -> tuple[Tensor, Tensor]:
        mel, numbers, carried = given.mel.transpose(0, 1), given.numbers, given.carried
        frame, noise, _, _, heard, carries = numbers.unbind(1)
        ends = MaskedEnds(self._masks, numbers[:, 2:4]) if self._masks else UNMASKED
        fresh = self._hift.pitch(mel, ends)
        pitch = self._joined(shape, carried[:, 1:], fresh, carries)
        source, turns = self._source.make(pitch, Places(carried[:, 0], frame, noise))
        sound = self._hift.decode(mel, source, shape.kept, ends)
        return sound, self._carry(shape, pitch, turns, heard)

    def _joined(self, shape: Shape, carried: Tensor, fresh: Tensor, carries: Tensor) -> Tensor:
        """[b, frames] float64: what was settled before as it was then."""
        absent = self._reach.left - shape.kept.start
        count = self._reach.carried - absent if shape.kept.start else 0
        if not count:
            return fresh
        settled = torch.where(carries[:, None].bool(), carried[:, absent:], fresh[:, :count])
        return torch.cat([settled, fresh[:, count:]], dim=1)

    def _carry(self, shape: Shape, pitch: Tensor, turns: Tensor, given: Tensor) -> Tensor:
        # Where the next window begins in this one.
        begins = given[:, None] + (shape.kept.start - self._reach.left)
        places = (begins + self._settled).clamp_(0, pitch.shape[1] - 1)
        carried = pitch.new_empty(len(pitch), 1 + self._reach.carried)
        torch.gather(pitch, 1, places, out=carried[:, 1:])
        torch.frac(turns.gather(1, begins.clamp_(min=0)), out=carried[:, :1])
        return carried
