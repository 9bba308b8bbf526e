"""Voices and what they say, for the flows of both models."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Case(NamedTuple):
    """A voice and what it says."""

    prompt: Tensor
    mel: Tensor
    speaker: Tensor
    tokens: Tensor


def make_case(prompt: int, tokens: int, seed: int = 0) -> Case:
    """Of so many tokens each."""
    generator = torch.Generator().manual_seed(1000 * seed + prompt)
    return Case(
        prompt=torch.randint(0, 6561, (prompt,), generator=generator),
        mel=torch.randn((2 * prompt, 80), generator=generator) - 5,
        speaker=torch.randn(192, generator=generator),
        tokens=torch.randint(0, 6561, (tokens,), generator=generator),
    )


def in_parts(advance: Callable[[Tensor, bool], Tensor], tokens: Tensor, cuts: Sequence[int]) -> Tensor:
    """Give a stream its tokens in parts that end at `cuts` and at the last token; all its mel.

    advance: takes a part, and whether it is the last one.
    """
    ends = [0, *cuts, len(tokens)]
    parts = [advance(tokens[start:end], index == len(cuts)) for index, (start, end) in enumerate(pairwise(ends))]
    return torch.cat(parts, dim=1)
