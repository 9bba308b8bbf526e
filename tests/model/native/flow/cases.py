"""Voices and what they say, for the flows of both models."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.memory import Page
from cosyserve_workers.native.flow.state import FlowStream, VoiceState


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


def opened(flow: Flow, case: Case) -> FlowStream:
    """A stream of the case's voice."""
    return flow.open(flow.voice_state(case.prompt, case.mel, case.speaker))


def speak(flow: Flow, stream: FlowStream, tokens: Tensor, cuts: Sequence[int]) -> Tensor:
    """Give a stream its tokens in parts that end at `cuts` and at the last token; all its mel."""
    spans = enumerate(pairwise([0, *cuts, len(tokens)]))
    steps = [FlowStep(stream, tokens[start:end], final=index == len(cuts)) for index, (start, end) in spans]
    return torch.cat([flow.advance([step])[0] for step in steps], dim=1)


def tensors_of(page: Page) -> list[Tensor]:
    """All that a page holds."""
    return [*page.chunk[:-1], *page.chunk.lefts]


def kept_of(voice: VoiceState) -> list[Tensor]:
    """All that was written for a voice: what convolutions look back to is put down for its last chunk alone."""
    return [*(part for page in voice.pages for part in page.chunk[:-1]), *voice.pages[-1].chunk.lefts]
