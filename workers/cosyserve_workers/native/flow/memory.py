"""What a sequence carries from one solve to the next: keys, values and the frames that convolutions look back to."""

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.flow.layout import LEFT
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    CONDITION_CHANNELS,
    EULER_STEPS,
    GUIDANCE_ROWS,
    MEL_BINS,
    FlowSizes,
)


class Block(NamedTuple):
    """Keys and values of one whole chunk, in all attention layers. Written once, then only read."""

    tokens: Tensor
    """[layers, 2, heads, 25, head width] of the encoder's layers at the tokens' rate; keys first."""
    frames: Tensor
    """[layers, 2, heads, 50, head width] of those at the frames' rate."""
    estimator: Tensor
    """[steps, layers, 2, rows, heads, 50, head width]."""


class EncoderLeft(NamedTuple):
    """What the encoder's two causal convolutions remember, each [2, width]; with a leading axis for many sequences."""

    lookahead: Tensor
    upsampling: Tensor


class Carry(NamedTuple):
    """All that a sequence carries at a chunk's boundary. Nobody writes to it, so that many may start from one."""

    encoder: EncoderLeft
    condition: Tensor
    """[2, 240]: what the estimator's input heard in the last two frames."""
    mel: Tensor
    """[steps, 2, 80]: the noisy mel at each Euler step in the last two frames."""
    convolutions: Tensor
    """[steps, rows, 2, channels]: what the estimator's other convolutions remember, in the order of their calls."""
    blocks: tuple[Block, ...]
    """One for each chunk behind the boundary."""

    @classmethod
    def empty(cls, sizes: FlowSizes, device: torch.device, dtype: torch.dtype) -> "Carry":
        """What there is before the first frame: zeros, as the library pads."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, device=device, dtype=dtype)

        return cls(
            encoder=EncoderLeft(zeros(LEFT, sizes.width), zeros(LEFT, sizes.width)),
            condition=zeros(LEFT, CONDITION_CHANNELS),
            mel=zeros(EULER_STEPS, LEFT, MEL_BINS),
            convolutions=zeros(EULER_STEPS, GUIDANCE_ROWS, LEFT, sizes.convolution_channels),
            blocks=(),
        )

    @property
    def small_bytes(self) -> int:
        """Bytes of all but the blocks."""
        return sum(_bytes(tensor) for tensor in (*self.encoder, self.condition, self.mel, self.convolutions))


class KeysValues:
    """One sequence's keys and values during a solve.

    past: a tensor for each chunk behind, [layers, 2, ..., frames, head width].
    fresh: the like for the chunks being solved, to be filled; empty if nobody will need them.
    """

    def __init__(self, past: Sequence[Tensor], fresh: Sequence[Tensor]) -> None:
        self.past = past
        self.fresh = fresh

    def of_row(self, row: slice) -> "KeysValues":
        """Those of one guidance row, of the estimator's."""
        past, fresh = ([block[:, :, row] for block in blocks] for blocks in (self.past, self.fresh))
        return KeysValues(past, fresh)

    def extend(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Put a layer's new keys and values [2, ..., frames, head width] behind those it has; all keys, all values.

        The past is gathered from its chunks anew at each call: that costs one reading, which attention then is spared,
        and lets streams share what is the same.
        """
        start = 0
        for block in self.fresh:
            end = start + block.shape[-2]
            block[layer].copy_(new[..., start:end, :])
            start = end
        # One after the other: with more than four dimensions CUDA copies each chunk by a kernel of its own.
        keys, values = ([*(block[layer, part] for block in self.past), new[part]] for part in (0, 1))
        return torch.cat(keys, dim=-2), torch.cat(values, dim=-2)


class BlockPool:
    """Makes blocks, and keeps those given back: the first touch of fresh memory costs more than filling it."""

    def __init__(self, sizes: FlowSizes, device: torch.device, dtype: torch.dtype) -> None:
        self._shapes = _shapes(sizes)
        self._device = device
        self._dtype = dtype
        self._free: list[Block] = []
        self.block_bytes = sum(shape.numel() for shape in self._shapes) * dtype.itemsize
        """Bytes of one block."""

    def take(self) -> Block:
        """A block with anything in it."""
        with contextlib.suppress(IndexError):
            return self._free.pop()
        return self._make()

    def give_back(self, blocks: Sequence[Block]) -> None:
        """Take back blocks that nobody reads any more."""
        self._free.extend(blocks)

    @property
    def reserved_bytes(self) -> int:
        """Memory that is held and not used."""
        return len(self._free) * self.block_bytes

    def reserve(self, most_bytes: int) -> None:
        """Make as many blocks as that memory has room for, and touch them, so that no request pays for it."""
        while self.reserved_bytes + self.block_bytes <= most_bytes:
            self._free.append(Block(*(tensor.zero_() for tensor in self._make())))

    def _make(self) -> Block:
        return Block(*(torch.empty(shape, device=self._device, dtype=self._dtype) for shape in self._shapes))


def _shapes(sizes: FlowSizes) -> tuple[torch.Size, ...]:
    encoder = (2, sizes.encoder_heads)
    return (
        torch.Size((sizes.encoder_layers, *encoder, CHUNK_TOKENS, sizes.encoder_head_width)),
        torch.Size((sizes.upsampled_layers, *encoder, CHUNK_FRAMES, sizes.encoder_head_width)),
        torch.Size((EULER_STEPS, *estimator_step_shape(sizes))),
    )


def estimator_step_shape(sizes: FlowSizes) -> torch.Size:
    """What the estimator remembers of a chunk from one Euler step."""
    return torch.Size((sizes.estimator_layers, 2, GUIDANCE_ROWS, sizes.heads, CHUNK_FRAMES, sizes.head_width))


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
