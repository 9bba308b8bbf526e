"""The engine `native` beside the CosyVoice library at its best, on one checkpoint with random weights, in one run.

    python -m benchmarks.native                         # builds the full-size checkpoint first: 3.4 GB, half a minute
    python -m benchmarks.native --checkpoint DIR --rows first ten --rounds 3
    python -m benchmarks.native --model 3 --source-dir CHECKOUT    # CosyVoice3, beside upstream's newest code
    python -m benchmarks.native --quick                 # small checkpoint, short takes: whether it works, no figures

Rows: `first` first audio of one stream; `ten` ten streams at once, beside the library's own loop; `turns` the same
beside the library as the engine `cosyvoice` drives it; `work` a long stream beside a short one; `memory`
ten streams that do not find room for their state. Each side runs in a process of its own, one at a time, in turns, and
the side that begins changes with the rounds. What a side is, and what it is given to say: `benchmarks/native_side.py`.

Ratios are above 1 where ours is better. A ratio is made within a round; of the rounds come the median and, in brackets,
the least and the greatest. Underruns are chunks that came later than the sound before them lasted.
"""

import argparse
import contextlib
import importlib.metadata
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.takes import Heard, Session, Take
from cosyserve.pool.launch import THREAD_VARIABLES

ROOT = Path(__file__).parents[1]
GIB = 2**30
OURS, THEIRS, LOOP = "native", "library", "loop"


@dataclass(frozen=True)
class Workload:
    """How much is spoken. Prompts and speech in tokens, 25 a second. voices: prompts for the row `first`."""

    voices: tuple[int, ...] = (100, 105, 110, 115, 120)
    prompt: int = 100
    tokens: int = 125
    long_tokens: int = 500
    memory_tokens: int = 250
    at_once: int = 10
    state_gib: float = 12.0
    tight_state_gib: float = 4.0


QUICK = Workload(voices=(100, 110), long_tokens=250, at_once=3, state_gib=0.5, tight_state_gib=0.01)


@dataclass(frozen=True)
class Bench:
    """Where the model and the library are, and how often to measure."""

    checkpoint: Path
    source_dir: str
    workload: Workload
    rounds: int
    threads: int
    precision: str
    language_model: str = "auto"
    limit_s: float = 3600.0

    def side(self, name: str, takes: Sequence[Take], state_gib: float) -> Session:
        """Have one side speak, in a new process. Ends the program where it fails or takes longer than `limit_s`."""
        given = json.dumps([asdict(take) for take in takes])
        threads = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        try:
            done = subprocess.run(
                self._command(name, state_gib),
                cwd=ROOT,
                env={**os.environ, **threads},
                input=given,
                capture_output=True,
                text=True,
                check=False,
                timeout=self.limit_s,
            )
        except subprocess.TimeoutExpired as error:
            wrote = (error.stderr or b"").decode(errors="replace")
            sys.exit(f"the side {name} was not done within {self.limit_s:g} s (--limit-s):\n{wrote[-4000:]}")
        if done.returncode:
            sys.exit(f"the side {name} failed:\n{done.stderr[-4000:]}")
        return Session.from_json(json.loads(done.stdout.splitlines()[-1]))

    def _command(self, name: str, state_gib: float) -> list[str]:
        # The library asserts an id of the published tokenizer, which a made one has not; its own loop would wait for
        # ever for the thread that this ends.
        bare = [] if name == OURS else ["-O"]
        command = [sys.executable, *bare, "-m", "benchmarks.native_side", name, "--model-dir", str(self.checkpoint)]
        command += ["--source-dir", self.source_dir, "--state-gib", str(state_gib), "--precision", self.precision]
        return [*command, "--language-model", self.language_model]

    def both(self, takes: Sequence[Take], theirs: str = THEIRS) -> Iterator[dict[str, Session]]:
        """Yield what our side and another gave, round by round."""
        order = itertools.cycle([(OURS, theirs), (theirs, OURS)])
        for number, names in zip(range(self.rounds), order, strict=False):
            progress(f"round {number + 1} of {self.rounds}")
            yield {name: self.side(name, takes, self.workload.state_gib) for name in names}


def main() -> None:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model(parser)
    parser.add_argument(
        "--source-dir", default="", help="the folder with the package cosyvoice; xinference's if not given"
    )
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32", help="of both sides")
    parser.add_argument("--quick", action="store_true", help="small checkpoint and short takes: whether it works")
    parser.add_argument("--limit-s", type=float, default=Bench.limit_s, help="how long a side may take for a row")
    args = parser.parse_args()
    workload = QUICK if args.quick else Workload()
    with checkpoint(args.checkpoint, "small" if args.quick else "full", args.model) as folder:
        source = args.source_dir or str(snapshot())
        given = (args.rounds, args.threads, args.precision)
        bench = Bench(folder.absolute(), source, workload, *given, limit_s=args.limit_s)
        conditions = [machine(), f"{args.threads} threads", args.precision, f"{args.rounds} rounds"]
        print(", ".join([*conditions, "quick"] if args.quick else conditions), end="\n\n")
        print("| what | ratio | ours | library | underruns, ours | library |")
        print("|---|---|---|---|---|---|", flush=True)
        for row in args.rows:
            progress(f"row {row}")
            ROWS[row](bench)


def first(bench: Bench) -> None:
    """First audio of one stream whose voice was seen before, for each place of the prompt's end in the grid of 25."""
    work = bench.workload
    takes = [Take(prompt, work.tokens) for prompt in work.voices]
    rounds = list(bench.both(takes))
    ratios: list[list[float]] = []
    for index, take in enumerate(takes):
        ours, theirs = ([done[side].heard[index] for done in rounds] for side in (OURS, THEIRS))
        pair = [[one.streams[0].first_s for one in side] for side in (ours, theirs)]
        ratios.append([b / a for a, b in zip(*pair, strict=True)])
        name = f"first audio, one stream, P mod 25 = {take.prompt % 25}"
        line(name, ratios[-1], (seconds(pair[0]), seconds(pair[1])), (ours, theirs))
    together = [math.prod(of_round) ** (1 / len(takes)) for of_round in zip(*ratios, strict=True)]
    line("first audio, one stream, geometric mean", together)


def ten(bench: Bench) -> None:
    """Many streams at once: how much sound per second, and when it begins; beside the library's own loop."""
    _at_once(bench, LOOP, "")


def turns(bench: Bench) -> None:
    """The same beside the library as the engine `cosyvoice` drives it."""
    _at_once(bench, THEIRS, " (library in turns)")


def _at_once(bench: Bench, side: str, how: str) -> None:
    work = bench.workload
    take = Take(work.prompt, work.tokens, work.at_once)
    rounds = list(bench.both([take], side))
    ours, theirs = ([done[name].heard[0] for done in rounds] for name in (OURS, side))
    name = f"{work.at_once} at once, {take.tokens / 25:g} s each{how}"
    rates = [[take.audio_s / one.wall_s for one in heard] for heard in (ours, theirs)]
    gains = [a / b for a, b in zip(*rates, strict=True)]
    line(f"audio seconds per second, {name}", gains, (plain(rates[0]), plain(rates[1])), (ours, theirs))
    firsts = [
        [statistics.median(stream.first_s for stream in one.streams) for one in heard] for heard in (ours, theirs)
    ]
    gains = [b / a for a, b in zip(*firsts, strict=True)]
    line(f"first audio, median of {name}", gains, (seconds(firsts[0]), seconds(firsts[1])))


def work(bench: Bench) -> None:
    """How much more a second of sound costs in a long stream than in a short one: 1 where it costs the same."""
    short, long = (Take(bench.workload.prompt, count) for count in (bench.workload.tokens, bench.workload.long_tokens))
    rounds = list(bench.both([short, long]))
    for name, cost in (("wall", lambda heard: heard.wall_s), ("CPU", lambda heard: heard.cpu_s)):
        growth = {side: [grown(done[side].heard, (short, long), cost) for done in rounds] for side in (OURS, THEIRS)}
        ours, theirs = ([done[side].heard[1] for done in rounds] for side in (OURS, THEIRS))
        what = f"{name} time per audio second, {long.audio_s:g} s against {short.audio_s:g} s"
        heard = (ours, theirs) if name == "wall" else None
        ratios = [b / a for a, b in zip(growth[OURS], growth[THEIRS], strict=True)]
        line(what, ratios, (plain(growth[OURS]), plain(growth[THEIRS])), heard)


def grown(heard: Sequence[Heard], takes: Sequence[Take], cost: Callable[[Heard], float]) -> float:
    """Cost per audio second of the second take over that of the first."""
    short, long = (cost(one) / take.audio_s for one, take in zip(heard, takes, strict=True))
    return long / short


def memory(bench: Bench) -> None:
    """Memory when states do not find room and are solved again: ours alone, the library has no such budget."""
    size = bench.workload
    take = Take(size.prompt, size.memory_tokens, size.at_once)
    budget = size.tight_state_gib * GIB
    weights = sum(path.stat().st_size for path in bench.checkpoint.glob("*.pt"))
    runs = [bench.side(OURS, [take], size.tight_state_gib) for _ in range(bench.rounds)]
    peak = max(run.peak_bytes for run in runs) / GIB
    over = peak - (weights + budget) / GIB
    name = f"memory, {size.at_once} at once, {take.tokens / 25:g} s each, state budget {size.tight_state_gib:g} GiB"
    parts = f"{peak:.2f} GiB resident: weights {weights / GIB:.2f} + budget + {over:.2f}"
    line(name, (), (parts, ""), ([run.heard[0] for run in runs], []))


ROWS: dict[str, Callable[[Bench], None]] = {
    "first": first,
    "ten": ten,
    "turns": turns,
    "work": work,
    "memory": memory,
}


def line(
    what: str,
    ratios: Sequence[float],
    figures: tuple[str, str] = ("", ""),
    played: tuple[Sequence[Heard], Sequence[Heard]] | None = None,
) -> None:
    """Print one line of the table: figures of both sides, and underruns of all their streams in all rounds."""
    late = [str(sum(one.underruns for one in heard)) if heard else "" for heard in played or ([], [])]
    print(f"| {what} | {plain(ratios) if ratios else ''} | {' | '.join(figures)} | {' | '.join(late)} |", flush=True)


def plain(values: Sequence[float]) -> str:
    """Median, and the least and the greatest where there are several."""
    middle = f"{statistics.median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f}–{max(values):.2f})"


def seconds(values: Sequence[float]) -> str:
    """The same, of times."""
    return f"{statistics.median(values):.2f} s"


def progress(what: str) -> None:
    """Tell those who wait, apart from the table."""
    print(what, file=sys.stderr, flush=True)


def machine() -> str:
    """What this is measured on."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    models = [found.partition(":")[2].strip() for found in lines if found.startswith("model name")]
    return next(iter(models), platform.machine())


def snapshot() -> Path:
    """The library's snapshot inside the wheel xinference."""
    return Path(str(importlib.metadata.distribution("xinference").locate_file("xinference/thirdparty")))


def add_model(parser: argparse.ArgumentParser) -> None:
    """Ask for what `checkpoint` is given."""
    parser.add_argument("--checkpoint", type=Path, help="a model folder; one with random weights is built if not given")
    parser.add_argument("--model", type=int, choices=[2, 3], default=2, help="which CosyVoice is built")


@contextlib.contextmanager
def checkpoint(given: Path | None, size: str, model: int = 2) -> Iterator[Path]:
    """The folder that is given, or one with random weights, removed at the end."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="cosyserve-") as folder:
        out = Path(folder) / size
        progress(f"building the {size} checkpoint")
        command = ["tests.checkpoint", "--model", str(model), "--size", size, "--out", str(out)]
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True)
        yield out


if __name__ == "__main__":
    main()
