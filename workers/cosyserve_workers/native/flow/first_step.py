"""The unguided row of the first Euler step, solved once for everybody.

It starts from noise, which depends on the place alone, and hears nothing: so in each chunk of the grid it is the same
for every stream and every voice. It is a twentieth of the estimator's work.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.flow.attention import Gathered
from cosyserve_workers.native.flow.estimator import Batch, Left
from cosyserve_workers.native.flow.estimator_graphs import Stepper
from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.memory import KeysValues
from cosyserve_workers.native.flow.parts import AnyEstimator, AnySizes
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES

MOST_CHUNKS = 32
"""Of which it is kept, at 11.5 MB each in float32 at full size. What lies further on is solved by each stream."""
_GUIDED, _UNGUIDED = slice(0, 1), slice(1, 2)


class _Solved(NamedTuple):
    """One chunk."""

    velocity: Tensor
    """[1, 50, 80]."""
    others: Tensor
    """[1, 1, n, channels]: what the convolutions then remember."""
    keys_values: Tensor
    """[layers, 2, 1, 50, heads * head width]."""


class FirstStep:
    """The first Euler step.

    noise: [frames, 80] as steps are given it, from the first place on. dtype: of what they leave. others: who takes a
    step that is not known here.
    """

    def __init__(
        self, estimator: AnyEstimator, sizes: AnySizes, noise: Tensor, dtype: torch.dtype, others: Stepper
    ) -> None:
        self._estimator = estimator
        self._others = others
        page = sizes.page
        _, self._reach, _ = page.mel
        # As the convolutions see it: nothing is before the first frame.
        self._noise = functional.pad(noise[: MOST_CHUNKS * CHUNK_FRAMES], (0, 0, self._reach, 0))
        self._nothing = noise.new_zeros(1, 1, *page.convolutions[2:], dtype=dtype)
        self._heads = sizes.heads
        self._shape = page.step
        self._solved: list[_Solved] = []

    @torch.inference_mode()
    def reserve(self, chunks: int) -> None:
        """Solve so many chunks, if they are not; `velocity` then changes nothing of ours."""
        while len(self._solved) < min(chunks, MOST_CHUNKS):
            self._solved.append(self._solve(len(self._solved)))

    def velocity(self, shifts: Tensor, mel: Tensor, left: Left, batch: Batch) -> tuple[Tensor, Left]:
        """As `Stepper`."""
        assert isinstance(batch.attention, Gathered)
        memories = batch.attention.memories
        known = [self._known(memory, length) for memory, length in zip(memories, batch.layout.lengths, strict=True)]
        if not all(known):
            return self._others.velocity(shifts, mel, left, batch)
        guided, new = self._estimator.velocity(shifts, mel, Left(left.mel, left.others[_GUIDED]), batch.of_row(_GUIDED))
        for chunks, memory in zip(known, memories, strict=True):
            # None is wanted where nothing is carried on.
            for chunk, page in zip(chunks, memory.of_row(_UNGUIDED).fresh, strict=False):
                page.copy_(chunk.keys_values)
        free = torch.cat([chunk.velocity for chunks in known for chunk in chunks], dim=1)
        others = torch.cat([chunks[-1].others for chunks in known], dim=1)
        return torch.cat([guided, free]), Left(new.mel, torch.cat([new.others, others]))

    def _known(self, memory: KeysValues, frames: int) -> Sequence[_Solved]:
        """A sequence's chunks; none if it ends within a chunk, or somewhere beyond those that are solved."""
        first, count = len(memory.past), frames // CHUNK_FRAMES
        known = self._solved[first : first + count]
        return known if frames % CHUNK_FRAMES == 0 and len(known) == count else []

    def _solve(self, index: int) -> _Solved:
        start = index * CHUNK_FRAMES
        frames = self._noise[start : start + self._reach + CHUNK_FRAMES]
        remembered = self._solved[-1].others if index else self._nothing
        fresh = remembered.new_empty(self._shape)[:, :, _UNGUIDED].contiguous()
        layout = Layout([CHUNK_FRAMES], frames.device)
        memory = KeysValues([chunk.keys_values for chunk in self._solved], [fresh])
        places = torch.arange(start, start + CHUNK_FRAMES, device=frames.device)
        attention = Gathered(layout, [memory], self._heads)
        velocity, new = self._estimator.velocity(
            self._estimator.time_shifts[0],
            frames[self._reach :],
            Left(frames[None, : self._reach], remembered),
            Batch(layout, places, self._estimator.hear_nothing(CHUNK_FRAMES), attention),
        )
        return _Solved(velocity, new.others, fresh)
