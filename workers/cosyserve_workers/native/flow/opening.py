"""What a solve begins with: tokens to what the estimator hears, which is the same at each of its steps."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import Graphs
from cosyserve_workers.native.flow.encoder import Behind, EncoderLeft, RowsBehind
from cosyserve_workers.native.flow.estimator import Heard
from cosyserve_workers.native.flow.layout import Layout
from cosyserve_workers.native.flow.parts import AnyEncoder, AnyEstimator


class Given(NamedTuple):
    """Of all sequences, one after the other."""

    tokens: Tensor
    """int64 [sum of (length + 3)], as `Encoder` has it."""
    speaker: Tensor
    """[frames, 80]."""
    prompt_mel: Tensor
    """[frames, 80]."""
    lookahead: Tensor
    """What convolutions look back to, [sequences, n, ...]: the encoder's two, and the one over the conditions."""
    upsampling: Tensor
    condition: Tensor


class Lie(NamedTuple):
    """How sequences lie, and what is behind them: in tokens and in frames."""

    by_token: Layout
    by_frame: Layout
    tokens: Behind
    frames: Behind


class Opened(NamedTuple):
    """What is heard, and what convolutions will look back to, as in `Given`."""

    heard: Heard
    lookahead: Tensor
    upsampling: Tensor
    condition: Tensor


class Opener(Protocol):
    """`Opening`, or its graphs."""

    def __call__(self, given: Given, lie: Lie) -> Opened:
        """Encode whole chunks, or chunks and a tail, of each sequence."""


class Opening:
    """The encoder, and the estimator's layers that hear what it makes."""

    def __init__(self, encoder: AnyEncoder, estimator: AnyEstimator) -> None:
        self._encoder = encoder
        self._estimator = estimator

    def __call__(self, given: Given, lie: Lie) -> Opened:
        """As `Opener`."""
        left = EncoderLeft(given.lookahead, given.upsampling)
        mean, left = self._encoder(given.tokens, (lie.by_token, lie.by_frame), left, (lie.tokens, lie.frames))
        condition = torch.cat([mean, given.speaker, given.prompt_mel], dim=1)
        heard, condition_left = self._estimator.hear(condition, given.condition, lie.by_frame)
        return Opened(heard, *left, condition_left)


class OpeningGraphs:
    """The same as CUDA graphs, over rows in pages: one for each number of rows."""

    def __init__(self, opening: Opening, graphs: Graphs) -> None:
        self._opening = opening
        self._graphs = graphs

    def __call__(self, given: Given, lie: Lie) -> Opened:
        """As `Opener`."""
        tokens, frames = lie.tokens, lie.frames
        assert isinstance(tokens, RowsBehind)
        assert isinstance(frames, RowsBehind)

        def program(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            *own, real_frames = tensors[: len(given) + 1]
            by_token, token_follows, by_frame, frame_follows, *numbers = tensors[len(own) + 1 :]
            on = Lie(
                lie.by_token.with_numbers([by_token, token_follows]),
                lie.by_frame.with_numbers([by_frame, frame_follows]),
                tokens._replace(pages=tokens.pages.with_numbers(numbers)),
                # But for how many are real, they are the same.
                frames._replace(pages=frames.pages.with_numbers([*numbers[:-1], real_frames])),
            )
            opened = self._opening(Given(*own), on)
            return *opened.heard, *opened[1:]

        layouts = (*lie.by_token.numbers, *lie.by_frame.numbers)
        places = [*given, frames.pages.frames, *layouts, *tokens.pages.numbers]
        shape = ("opening", len(lie.by_token.lengths), tokens.pages.most)
        *heard, lookahead, upsampling, condition = (
            result.clone() for result in self._graphs.call(shape, places, program)
        )
        return Opened(tuple(heard), lookahead, upsampling, condition)
