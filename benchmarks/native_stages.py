"""Where the engine `native` spends its time, stage by stage, and how far each stage is from its floor.

    python -m benchmarks.native_stages                  # builds the full-size checkpoint first
    python -m benchmarks.native_stages --checkpoint DIR --at-once 10 --tokens 125
    python -m benchmarks.native_stages --quick          # small checkpoint: whether it works, no figures

The floor of a stage is the arithmetic of its work at this machine's best rate, or the reading of its weights at the
best rate, whichever takes longer. Both rates are measured first; what the work takes is read from the shapes in the
model folder (`benchmarks/floors.py`). Each token and each frame counts once, however often it was computed.

First audio is taken apart too: into the turns that a stream took part in, and the queue, which is all the rest: other
streams' turns, text, threads. On a GPU every stage is waited for, which the engine itself does not do. fp32 on a CPU.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.floors import Floors, Machine, wait_for
from benchmarks.native import checkpoint, machine
from benchmarks.native_side import ForcedDraws, Native, play, rehearse
from benchmarks.takes import SAMPLE_RATE, Heard, Take
from cosyserve.protocol import EngineConfig
from cosyserve_workers.native.flow import Flow
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES
from cosyserve_workers.native.lm import LanguageModel
from cosyserve_workers.native.scheduler import Prefill, Scheduler, Turn
from cosyserve_workers.native.vocoder.stream import Vocoder

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class Spent:
    """One stage's calls, seconds, and seconds that they need at least."""

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
        self.stages = {name: Spent() for name in ("prefill", "decode", "sampling", "voice", "flow", "vocoder")}
        self.streams: list[FirstSound] = []
        self._floor = floor
        self._device = device
        self._waiting: dict[int, FirstSound] = {}
        self._turn: Turn | None = None
        self._turn_began = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Stand between the engine and its parts."""
        around: dict[tuple[type, str], Callable[..., Any]] = {
            (LanguageModel, "prefill"): self._prefill,
            (LanguageModel, "decode"): self._decode,
            (ForcedDraws, "sample"): self._sample,
            (Flow, "voice_state"): self._voice,
            (Flow, "advance"): self._advance,
            (Vocoder, "advance"): self._vocode,
            (Scheduler, "join"): self._join,
            (Scheduler, "next"): self._next,
            (Scheduler, "solved"): self._solved,
        }
        with ExitStack() as stack:
            for (owner, name), wrapper in around.items():
                stack.enter_context(_replaced(owner, name, wrapper))
            yield

    def _prefill(self, run: Callable[..., Any], model: Any, slots: Any, inputs: Any) -> Any:
        floor = self._floor.language_model(sum(map(len, inputs)))
        return self._timed("prefill", lambda: run(model, slots, inputs), lambda _: floor)

    def _decode(self, run: Callable[..., Any], model: Any, slots: Any, tokens: Any) -> Any:
        return self._timed(
            "decode", lambda: run(model, slots, tokens), lambda _: self._floor.language_model(len(slots))
        )

    def _sample(self, run: Callable[..., Any], draws: Any, slots: Any, logits: Any) -> Any:
        return self._timed("sampling", lambda: run(draws, slots, logits), lambda _: 0.0)

    def _voice(self, run: Callable[..., Any], flow: Any, *args: Any, **kwargs: Any) -> Any:
        def floor(voice: Any) -> float:
            return self._floor.flow(0, len(voice.carry.blocks) * CHUNK_FRAMES)

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
        began = time.perf_counter()
        made = run()
        wait_for(self._device)
        spent = self.stages[stage]
        spent.calls += 1
        spent.seconds += time.perf_counter() - began
        spent.floor_s += floor(made)
        return made

    def _join(self, run: Callable[..., None], scheduler: Any, stream: int, now: float) -> None:
        entry = self._waiting[stream] = FirstSound(time.perf_counter())
        self.streams.append(entry)
        run(scheduler, stream, now)

    def _next(self, run: Callable[..., Turn | None], scheduler: Any) -> Turn | None:
        self._turn_ends()
        self._turn = run(scheduler)
        self._turn_began = time.perf_counter()
        return self._turn

    def _solved(
        self, run: Callable[..., None], scheduler: Any, stream: int, tokens: int, sound_s: float, *a: Any, **k: Any
    ) -> None:
        if sound_s and stream in self._waiting:
            self._turn_ends()
            entry = self._waiting.pop(stream)
            entry.seconds = time.perf_counter() - entry.joined
        run(scheduler, stream, tokens, sound_s, *a, **k)

    def _turn_ends(self) -> None:
        """Put down a turn to those who took part in it and have not sounded yet."""
        if self._turn is None:
            return
        now = time.perf_counter()
        took = [slot for slot, _ in self._turn.pieces] if isinstance(self._turn, Prefill) else self._turn.streams
        kind = type(self._turn).__name__
        for stream in took:
            if entry := self._waiting.get(stream):
                entry.turns[kind] = entry.turns.get(kind, 0.0) + now - self._turn_began
        self._turn_began = now


@contextmanager
def _replaced(owner: type, name: str, wrapper: Callable[..., Any]) -> Iterator[None]:
    """Have `wrapper` called with the method and its arguments."""
    method = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: wrapper(method, *args, **kwargs))
    try:
        yield
    finally:
        setattr(owner, name, method)


def main() -> None:
    """Run one take, and print where its time went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint", type=Path, help="a CosyVoice2 folder; one with random weights is built if not given"
    )
    parser.add_argument("--prompt", type=int, default=100, help="speech tokens of the voice's prompt, 25 a second")
    parser.add_argument("--tokens", type=int, default=125, help="speech tokens that each stream says")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--state-gib", type=float, default=12.0)
    parser.add_argument("--precision", choices=list(DTYPES), default="fp32")
    parser.add_argument("--quick", action="store_true", help="small checkpoint: whether it works")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with checkpoint(args.checkpoint, "small" if args.quick else "full") as folder:
        floors, best = Floors.of(folder), Machine.measure(device, DTYPES[args.precision])
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()
        print(f"{name}, {torch.get_num_threads()} threads, {args.precision}")
        print(f"at best {best.operations / 1e9:.0f} GFLOP/s, and {best.bytes_read / 1e9:.1f} GB/s read")
        print_needs(floors, DTYPES[args.precision])
        floor = Floor(floors, best, DTYPES[args.precision])
        most = max(args.at_once)
        side = Native(
            EngineConfig("native", str(folder), precision=args.precision, streams=most, state_budget_gib=args.state_gib)
        )
        for at_once in args.at_once:
            take = Take(args.prompt, args.tokens, at_once)
            rehearse(side, [take])
            trace = Trace(floor, device)
            with trace.listening():
                heard = play(side, take)
            print_take(take, heard, trace)
        side.engine.close()


def print_needs(floors: Floors, dtype: torch.dtype) -> None:
    """What a second of sound needs of each network."""
    billion = 1e9
    reading = floors.lm_weights * 25 * dtype.itemsize / billion
    context = floors.flow_context * 50 / billion
    print("\n| network | GFLOP for a second of sound |")
    print("|---|---|")
    print(f"| language model | {floors.lm_weights * 50 / billion:.1f}; reads {reading:.0f} GB if alone in its batch |")
    print(f"| flow, estimator | {floors.estimator_frame * 50 / billion:.0f}; {context:.3f} more per frame of context |")
    print(f"| flow, encoder | {floors.encoder_frame * 50 / billion:.1f} |")
    print(f"| vocoder | {floors.vocoder_second / billion:.0f} |")


def print_take(take: Take, heard: Heard, trace: Trace) -> None:
    """Print the stages of a take, and first audio."""
    rate = take.audio_s / heard.wall_s
    print(f"\n{take.at_once} at once, {take.tokens / 25:g} s each, prompt of {take.prompt / 25:g} s: ", end="")
    print(f"{heard.wall_s:.2f} s, {rate:.2f} audio seconds per second, {heard.underruns} underruns\n")
    print("| stage | calls | seconds | share | floor | times the floor |")
    print("|---|---|---|---|---|---|")
    rest = heard.wall_s
    for name, spent in trace.stages.items():
        rest -= spent.seconds
        floor = f"{spent.floor_s:.2f} | {spent.seconds / spent.floor_s:.2f}" if spent.floor_s else " | "
        print(f"| {name} | {spent.calls} | {spent.seconds:.2f} | {spent.seconds / heard.wall_s:.0%} | {floor} |")
    print(f"| all else | | {rest:.2f} | {rest / heard.wall_s:.0%} | | |")
    print("\n| first audio | seconds, median of the streams |")
    print("|---|---|")
    for kind in ("Prefill", "Decode", "Solve"):
        took = statistics.median(stream.turns.get(kind, 0.0) for stream in trace.streams)
        print(f"| turns: {kind.lower()} | {took:.2f} |")
    queue = [stream.seconds - sum(stream.turns.values()) for stream in trace.streams]
    print(f"| queue | {statistics.median(queue):.2f} |")
    print(f"| all | {statistics.median(stream.seconds for stream in trace.streams):.2f} |", flush=True)


if __name__ == "__main__":
    main()
