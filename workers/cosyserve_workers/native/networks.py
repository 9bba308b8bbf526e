"""The three networks of a model, and what each turn does with them for the requests that take part in it.

One thread alone may use them; what makes sound may run on a track of its own (`rendering`). Nothing here decides whose
turn it is (`scheduler`) or waits for anybody (`driver`).
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.native.cost_table import measure_costs
from cosyserve_workers.native.cuda_graphs import Recording, recorder_for
from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.flow.lane_choice import choose_lanes
from cosyserve_workers.native.flow.rescue import Rescue
from cosyserve_workers.native.flow.sizes import FRAMES_PER_TOKEN
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
from cosyserve_workers.native.rendering import Part, Renderer
from cosyserve_workers.native.scheduler import COMPANY_TOKENS
from cosyserve_workers.native.tracks import Tracks
from cosyserve_workers.native.transfers import Fetched
from cosyserve_workers.native.utterances import Drawn, Request, Segment, Sound, Spoken, Voice

MAX_POSITIONS = 4096
"""Of the language model, for each stream: an instruction, 30 s of a prompt with its text, and the longest segment."""
MAX_SEGMENT_TOKENS = 120
"""Text tokens in a segment."""
MAX_SPOKEN = length_limits(MAX_SEGMENT_TOKENS)[1]

Around = Callable[[Sampler], Draws]
"""What a measurement puts around the sampler."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes that depend on the machine.

    slots: how many requests at once. wanted_state: bytes for what voices and streams carry in the flow, taken at start;
    0 is as much as there is room for, taken as needed. chunk_tokens: at most so many tokens of a stream are solved at a
    time, a multiple of 25. solve_width, prefill_rows: as `Scheduler`. lanes: how many threads a solve is dealt to at
    most. steps_behind: how many steps of the language model are launched before the first one's tokens are read.
    patience: as `Scheduler`. tracks: how many turns are taken at a time.
    """

    slots: int
    wanted_state: int
    chunk_tokens: int
    solve_width: int
    """At most: on a GPU what pays is measured."""
    prefill_rows: int
    lanes: int = 1
    steps_behind: int = 0
    patience: int = COMPANY_TOKENS
    tracks: int = 1
    """As `solve_width`."""


class _Launched(NamedTuple):
    """A step of the language model: whose tokens it draws, in order."""

    taking: Sequence[tuple[Request, Spoken]]
    tokens: Fetched


class _Models(NamedTuple):
    lm: LanguageModel
    program: TokenProgram
    renderer: Renderer


class Networks:
    """Language model, flow and vocoder of one model folder.

    plan: how much is done at a time. memory: within how much. model: whose networks they are. tracks: where turns are
    taken, one after the other if None.
    """

    def __init__(
        self,
        models: _Models,
        plan: Plan,
        memory: MemoryPlan,
        model: Model = COSYVOICE2,
        tracks: Tracks | None = None,
    ) -> None:
        self._lm, self._program, self.renderer = models
        self.model = model
        self.memory = memory
        self.plan = plan
        """As `tune` has left it."""
        self.found: Mapping[str, str] = {}
        """What was settled by trial while loading, in words: `lanes` of the flow, precision of the `vocoder`."""
        self._tracks = tracks or Tracks.one()
        self._launched: deque[_Launched] = deque()
        self._openings = Openings()
        self._silent = SILENT if model is COSYVOICE3 else frozenset[int]()
        self._requests: dict[int, Request] = {}
        self._free = list(range(self._lm.slots))

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
        tracks, recording = Tracks.of(device, plan.tracks), Recording(device)
        program = TokenProgram(lm, around(sampler) if around else sampler, recorder_for(device, tracks.tokens.stream))
        rescue = Rescue.load(folder, flow) if precision.flow == torch.float16 else None
        # Graphs of two tracks may run at once: each has memory and workspaces of its own.
        record = recorder_for(device, tracks.sound.stream)
        if record is not None:
            for recorded in (rescue or flow, vocoder):
                recorded.record(record)
            found["graphs"] = str(recording)
        renderer = Renderer(flow, vocoder, memory.state, plan.chunk_tokens, rescue)
        networks = cls(_Models(lm, program, renderer), plan, memory, model, tracks)
        networks.found = found
        return networks

    def tune(self) -> None:
        """Measure what turns cost, and plan by that: how wide a solve is, how long it waits, and how many tracks."""
        table = measure_costs(self.renderer.flow, self._program, self._tracks, self.plan.solve_width)
        self.plan = replace(self.plan, solve_width=table.width, patience=table.patience, tracks=table.tracks)
        self.found = {**self.found, **table.told()}
        if table.tracks == 1:
            self._tracks.close()
            self._tracks = Tracks.one()

    def end(self) -> None:
        """Wait for what goes on; nothing more comes."""
        self._tracks.close()

    def on_the_tokens_track(self) -> AbstractContextManager[None]:
        """For the thread that uses them, around all it does with them."""
        return self._tracks.tokens.entered()

    @property
    def text_vocabulary(self) -> int:
        """Ids of text that the language model knows."""
        return self._lm.sizes.text_vocab

    @property
    def state_bytes(self) -> int:
        """Memory that voices and streams hold in the flow."""
        return self.renderer.state_bytes

    def open(self, seed: int, speed: float, voice: Voice) -> Request:
        """Begin a request. There must be fewer than `slots`."""
        request = Request(self._free.pop(0), seed, speed, voice)
        self._requests[request.slot] = request
        return request

    def close(self, request: Request) -> None:
        """Take a request out, whether or not it has come to its end."""
        for spoken in request.segments:
            spoken.ended = True
        segments = list(request.segments)
        # A solve that goes on may have part of it: what it carries is free when that is past.
        self._tracks.sound.submit(lambda: self.renderer.drop(segments))
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

    def solve(self, requests: Sequence[Request]) -> Future[list[Sound]]:
        """Have the next chunk of each made, of the first of its segments that is not heard to the end.

        It is there at once, or later where that has a track of its own; until then none of them may be solved again.
        """
        parts = [_part(request) for request in requests]
        return self._tracks.sound.submit(lambda: self.renderer.render(parts))


def _part(request: Request) -> Part:
    spoken = request.to_be_heard()
    return Part(request, spoken, spoken.tokens[spoken.rendered.handed_on :], spoken.ended)
