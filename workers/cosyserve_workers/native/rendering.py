"""Tokens to sound: flow, pace and vocoder of the streams that take part in a turn, in one batch.

One track alone may use it; what it is told of a stream is settled before, since tokens may be drawn meanwhile.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from cosyserve_workers.mel_stretch import Stretch
from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.rescue import Rescue
from cosyserve_workers.native.flow.sizes import FRAMES_PER_TOKEN
from cosyserve_workers.native.flow.state import FlowStream
from cosyserve_workers.native.scheduler import FIRST_CHUNK_TOKENS, HOPS, Chunk
from cosyserve_workers.native.state_budget import VoiceStates
from cosyserve_workers.native.transfers import Fetched
from cosyserve_workers.native.utterances import Rendered, Request, Sound, Spoken
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep, VocoderStream

SAMPLE_RATE = 24_000


class Part(NamedTuple):
    """A stream's part in a solve. tokens: those that the flow does not have yet. ended: whether no more will come."""

    request: Request
    spoken: Spoken
    tokens: Sequence[int]
    ended: bool


class _Step(NamedTuple):
    part: Part
    flow: FlowStep


class Renderer:
    """Flow and vocoder of a model.

    budget: bytes for what voices and streams carry in the flow. chunk_tokens: as `Plan`. rescue: who solves what the
    flow overflows in.
    """

    def __init__(
        self, flow: Flow, vocoder: Vocoder, budget: int, chunk_tokens: int, rescue: Rescue | None = None
    ) -> None:
        self.flow = flow
        self.vocoder = vocoder
        self.rescue = rescue
        self._budget = budget
        self._chunk_tokens = chunk_tokens
        self._voices = VoiceStates(flow, budget)
        self._alive: set[Rendered] = set()

    @property
    def state_bytes(self) -> int:
        """Memory that voices and streams hold in the flow."""
        return self._voices.alive_bytes + self._streams_bytes

    @torch.inference_mode()
    def render(self, parts: Sequence[Part]) -> list[Sound]:
        """Make the next chunk of each, and wait for it."""
        steps: list[_Step] = []
        promised = 0
        for part in parts:
            flow_step, more = self._flow_step(part, promised)
            promised += more
            steps.append(_Step(part, flow_step))
        # Shared by all lanes.
        (self.rescue or self.flow).reserve(max(len(step.flow.stream.tokens) + len(step.flow.tokens) for step in steps))
        self.vocoder.reserve(max(map(_frames_spoken, steps)))
        made = self.flow.lanes.run(self._speak, steps)
        for step in steps:
            if step.flow.final:
                self.drop([step.part.spoken])
        return [
            Sound(samples.tensor().numpy(), _chunk(step, samples.on_host))
            for step, samples in zip(steps, made, strict=True)
        ]

    def drop(self, segments: Sequence[Spoken]) -> None:
        """Give back what segments carry that nobody goes on with."""
        for spoken in segments:
            if spoken.rendered.flow is not None:
                spoken.rendered.flow.drop_state()
            self._alive.discard(spoken.rendered)

    @torch.inference_mode()
    def _speak(self, steps: Sequence[_Step]) -> list[Fetched]:
        """Flow, pace and vocoder of some streams, in one batch."""
        mels = (self.rescue or self.flow).advance([step.flow for step in steps])
        vocoded = self.vocoder.advance(
            [
                VocoderStep(self._voice_of(step.part), _paced(step, mel), step.flow.final)
                for step, mel in zip(steps, mels, strict=True)
            ]
        )
        return [Fetched(_with_pause(step, samples)) for step, samples in zip(steps, vocoded, strict=True)]

    def _flow_step(self, part: Part, promised: int) -> tuple[FlowStep, int]:
        """Hand on to the flow what makes the next chunk. Returns the step and the memory that it will take.

        State is kept where there is room, beside the bytes promised to others in this turn. Where there is none, the
        stream gives up what it has, for others to keep theirs, and solves again from its voice's boundary each time.
        """
        rendered = part.spoken.rendered
        stream = rendered.flow = rendered.flow or self._open(part)
        first = rendered.handed_on == 0
        carries = first or stream.state_bytes > 0
        enough = stream.tokens_needed(FIRST_CHUNK_TOKENS if first else self._chunk_tokens if carries else HOPS[-1])
        # Not at equality: a stream that is alone comes here before it knows that nothing follows, and where chunks end
        # should not depend on company.
        final = part.ended and len(part.tokens) < enough
        tokens = part.tokens[:enough]
        rendered.handed_on += len(tokens)
        more = 0 if final else self.flow.bytes_after(stream, len(tokens)) - stream.state_bytes
        keep = final or self.state_bytes + promised + more <= self._budget
        if not keep:
            stream.drop_state()
            more = 0
        return FlowStep(stream, torch.tensor(tokens, dtype=torch.int64), final=final, keep=keep), more

    def _open(self, part: Part) -> FlowStream:
        voice = part.request.voice
        self._alive.add(part.spoken.rendered)
        return self.flow.open(self._voices.get(voice.digest, voice.features, self._streams_bytes))

    @property
    def _streams_bytes(self) -> int:
        return sum(rendered.flow.state_bytes for rendered in self._alive if rendered.flow is not None)

    def _voice_of(self, part: Part) -> VocoderStream:
        rendered = part.spoken.rendered
        if rendered.vocoder is None:
            noise = np.random.SeedSequence((part.request.seed, part.spoken.index)).generate_state(1)
            rendered.vocoder = self.vocoder.open(int(noise[0]))
        return rendered.vocoder


def _paced(step: _Step, mel: Tensor) -> Tensor:
    """[80, n] frames at the model's pace in, [80, m] at the request's out."""
    speed, rendered = step.part.request.speed, step.part.spoken.rendered
    if speed == 1.0 or not step.part.spoken.tokens:
        return mel
    if rendered.stretch is None:
        rendered.stretch = Stretch(speed)
    return rendered.stretch.push(mel[None], last=step.flow.final)[0]


def _frames_spoken(step: _Step) -> int:
    """How many frames at most a segment has at its own pace, when this chunk is made."""
    return math.ceil(step.part.spoken.rendered.handed_on * FRAMES_PER_TOKEN / step.part.request.speed) + 1


def _with_pause(step: _Step, samples: Tensor) -> Tensor:
    if step.flow.final and step.part.spoken.pause_s:
        samples = pad(samples, (0, round(step.part.spoken.pause_s * SAMPLE_RATE)))
    return samples.float()


def _chunk(step: _Step, samples: Tensor) -> Chunk:
    stream = step.flow.stream
    solved = max(stream.frames_done // FRAMES_PER_TOKEN - len(stream.voice.tokens), 0)
    return Chunk(solved, len(samples) / SAMPLE_RATE, step.flow.final, step.flow.keep)
