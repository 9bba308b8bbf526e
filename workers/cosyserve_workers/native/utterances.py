"""What is being said in the networks: requests, their segments, and how far each has come."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cosyserve_workers.mel_stretch import Stretch
from cosyserve_workers.native.features.voice import VoiceFeatures
from cosyserve_workers.native.flow.state import FlowStream
from cosyserve_workers.native.lm.attention import KeysAndValues
from cosyserve_workers.native.lm.silence import Silence
from cosyserve_workers.native.scheduler import Chunk
from cosyserve_workers.native.vocoder.stream import VocoderStream


@dataclass(frozen=True, slots=True)
class Segment:
    """What the language model is given for one segment: ids of what precedes the text, of the text, speech tokens.

    pause_s: what follows when it is said.
    """

    prompt_text: Sequence[int]
    text: Sequence[int]
    prompt_speech: Sequence[int]
    pause_s: float = 0.0

    @property
    def rows(self) -> int:
        """Length of the input: sos and the task's mark besides."""
        return len(self.prompt_text) + len(self.text) + len(self.prompt_speech) + 2


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """A prompt as the networks need it. digest: of its audio, which all else depends on."""

    digest: str
    features: VoiceFeatures


class Drawn(NamedTuple):
    """token: whether the step gave a token that is spoken. ended: whether the segment's speech ends."""

    token: bool
    ended: bool


class Sound(NamedTuple):
    """samples: [n] float32, n may be 0. chunk: what the scheduler is told of them."""

    samples: NDArray[np.float32]
    chunk: Chunk


@dataclass(slots=True, eq=False)
class Rendered:
    """How far a segment has come from tokens to sound. For the track that makes it alone, while that is at it."""

    handed_on: int = 0
    """How many of the tokens the flow has."""
    flow: FlowStream | None = None
    vocoder: VocoderStream | None = None
    stretch: Stretch | None = None

    @property
    def whole(self) -> bool:
        """Whether all of it is made."""
        return self.flow is not None and self.flow.finished


@dataclass(slots=True, eq=False)
class Spoken:
    """A segment on its way: text to tokens to mel to sound."""

    index: int
    """Which of the request's segments it is."""
    rest: Tensor
    """[rows, hidden]: the language model's input that is not yet prefilled."""
    limits: tuple[int, int]
    words: Sequence[int]
    """What it begins with, before its text."""
    opening: KeysAndValues | None
    """What the language model remembers of that, if it is known already; it is then no part of `rest`."""
    silence: Silence
    pause_s: float
    """What follows its sound."""
    tokens: list[int] = field(default_factory=list)
    """Those that are spoken."""
    drawn: int = 0
    """How many there were, of which some were not kept."""
    asked: int = 0
    """How many steps were launched that draw one of them."""
    ended: bool = False
    rendered: Rendered = field(default_factory=Rendered)

    @property
    def may_go_on(self) -> bool:
        """Whether it has room for another token beside those that are on their way."""
        return self.asked < self.limits[1]


@dataclass(slots=True, eq=False)
class Request:
    """One request in the networks. slot: its place in the language model."""

    slot: int
    seed: int
    speed: float
    voice: Voice
    segments: deque[Spoken] = field(default_factory=deque)
    added: int = 0
    """How many segments it has been given."""

    @property
    def in_the_model(self) -> Spoken:
        """The segment that the language model is at."""
        return next(spoken for spoken in self.segments if not spoken.ended)

    def to_be_heard(self) -> Spoken:
        """The first segment that is not made to its end, where nothing is made of it now; those before are let go."""
        while self.segments[0].rendered.whole:
            self.segments.popleft()
        return self.segments[0]
