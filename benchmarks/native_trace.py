"""Listens at the parts of the engine `native` while it speaks: what each stage takes, and what it takes at best."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.floors import Floors, Machine, wait_for
from benchmarks.takes import SAMPLE_RATE
from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES
from cosyserve_workers.native.lm.program import TokenProgram
from cosyserve_workers.native.scheduler import Chunk, Prefill, Scheduler, Turn
from cosyserve_workers.native.vocoder.stream import Vocoder


@dataclass
class Spent:
    """One stage's calls, seconds on the clock, and seconds that they need at least."""

    calls: int = 0
    seconds: float = 0.0
    floor_s: float = 0.0


@dataclass
class FirstSound:
    """A stream's way to its first sound: seconds in turns of its own, by kind."""

    joined: float
    turns: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    """From joining to sounding; 0 until then."""


class Floor:
    """What calls of the engine's parts need at least, in seconds."""

    def __init__(self, floors: Floors, best: Machine, dtype: torch.dtype) -> None:
        self._floors = floors
        self._best = best
        self._reading_s: float = floors.lm_weights * dtype.itemsize / best.bytes_read

    def language_model(self, tokens: int) -> float:
        """One pass over so many tokens, of one stream or of several."""
        computing_s = 2 * self._floors.lm_weights * tokens / self._best.operations
        return max(computing_s, self._reading_s)

    def flow(self, before: int, after: int) -> float:
        """Frames `before` to `after` of a stream, the prompt's among them; each looks back to the first."""
        operations = 0
        while before < after:
            end = min((before // CHUNK_FRAMES + 1) * CHUNK_FRAMES, after)
            operations += (end - before) * (self._floors.flow_frame + self._floors.flow_context * end)
            before = end
        return operations / self._best.operations

    def vocoder(self, samples: int) -> float:
        """So much sound."""
        return samples / SAMPLE_RATE * self._floors.vocoder_second / self._best.operations


class Trace:
    """Listens at the engine's parts: what each stage took, and whose turns there were."""

    def __init__(self, floor: Floor, device: torch.device) -> None:
        self.stages = {name: Spent() for name in ("prefill", "decode", "voice", "flow", "vocoder")}
        self.streams: list[FirstSound] = []
        self._floor = floor
        self._device = device
        self._waiting: dict[int, FirstSound] = {}
        self._turns: dict[str, tuple[Turn, float]] = {}
        """Of each track, the last that it began, and when."""
        self._lock = threading.Lock()
        self._running_now: list[str] = []
        self._shared_until = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Stand between the engine and its parts."""
        around: dict[tuple[Any, str], Callable[..., Any]] = {
            (TokenProgram, "prefill"): self._prefill,
            (TokenProgram, "decode"): self._decode,
            (Flow, "voice_state"): self._voice,
            (Flow, "advance"): self._advance,
            (Vocoder, "advance"): self._vocode,
            (Scheduler, "join"): self._join,
            (Scheduler, "next"): self._next("one"),
            (Scheduler, "next_solve"): self._next("sound"),
            (Scheduler, "next_step"): self._next("tokens"),
            (Scheduler, "solved"): self._solved,
        }
        with ExitStack() as stack:
            for (owner, name), wrapper in around.items():
                stack.enter_context(replaced(owner, name, wrapper))
            yield

    def _prefill(self, run: Callable[..., Any], program: Any, slots: Any, inputs: Any, whole: Any) -> Any:
        floor = self._floor.language_model(sum(map(len, inputs)))
        return self._timed("prefill", lambda: run(program, slots, inputs, whole), lambda _: floor)

    def _decode(self, run: Callable[..., Any], program: Any, slots: Any) -> Any:
        return self._timed("decode", lambda: run(program, slots), lambda _: self._floor.language_model(len(slots)))

    def _voice(self, run: Callable[..., Any], flow: Any, *args: Any, **kwargs: Any) -> Any:
        def floor(voice: Any) -> float:
            return self._floor.flow(0, len(voice.pages) * CHUNK_FRAMES)

        return self._timed("voice", lambda: run(flow, *args, **kwargs), floor)

    def _advance(self, run: Callable[..., Any], flow: Any, steps: Any) -> Any:
        before = [step.stream.frames_done for step in steps]

        def floor(_: Any) -> float:
            return sum(self._floor.flow(was, step.stream.frames_done) for was, step in zip(before, steps, strict=True))

        return self._timed("flow", lambda: run(flow, steps), floor)

    def _vocode(self, run: Callable[..., Any], vocoder: Any, steps: Any) -> Any:
        return self._timed(
            "vocoder", lambda: run(vocoder, steps), lambda made: sum(self._floor.vocoder(len(one)) for one in made)
        )

    def _timed(self, stage: str, run: Callable[[], Any], floor: Callable[[Any], float]) -> Any:
        wait_for(self._device)
        with self._running(stage):
            made = run()
            wait_for(self._device)
        with self._lock:
            self.stages[stage].calls += 1
            self.stages[stage].floor_s += floor(made)
        return made

    @contextmanager
    def _running(self, stage: str) -> Iterator[None]:
        """Put time down to a stage. What runs side by side shares it, so that all stages add up to the clock's."""
        with self._lock:
            self._share_out()
            self._running_now.append(stage)
        try:
            yield
        finally:
            with self._lock:
                self._share_out()
                self._running_now.remove(stage)

    def _share_out(self) -> None:
        now = time.perf_counter()
        for stage in self._running_now:
            self.stages[stage].seconds += (now - self._shared_until) / len(self._running_now)
        self._shared_until = now

    def _join(self, run: Callable[..., None], scheduler: Any, stream: int, now: float) -> None:
        entry = self._waiting[stream] = FirstSound(time.perf_counter())
        self.streams.append(entry)
        run(scheduler, stream, now)

    def _next(self, track: str) -> Callable[..., Turn | None]:
        def noting(run: Callable[..., Turn | None], scheduler: Any) -> Turn | None:
            self._turn_ends(track)
            turn = run(scheduler)
            if turn is not None:
                self._turns[track] = turn, time.perf_counter()
            return turn

        return noting

    def _solved(self, run: Callable[..., None], scheduler: Any, stream: int, chunk: Chunk, now: float) -> None:
        if chunk.sound_s and stream in self._waiting:
            self._turn_ends("sound" if "sound" in self._turns else "one", goes_on=True)
            entry = self._waiting.pop(stream)
            entry.seconds = time.perf_counter() - entry.joined
        run(scheduler, stream, chunk, now)

    def _turn_ends(self, track: str, *, goes_on: bool = False) -> None:
        """Put down a turn to those who took part in it and have not sounded yet."""
        if track not in self._turns:
            return
        turn, began = self._turns.pop(track)
        now = time.perf_counter()
        took = [slot for slot, _ in turn.pieces] if isinstance(turn, Prefill) else turn.streams
        kind = type(turn).__name__
        for stream in took:
            if entry := self._waiting.get(stream):
                entry.turns[kind] = entry.turns.get(kind, 0.0) + now - began
        if goes_on:
            self._turns[track] = turn, now


@contextmanager
def replaced(owner: Any, name: str, wrapper: Callable[..., Any]) -> Iterator[None]:
    """Have `wrapper` called with the method and its arguments."""
    method = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: wrapper(method, *args, **kwargs))
    try:
        yield
    finally:
        setattr(owner, name, method)
