"""What a sequence carries from one solve to the next, and where: in pages of one chunk, in a pool that all share.

A page is a chunk's keys and values in all attention layers, and the frames that convolutions look back to at its end.
It is written once, then only read, so that any number of streams may continue from one voice's pages.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.flow.sizes import PageShapes, Shape
from cosyserve_workers.native.flow.weights import outer_dtype

_INNER = ("estimator", "convolutions")
"""Parts of a page that the estimator's products are made of."""


class Lefts(NamedTuple):
    """What convolutions look back to: the last frames of their inputs. Zeros before the first, as the library pads.

    n is 2, where CosyVoice2 has such convolutions and CosyVoice3 not 0, and 30 for CosyVoice3's estimator. With a
    leading axis for many sequences.
    """

    lookahead: Tensor
    """[2, width]: of the look-ahead layer's second convolution."""
    upsampling: Tensor
    """[n, width]: of the one that doubles the rate."""
    condition: Tensor
    """[n, 240]: of the estimator's input, without the noisy mel."""
    mel: Tensor
    """[steps, n, 80]: the noisy mel at each Euler step."""
    convolutions: Tensor
    """[steps, rows, n, channels]: of the estimator's other convolutions, in the order of their calls."""


class Chunk(NamedTuple):
    """What is kept of one chunk; of many with a leading axis. Keys before values."""

    tokens: Tensor
    """[layers, 2, 1, 25, width]: of the encoder's layers at the tokens' rate, of which CosyVoice3 has none."""
    frames: Tensor
    """[layers, 2, 1, 50, width]: of those at the frames' rate."""
    estimator: Tensor
    """[steps, layers, 2, rows, 50, heads * head width]."""
    lefts: Lefts


class Page:
    """A chunk's place. It is free again when nobody refers to it.

    number: which of the slab's it is.
    """

    def __init__(self, number: int, chunk: Chunk, give_back: Callable[[tuple[int, Chunk]], None]) -> None:
        self.number = number
        self.chunk = chunk
        self._give_back = give_back

    def __del__(self) -> None:
        self._give_back((self.number, self.chunk))


class PagePool:
    """Hands out pages of memory that it keeps: the first touch of fresh memory costs more than filling it.

    It grows by a page at a time until `reserve` has told how much there is.

    dtype: of what the estimator's inner layers leave; all else is of `outer_dtype`.
    """

    def __init__(self, shapes: PageShapes, device: torch.device, dtype: torch.dtype) -> None:
        chunk = len(Chunk._fields) - 1
        outer = outer_dtype(device, dtype)
        kinds = [(shape, dtype if name in _INNER else outer) for name, shape in shapes._asdict().items()]
        self._shapes, self._lefts = kinds[:chunk], kinds[chunk:]
        self._device = device
        self._free: list[tuple[int, Chunk]] = []
        self.slab: Chunk | None = None
        """All pages in one piece, once they are reserved."""
        self._untaken = 0
        """How many of the slab's were never handed out, the last of it."""
        self.page_bytes = sum(math.prod(shape) * kept.itemsize for shape, kept in kinds)
        """Bytes of one page."""
        self.nothing = Lefts(*(tensor[0].zero_() for tensor in self._make(self._lefts, 1)))
        """What precedes the first chunk."""

    def take(self, count: int) -> tuple[Page, ...]:
        """Pages with anything in them; none at all where there are not so many."""
        if self.room is not None and self.room < count:
            return ()
        return tuple(Page(*self._next(), self._free.append) for _ in range(count))

    @property
    def room(self) -> int | None:
        """How many may be taken, if that has an end."""
        return None if self.slab is None else self._untaken + len(self._free)

    @property
    def reserved_bytes(self) -> int:
        """Memory that is held and not used."""
        return (self._untaken + len(self._free)) * self.page_bytes

    def reserve(self, most_bytes: int) -> None:
        """Make as many pages as that memory has room for, and touch them. There will be no others."""
        count = most_bytes // self.page_bytes
        self.slab = self._chunk(count)
        self._untaken = count
        for tensor in (*self.slab[:-1], *self.slab.lefts):
            tensor.zero_()

    def _next(self) -> tuple[int, Chunk]:
        if self._free:
            return self._free.pop()
        if self.slab is None:
            return 0, _one_of(self._chunk(1), 0)
        number = len(self.slab.estimator) - self._untaken
        self._untaken -= 1
        return number, _one_of(self.slab, number)

    def _chunk(self, count: int) -> Chunk:
        tokens, frames, estimator = self._make(self._shapes, count)
        return Chunk(tokens, frames, estimator, Lefts(*self._make(self._lefts, count)))

    def _make(self, kinds: Sequence[tuple[Shape, torch.dtype]], count: int) -> list[Tensor]:
        return [torch.empty((count, *shape), device=self._device, dtype=dtype) for shape, dtype in kinds]


class KeysValues:
    """One sequence's keys and values during a solve.

    past: a tensor for each chunk behind, [layers, 2, rows, frames, channels].
    fresh: the like for the chunks being solved, to be filled; empty if nobody will need them.
    """

    def __init__(self, past: Sequence[Tensor], fresh: Sequence[Tensor]) -> None:
        self.past = past
        self.fresh = fresh

    def of_row(self, row: slice) -> "KeysValues":
        """Those of one guidance row, of the estimator's."""
        past, fresh = ([page[:, :, row] for page in pages] for pages in (self.past, self.fresh))
        return KeysValues(past, fresh)

    def extend(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Put a layer's new keys and values behind those it has; all keys, all values, [rows, frames, channels].

        The past is gathered from its pages anew at each call: that costs one reading, which attention then is spared.

        new: [rows, frames, 2, channels].
        """
        start = 0
        for page in self.fresh:
            end = start + page.shape[3]
            page[layer].copy_(new[:, start:end].movedim(2, 0))
            start = end
        # One after the other: with more than four dimensions CUDA copies each chunk by a kernel of its own.
        keys, values = ([*(page[layer, part] for page in self.past), new[:, :, part]] for part in (0, 1))
        return torch.cat(keys, dim=1), torch.cat(values, dim=1)


def _one_of(chunks: Chunk, index: int) -> Chunk:
    lefts = Lefts(*(tensor[index] for tensor in chunks.lefts))
    return Chunk(chunks.tokens[index], chunks.frames[index], chunks.estimator[index], lefts)
