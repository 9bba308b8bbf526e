"""Networks that compute nothing and know how long they would take: for the real scheduler, on a clock of its own.

What is decided about streams stays real, the scheduler's turns and what `Networks` makes of them. Language model, flow
and vocoder are stand-ins that keep lengths, and add up what their work would cost.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.memory import Page, PagePool
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES, CHUNK_TOKENS, FRAMES_PER_TOKEN, LOOKAHEAD_TOKENS, MEL_BINS
from cosyserve_workers.native.flow.state import FlowStream, VoiceState
from cosyserve_workers.native.lanes import Lanes
from cosyserve_workers.native.lm.weights import STOP
from cosyserve_workers.native.memory_plan import Room, plan_memory
from cosyserve_workers.native.models import COSYVOICE2
from cosyserve_workers.native.networks import Networks, Plan
from cosyserve_workers.native.rendering import Renderer
from cosyserve_workers.native.transfers import Fetched
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep
from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME
from cosyserve_workers.native.vocoder.windows import REACHES

NOTHING = torch.zeros(0)
ENDLESS = 2**60
PAGE_BYTES = 230_809_600
"""Of a chunk's state, in float32 at full size: only a tight budget asks for it."""


class Solved(NamedTuple):
    """A stream's part in a solve. past, frames: what lies behind it, and what is solved."""

    past: int
    frames: int


class Took(NamedTuple):
    """seconds: of a turn by itself. full: seconds of them in which nothing else would find room."""

    seconds: float = 0.0
    full: float = 0.0

    @property
    def share(self) -> float:
        """Of the device that it leaves to nobody."""
        return min(self.full / self.seconds, 1.0) if self.seconds else 0.0

    def and_then(self, other: "Took") -> "Took":
        """Both, one after the other."""
        return Took(self.seconds + other.seconds, self.full + other.full)


class Cost(Protocol):
    """What turns take."""

    def prefill(self, streams: int, rows: int) -> Took:
        """So many rows of all who take part."""

    def decode(self, streams: int, past: int) -> Took:
        """A token for each; past: the most positions that one of them looks back on."""

    def solve(self, parts: Sequence[Solved]) -> Took:
        """Flow and vocoder of these."""


class Imagined:
    """Stand-ins for all three networks, and for the program that draws. took: what they have taken by now.

    tokens: how many each stream says. awaited: frames that the vocoder waits for.
    """

    def __init__(self, cost: Cost, plan: Plan, tokens: int, awaited: int = REACHES[COSYVOICE2].right) -> None:
        self.took = Took()
        self.slots = plan.slots
        self.lengths = [0] * plan.slots
        self.device = torch.device("cpu")
        self.stops = range(STOP, STOP + 1)
        self.lanes = Lanes(1)
        self._cost = cost
        self._tokens = tokens
        self._left: dict[int, int] = {}
        self._page = cast("Page", object())
        self._pool = cast("PagePool", self)
        self.page_bytes = PAGE_BYTES
        memory = plan_memory(Room(self.device, ENDLESS, ENDLESS), 0, 0, ENDLESS)
        flow, vocoder = cast("tuple[Flow, Vocoder]", (self, _Vocoder(awaited)))
        renderer = Renderer(flow, vocoder, memory.state, plan.chunk_tokens)
        self.networks = Networks(*cast("Any", ((self, self, renderer), plan, memory)))
        """The real ones, with these in them."""

    def _spend(self, took: Took) -> None:
        self.took = self.took.and_then(took)

    # The language model.

    def embed(self, prompt_text: Tensor, text: Tensor, prompt_speech: Tensor) -> Tensor:
        """As `LanguageModel`."""
        return torch.empty(len(prompt_text) + len(text) + len(prompt_speech) + 2, 0)

    def release(self, slot: int) -> None:
        """As `LanguageModel`."""
        self.lengths[slot] = 0

    # Its program.

    def start(self, slot: int, seed: int, segment: int, minimum: int, maximum: int) -> None:
        """As `TokenProgram`."""
        del seed, segment, minimum, maximum
        self._left[slot] = self._tokens

    def prefill(self, slots: Sequence[int], inputs: Sequence[Tensor], whole: Sequence[bool]) -> Fetched:
        """As `TokenProgram`."""
        for slot, rows in zip(slots, inputs, strict=True):
            self.lengths[slot] += len(rows)
        self._spend(self._cost.prefill(len(slots), sum(map(len, inputs))))
        return self._drawn([slot for slot, complete in zip(slots, whole, strict=True) if complete])

    def decode(self, slots: Sequence[int]) -> Fetched:
        """As `TokenProgram`."""
        for slot in slots:
            self.lengths[slot] += 1
        self._spend(self._cost.decode(len(slots), max(self.lengths[slot] for slot in slots)))
        return self._drawn(slots)

    def _drawn(self, slots: Sequence[int]) -> Fetched:
        """As many tokens as a stream says, and the stop."""
        drawn = [0 if self._left[slot] > 0 else STOP for slot in slots]
        for slot in slots:
            self._left[slot] -= 1
        return Fetched(torch.tensor(drawn, dtype=torch.int64))

    # The flow, and its pool.

    def voice_bytes(self, prompt_tokens: int) -> int:
        """As `Flow`."""
        return max(prompt_tokens - LOOKAHEAD_TOKENS, 0) // CHUNK_TOKENS * self.page_bytes

    def voice_state(self, prompt_tokens: Tensor, prompt_mel: Tensor, *_: Tensor, most_bytes: int) -> VoiceState:
        """As `Flow`. It costs nothing: the voice was seen before."""
        chunks = min(self.voice_bytes(len(prompt_tokens)), max(most_bytes, 0)) // self.page_bytes
        return VoiceState(prompt_tokens, prompt_mel, NOTHING, (self._page,) * chunks, chunks * self.page_bytes)

    def bytes_after(self, stream: FlowStream, tokens: int) -> int:
        """As `Flow`."""
        chunks = max(len(stream.tokens) + tokens - LOOKAHEAD_TOKENS, 0) // CHUNK_TOKENS
        return max(chunks - len(stream.voice.pages), 0) * self.page_bytes

    def reserve(self, tokens: int) -> None:
        """As `Flow`."""

    def open(self, voice: VoiceState) -> FlowStream:
        """As `Flow`."""
        return FlowStream(voice, self._pool)

    def advance(self, steps: Sequence[FlowStep]) -> list[Tensor]:
        """As `Flow`, mel without numbers."""
        parts = []
        mels = []
        for step in steps:
            stream = step.stream
            stream.tokens = torch.cat([stream.tokens, step.tokens])
            start = len(stream.pages) * CHUNK_FRAMES
            end = FRAMES_PER_TOKEN * (len(stream.tokens) if step.final else stream.chunks_solvable * CHUNK_TOKENS)
            parts.append(Solved(start, end - start))
            mels.append(torch.empty(MEL_BINS, max(end - max(stream.frames_done, len(stream.voice.mel)), 0)))
            stream.frames_done = end
            if step.keep and not step.final:
                stream.pages = (self._page,) * (end // CHUNK_FRAMES)
        self._spend(self._cost.solve(parts))
        return mels


class _Vocoder:
    """Waits for the frames to come that the real one waits for."""

    def __init__(self, awaited: int) -> None:
        self._awaited = awaited

    def reserve(self, frames: int) -> None:
        """As `Vocoder`."""

    def open(self, seed: int) -> list[int]:
        """A stream: how many frames wait."""
        del seed
        return [0]

    def advance(self, steps: Sequence[VocoderStep]) -> list[Tensor]:
        """As `Vocoder`, sound without numbers."""
        made = []
        for stream, mel, final in cast("Any", steps):
            waiting = stream[0] + mel.shape[1]
            ready = waiting if final else max(waiting - self._awaited, 0)
            stream[0] = waiting - ready
            made.append(torch.empty(ready * SAMPLES_PER_FRAME))
        return made
