"""The engine `native` on a clock of its own: the real scheduler, with networks that know how long they would take."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.company import TEXT_TOKENS, voice_of
from benchmarks.imagined import Cost, Imagined
from benchmarks.takes import Heard, Stream, Take
from cosyserve_workers.native.driver import collect, prefill
from cosyserve_workers.native.models import COSYVOICE2
from cosyserve_workers.native.networks import Plan
from cosyserve_workers.native.scheduler import Decode, Prefill, Scheduler, Solve, Turn
from cosyserve_workers.native.utterances import Request, Segment
from cosyserve_workers.native.vocoder.windows import REACHES


@dataclass
class _Speaker:
    """A request that was let in."""

    request: Request
    came: float
    chunks: list[tuple[float, int]]
    """As `Stream`, from its coming on."""


class Simulation:
    """One run. arrivals: when each request comes, in seconds and in order; take: what each of them says.

    awaited: as `Imagined`.
    """

    def __init__(
        self, cost: Cost, plan: Plan, take: Take, arrivals: Sequence[float], awaited: int = REACHES[COSYVOICE2].right
    ) -> None:
        self.turns: list[Turn] = []
        self._imagined = Imagined(cost, plan, take.tokens, awaited)
        self._networks = self._imagined.networks
        self._scheduler = Scheduler(plan.solve_width, plan.prefill_rows)
        self._steps_behind = plan.steps_behind
        self._slots = plan.slots
        self._coming = deque(arrivals)
        self._voice = voice_of(take.prompt)
        self._segment = Segment([], [0] * TEXT_TOKENS, [0] * take.prompt)
        self._speaking: dict[int, _Speaker] = {}
        self._heard: list[Stream] = []
        self._waited = 0.0

    @property
    def now(self) -> float:
        """Seconds on the clock: what turns took, and when there was nothing to do."""
        return self._waited + self._imagined.seconds

    @torch.inference_mode()
    def run(self) -> Heard:
        """Let all speak to their end. Streams are in the order in which they ended."""
        while self._coming or self._speaking:
            self._let_in()
            turn = self._scheduler.next()
            if turn is not None:
                self.turns.append(turn)
                self._take(turn)
            elif not self._collect(0):
                self._waited += self._coming[0] - self.now
        return Heard(self._heard, self.now, self._imagined.seconds)

    def _let_in(self) -> None:
        """Those who have come by now, as many as there are slots; the others wait in line."""
        while self._coming and self._coming[0] <= self.now and len(self._speaking) < self._slots:
            request = self._networks.open(len(self._heard) + len(self._speaking), 1.0, self._voice)
            rows = self._networks.add(request, self._segment)
            self._speaking[request.slot] = _Speaker(request, self._coming.popleft(), [])
            self._scheduler.join(request.slot, self.now)
            self._scheduler.say(request.slot, len(self._voice.features.speech_tokens), rows)

    def _take(self, turn: Turn) -> None:
        """As `Driver` takes it."""
        match turn:
            case Prefill():
                pieces = [(self._speaking[slot].request, rows) for slot, rows in turn.pieces]
                prefill(self._networks, self._scheduler, pieces)
                self._collect(self._steps_behind)
            case Decode():
                self._networks.decode(self._requests(turn.streams))
                self._collect(self._steps_behind)
            case Solve():
                self._solve(turn)

    def _collect(self, behind: int) -> bool:
        return collect(self._networks, self._scheduler, behind)

    def _solve(self, turn: Solve) -> None:
        sounds = self._networks.solve(self._requests(turn.streams))
        for slot, (samples, chunk) in zip(turn.streams, sounds, strict=True):
            speaker = self._speaking[slot]
            if len(samples):
                speaker.chunks.append((self.now - speaker.came, len(samples)))
            self._scheduler.solved(slot, chunk, self.now)
            if self._scheduler.idle(slot):
                self._leaves(slot)
        self._collect(0)

    def _leaves(self, slot: int) -> None:
        speaker = self._speaking.pop(slot)
        self._scheduler.leave(slot)
        self._networks.close(speaker.request)
        self._heard.append(Stream(speaker.chunks))

    def _requests(self, slots: Sequence[int]) -> list[Request]:
        return [self._speaking[slot].request for slot in slots]


def poisson(count: int, rate: float, seed: int = 0) -> list[float]:
    """When so many requests come, at so many a second."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, count)
    times: list[float] = np.cumsum(gaps).tolist()
    return times
