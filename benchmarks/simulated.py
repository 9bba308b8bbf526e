"""The engine `native` on a clock of its own: the real scheduler, with networks that know how long they would take."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.company import TEXT_TOKENS, voice_of
from benchmarks.imagined import Cost, Imagined, Took
from benchmarks.takes import Heard, Stream, Take
from cosyserve_workers.native.driver import collect, prefill
from cosyserve_workers.native.models import COSYVOICE2
from cosyserve_workers.native.networks import Plan
from cosyserve_workers.native.scheduler import Decode, Prefill, Scheduler, Solve, Turn
from cosyserve_workers.native.utterances import Request, Segment, Sound
from cosyserve_workers.native.vocoder.windows import REACHES


@dataclass
class _Speaker:
    """A request that was let in."""

    request: Request
    came: float
    chunks: list[tuple[float, int]]
    """As `Stream`, from its coming on."""


@dataclass
class _Turn:
    """A turn on the clock. left: seconds that it would take by itself. sounds: what a solve makes."""

    turn: Turn
    left: float
    share: float
    sounds: Sequence[Sound] = ()


class Simulation:
    """One run. arrivals: when each request comes, in seconds and in order; take: what each of them says.

    awaited: as `Imagined`. On two tracks a solve is given what a turn beside it leaves of the device.
    """

    def __init__(
        self, cost: Cost, plan: Plan, take: Take, arrivals: Sequence[float], awaited: int = REACHES[COSYVOICE2].right
    ) -> None:
        self.turns: list[Turn] = []
        self.now = 0.0
        """Seconds on the clock."""
        self._imagined = Imagined(cost, plan, take.tokens, awaited)
        self._networks = self._imagined.networks
        self._scheduler = Scheduler(plan.solve_width, plan.prefill_rows, plan.patience)
        self._plan = plan
        self._coming = deque(arrivals)
        self._voice = voice_of(take.prompt)
        self._segment = Segment([], [0] * TEXT_TOKENS, [0] * take.prompt)
        self._speaking: dict[int, _Speaker] = {}
        self._heard: list[Stream] = []
        self._step: _Turn | None = None
        self._solve: _Turn | None = None

    @torch.inference_mode()
    def run(self) -> Heard:
        """Let all speak to their end. Streams are in the order in which they ended."""
        while self._coming or self._speaking:
            self._let_in()
            if not self._take_turns():
                self._go_on()
        return Heard(self._heard, self.now, self._imagined.took.seconds)

    def _let_in(self) -> None:
        """Those who have come by now, as many as there are slots; the others wait in line."""
        while self._comes_next <= self.now:
            request = self._networks.open(len(self._heard) + len(self._speaking), 1.0, self._voice)
            rows = self._networks.add(request, self._segment)
            self._speaking[request.slot] = _Speaker(request, self._coming.popleft(), [])
            self._scheduler.join(request.slot, self.now)
            self._scheduler.say(request.slot, len(self._voice.features.speech_tokens), rows)

    @property
    def _comes_next(self) -> float:
        """When somebody comes who finds room."""
        return self._coming[0] if self._coming and len(self._speaking) < self._plan.slots else math.inf

    def _take_turns(self) -> bool:
        """As `Driver` takes them. Returns whether there is anything new to decide by."""
        if self._plan.tracks == 1:
            if self._step or self._solve:
                return False
            return self._take(self._scheduler.next()) or self._collect(0)
        took = not self._solve and self._take(self._scheduler.next_solve())
        return (not self._step and (self._take(self._scheduler.next_step()) or self._collect(0))) or took

    def _take(self, turn: Turn | None) -> bool:
        if turn is None:
            return False
        self.turns.append(turn)
        before = self._imagined.took
        sounds: Sequence[Sound] = ()
        match turn:
            case Prefill():
                pieces = [(self._speaking[slot].request, rows) for slot, rows in turn.pieces]
                prefill(self._networks, self._scheduler, pieces)
            case Decode():
                self._networks.decode(self._requests(turn.streams))
            case Solve():
                sounds = self._networks.solve(self._requests(turn.streams)).result()
        took = Took(*(after - one for after, one in zip(self._imagined.took, before, strict=True)))
        begun = _Turn(turn, took.seconds, took.share, sounds)
        if isinstance(turn, Solve):
            self._solve = begun
        else:
            self._step = begun
            # Those of the step before are there by now.
            self._collect(1)
        return True

    def _collect(self, behind: int) -> bool:
        return collect(self._networks, self._scheduler, behind)

    def _go_on(self) -> None:
        """Let the clock run until a turn ends or somebody comes."""
        pace = 1.0 if self._step is None or self._solve is None else self._pace(self._step, self._solve)
        step_s = self._step.left if self._step else math.inf
        solve_s = self._solve.left / pace if self._solve and pace else math.inf
        passes = min(step_s, solve_s, self._comes_next - self.now)
        self.now += passes
        if self._step:
            self._step.left -= passes
        if self._solve:
            self._solve.left -= passes * pace
        if passes == step_s:
            self._step = None
            self._collect(self._plan.steps_behind)
        if self._solve and passes == solve_s:
            self._solved(self._solve)

    @staticmethod
    def _pace(step: _Turn, solve: _Turn) -> float:
        """How fast a solve goes on beside a step, which goes before it."""
        return min((1 - step.share) / solve.share, 1.0) if solve.share else 1.0

    def _solved(self, solve: _Turn) -> None:
        self._solve = None
        assert isinstance(solve.turn, Solve)
        for slot, (samples, chunk) in zip(solve.turn.streams, solve.sounds, strict=True):
            speaker = self._speaking[slot]
            if len(samples):
                speaker.chunks.append((self.now - speaker.came, len(samples)))
            self._scheduler.solved(slot, chunk, self.now)
            if self._scheduler.idle(slot):
                self._leaves(slot)
        if self._plan.tracks == 1:
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
