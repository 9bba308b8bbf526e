"""The three networks of a model, and what each turn does with them for the requests that take part in it.

One thread alone may use them. Nothing here decides whose turn it is (`scheduler`) or waits for anybody (`driver`).
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from cosyserve_workers.mel_stretch import Stretch
from cosyserve_workers.native.cuda_graphs import Recording, recorder_for
from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.lane_choice import choose_lanes
from cosyserve_workers.native.flow.rescue import Rescue
from cosyserve_workers.native.flow.sizes import FRAMES_PER_TOKEN
from cosyserve_workers.native.flow.width_choice import measure_widths
from cosyserve_workers.native.half_vocoder import NAMES, load_vocoder
from cosyserve_workers.native.lanes import Lanes
from cosyserve_workers.native.lm.model import LanguageModel
from cosyserve_workers.native.lm.openings import Openings
from cosyserve_workers.native.lm.program import NO_TOKENS, Draws, TokenProgram
from cosyserve_workers.native.lm.sampling import Sampler, length_limits
from cosyserve_workers.native.lm.silence import SILENT, Silence
from cosyserve_workers.native.lm.weights import load_weights
from cosyserve_workers.native.memory_plan import MemoryPlan, Room, plan_memory, spare_bytes, weights_bytes
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model, ModelFolder
from cosyserve_workers.native.precision import Precision
from cosyserve_workers.native.scheduler import FIRST_CHUNK_TOKENS, HOPS, Chunk
from cosyserve_workers.native.state_budget import VoiceStates
from cosyserve_workers.native.transfers import Fetched
from cosyserve_workers.native.utterances import Drawn, Request, Segment, Sound, Spoken, Voice
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep, VocoderStream

MAX_POSITIONS = 4096
"""Of the language model, for each stream: an instruction, 30 s of a prompt with its text, and the longest segment."""
MAX_SEGMENT_TOKENS = 120
"""Text tokens in a segment."""
MAX_SPOKEN = length_limits(MAX_SEGMENT_TOKENS)[1]
SAMPLE_RATE = 24_000


Around = Callable[[Sampler], Draws]
"""What a measurement puts around the sampler."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes that depend on the machine.

    slots: how many requests at once. wanted_state: bytes for what voices and streams carry in the flow, taken at start;
    0 is as much as there is room for, taken as needed. chunk_tokens: at most so many tokens of a stream are solved at a
    time, a multiple of 25. solve_width, prefill_rows: as `Scheduler`. lanes: how many threads a solve is dealt to at
    most. steps_behind: how many steps of the language model are launched before the first one's tokens are read.
    """

    slots: int
    wanted_state: int
    chunk_tokens: int
    solve_width: int
    """At most: on a GPU what pays is measured."""
    prefill_rows: int
    lanes: int = 1
    steps_behind: int = 0


class _Step(NamedTuple):
    """A stream's part in a solve."""

    request: Request
    spoken: Spoken
    flow: FlowStep


class _Launched(NamedTuple):
    """A step of the language model: whose tokens it draws, in order."""

    taking: Sequence[tuple[Request, Spoken]]
    tokens: Fetched


class _Models(NamedTuple):
    lm: LanguageModel
    program: TokenProgram
    flow: Flow
    vocoder: Vocoder


class Networks:
    """Language model, flow and vocoder of one model folder.

    plan: how much is done at a time. memory: within how much. model: whose networks they are.
    """

    def __init__(self, models: _Models, plan: Plan, memory: MemoryPlan, model: Model = COSYVOICE2) -> None:
        lm, program, flow, vocoder = models
        self.model = model
        self.memory = memory
        self.found: Mapping[str, str] = {}
        """What was settled by trial while loading, in words: `lanes` of the flow, precision of the `vocoder`."""
        self.rescue: Rescue | None = None
        """Who solves what the flow overflows in."""
        self.solve_width = plan.solve_width
        """How many streams share a solve, as `Scheduler`."""
        self._lm = lm
        self._flow = flow
        self._vocoder = vocoder
        self._program = program
        self._launched: deque[_Launched] = deque()
        self._openings = Openings()
        self._voices = VoiceStates(flow, memory.state)
        self._budget = memory.state
        self._lanes = flow.lanes
        self._chunk_tokens = plan.chunk_tokens
        self._silent = SILENT if model is COSYVOICE3 else frozenset[int]()
        self._requests: dict[int, Request] = {}
        self._free = list(range(lm.slots))

    @classmethod
    def load(
        cls,
        folder: ModelFolder,
        room: Room,
        precision: Precision,
        plan: Plan,
        around: Around | None = None,
    ) -> "Networks":
        """Load an official folder of either model. around: for the sampler. Raises LoadError."""
        model, device, dtype = folder.model, room.device, precision.dtype
        weights = load_weights(folder, device, dtype, int8=precision.int8)
        lm = LanguageModel(weights, plan.slots, MAX_POSITIONS)
        taken = weights_bytes(folder.path, dtype, folder.language_model, model.flow_kept)
        taken += spare_bytes(folder.path, precision)
        memory = plan_memory(room, taken, lm.remembers_bytes, plan.wanted_state)
        flow = Flow.load(folder.path, device, precision.flow, Lanes(plan.lanes), model)
        lanes = choose_lanes(flow)
        if plan.wanted_state or device.type == "cuda":
            flow.pool.reserve(memory.state)
        vocoder, runs_in = load_vocoder(folder.path, device, precision.vocoder, model)
        vocoder.reserve(MAX_SPOKEN * FRAMES_PER_TOKEN)
        sampler = Sampler(plan.slots, MAX_SPOKEN, lm.sizes.vocab, lm.stops, device)
        found = {"flow": NAMES[precision.flow], "lanes": lanes, "vocoder": runs_in}
        record, recording = recorder_for(device), Recording(device)
        program = TokenProgram(lm, around(sampler) if around else sampler, record)
        if record is not None:
            flow.record(record)
            vocoder.record(record)
            found["graphs"] = str(recording)
        networks = cls(_Models(lm, program, flow, vocoder), plan, memory, model)
        networks.found = found
        if precision.flow == torch.float16:
            networks.rescue = Rescue(flow, Flow.load(folder.path, device, torch.bfloat16, flow.lanes, model))
        return networks

    def choose_width(self) -> None:
        """Measure how wide a solve pays, up to `solve_width`, and take that."""
        table = measure_widths(self._flow, self.solve_width)
        self.solve_width = table.best
        self.found = {**self.found, "solve_width": str(table)}

    @property
    def text_vocabulary(self) -> int:
        """Ids of text that the language model knows."""
        return self._lm.sizes.text_vocab

    @property
    def state_bytes(self) -> int:
        """Memory that voices and streams hold in the flow."""
        return self._voices.alive_bytes + self._streams_bytes

    def open(self, seed: int, speed: float, voice: Voice) -> Request:
        """Begin a request. There must be fewer than `slots`."""
        request = Request(self._free.pop(0), seed, speed, voice)
        self._requests[request.slot] = request
        return request

    def close(self, request: Request) -> None:
        """Take a request out, whether or not it has come to its end."""
        for spoken in request.segments:
            spoken.ended = True
            if spoken.flow is not None:
                spoken.flow.drop_state()
        self._lm.release(request.slot)
        del self._requests[request.slot]
        # In order, so that the first streams stay together: a step over all slots in order copies nothing.
        self._free = sorted([*self._free, request.slot])

    def add(self, request: Request, segment: Segment) -> int:
        """Give a request another segment to say. Returns how many rows of it there are to prefill."""
        ids = (segment.prompt_text, segment.text, segment.prompt_speech)
        rest = self._lm.embed(*(torch.tensor(list(part), dtype=torch.int64) for part in ids))
        minimum, maximum = length_limits(len(segment.text))
        room = MAX_POSITIONS - segment.rows
        limits = (min(minimum, room), min(maximum, room, MAX_SPOKEN))
        words = segment.prompt_text
        opening = self._openings.find(words)
        if opening is not None:
            rest = rest[opening.positions :]
        silence = Silence(self._silent)
        request.segments.append(Spoken(request.added, rest, limits, words, opening, silence, segment.pause_s))
        request.added += 1
        return len(rest)

    def prefill(self, pieces: Sequence[tuple[Request, int]]) -> None:
        """Put that many rows of each request's segment into the language model; with the last one comes a token."""
        inputs = [self._next_rows(request, rows) for request, rows in pieces]
        whole = [len(request.in_the_model.rest) == 0 for request, _ in pieces]
        tokens = self._program.prefill([request.slot for request, _ in pieces], inputs, whole)
        for request, _ in pieces:
            self._keep_opening(request)
        self._launch([request for (request, _), complete in zip(pieces, whole, strict=True) if complete], tokens)

    def _next_rows(self, request: Request, rows: int) -> Tensor:
        spoken = request.in_the_model
        if self._lm.lengths[request.slot] == 0:
            self._program.start(request.slot, request.seed, spoken.index, *spoken.limits)
            if spoken.opening is not None:
                self._lm.begin(request.slot, spoken.opening)
        following, spoken.rest = spoken.rest[:rows], spoken.rest[rows:]
        return following

    def _keep_opening(self, request: Request) -> None:
        """Keep what the language model remembers of a segment's first words, once it has seen them."""
        words, positions = request.in_the_model.words, 1 + len(request.in_the_model.words)
        if words and self._lm.lengths[request.slot] >= positions and self._openings.find(words) is None:
            self._openings.keep(words, self._lm.remembered(request.slot, positions))

    def decode(self, requests: Sequence[Request]) -> None:
        """Draw one token for each that may have another. `collect` tells them."""
        going_on = [request for request in requests if request.in_the_model.may_go_on]
        slots = [request.slot for request in going_on]
        self._launch(going_on, self._program.decode(slots) if slots else Fetched(NO_TOKENS))

    def _launch(self, requests: Sequence[Request], tokens: Fetched) -> None:
        taking = [(request, request.in_the_model) for request in requests]
        for _, spoken in taking:
            spoken.asked += 1
        self._launched.append(_Launched(taking, tokens))

    def collect(self, behind: int) -> list[tuple[Request, Drawn]]:
        """Read the tokens of all steps but the last `behind` ones.

        A token belongs to the segment that was in the slot at its step. Where that has ended since, or its request was
        closed, it is nobody's.
        """
        drawn = []
        while len(self._launched) > behind:
            step = self._launched.popleft()
            for (request, spoken), token in zip(step.taking, step.tokens.tensor().tolist(), strict=True):
                if not spoken.ended:
                    drawn.append((request, self._take(request, spoken, token)))
        return drawn

    def _take(self, request: Request, spoken: Spoken, token: int) -> Drawn:
        speech = token not in self._lm.stops
        kept = speech and spoken.silence.keeps(token)
        if kept:
            spoken.tokens.append(token)
        spoken.drawn += speech
        spoken.ended = not speech or spoken.drawn >= spoken.limits[1]
        if spoken.ended:
            self._lm.release(request.slot)
        return Drawn(kept, spoken.ended)

    def solve(self, requests: Sequence[Request]) -> list[Sound]:
        """Make the next chunk of each, of the first of its segments that is not heard to the end."""
        steps: list[_Step] = []
        promised = 0
        for request in requests:
            flow_step, more = self._flow_step(request, request.segments[0], promised)
            promised += more
            steps.append(_Step(request, request.segments[0], flow_step))
        # Shared by all lanes.
        (self.rescue or self._flow).reserve(max(len(step.flow.stream.tokens) + len(step.flow.tokens) for step in steps))
        self._vocoder.reserve(max(map(_frames_spoken, steps)))
        sounds = self._lanes.run(self._speak, steps)
        for step in steps:
            if step.flow.final:
                step.request.segments.popleft()
        return sounds

    def _speak(self, steps: Sequence[_Step]) -> list[Sound]:
        """Flow, pace and vocoder of some streams, in one batch."""
        mels = (self.rescue or self._flow).advance([step.flow for step in steps])
        vocoded = self._vocoder.advance(
            [
                VocoderStep(self._voice_of(step.request, step.spoken), _paced(step, mel), step.flow.final)
                for step, mel in zip(steps, mels, strict=True)
            ]
        )
        return [_sound(step, samples) for step, samples in zip(steps, vocoded, strict=True)]

    def _flow_step(self, request: Request, spoken: Spoken, promised: int) -> tuple[FlowStep, int]:
        """Hand on to the flow what makes the next chunk. Returns the step and the memory that it will take.

        State is kept where there is room, beside the bytes promised to others in this turn. Where there is none, the
        stream gives up what it has, for others to keep theirs, and solves again from its voice's boundary each time.
        """
        if spoken.flow is None:
            voice = request.voice
            spoken.flow = self._flow.open(self._voices.get(voice.digest, voice.features, self._streams_bytes))
        stream = spoken.flow
        waiting = len(spoken.tokens) - spoken.handed_on
        first = spoken.handed_on == 0
        carries = first or stream.state_bytes > 0
        enough = stream.tokens_needed(FIRST_CHUNK_TOKENS if first else self._chunk_tokens if carries else HOPS[-1])
        # Not at equality: a stream that is alone comes here before it knows that nothing follows, and where chunks end
        # should not depend on company.
        final = spoken.ended and waiting < enough
        count = min(waiting, enough)
        tokens = spoken.tokens[spoken.handed_on : spoken.handed_on + count]
        spoken.handed_on += count
        more = 0 if final else self._flow.bytes_after(stream, count) - stream.state_bytes
        keep = final or self.state_bytes + promised + more <= self._budget
        if not keep:
            stream.drop_state()
            more = 0
        return FlowStep(stream, torch.tensor(tokens, dtype=torch.int64), final=final, keep=keep), more

    @property
    def _streams_bytes(self) -> int:
        return sum(
            spoken.flow.state_bytes for request in self._requests.values() for spoken in request.segments if spoken.flow
        )

    def _voice_of(self, request: Request, spoken: Spoken) -> VocoderStream:
        if spoken.vocoder is None:
            noise = np.random.SeedSequence((request.seed, spoken.index)).generate_state(1)
            spoken.vocoder = self._vocoder.open(int(noise[0]))
        return spoken.vocoder


def _paced(step: _Step, mel: Tensor) -> Tensor:
    """[80, n] frames at the model's pace in, [80, m] at the request's out."""
    if step.request.speed == 1.0 or not step.spoken.tokens:
        return mel
    if step.spoken.stretch is None:
        step.spoken.stretch = Stretch(step.request.speed)
    return step.spoken.stretch.push(mel[None], last=step.flow.final)[0]


def _frames_spoken(step: _Step) -> int:
    """How many frames at most a segment has at its own pace, when this chunk is made."""
    return math.ceil(step.spoken.handed_on * FRAMES_PER_TOKEN / step.request.speed) + 1


def _sound(step: _Step, samples: Tensor) -> Sound:
    stream = step.flow.stream
    if step.flow.final and step.spoken.pause_s:
        samples = pad(samples, (0, round(step.spoken.pause_s * SAMPLE_RATE)))
    solved = max(stream.frames_done // FRAMES_PER_TOKEN - len(stream.voice.tokens), 0)
    chunk = Chunk(solved, len(samples) / SAMPLE_RATE, step.flow.final, step.flow.keep)
    return Sound(samples.float().cpu().numpy(), chunk)
