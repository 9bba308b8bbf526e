"""The engine `native` in one precision beside another, on one checkpoint, in turns.

    python -m benchmarks.precisions                               # fp32 beside auto; a full-size checkpoint is built
    python -m benchmarks.precisions --checkpoint DIR --precision fp32 auto fp32+int8 --at-once 1 10 --rounds 3
    python -m benchmarks.precisions --quick                       # small checkpoint, short takes: whether it works

`+int8` is `model.language_model = "int8"`. Each run is a process of its own; they take turns, and the one that begins
changes with the rounds. A ratio is above 1 where a precision is quicker than the first one, and made within a round; of
the rounds come the median and, in brackets, the least and the greatest.
"""

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.native import OURS, QUICK, Bench, Workload, add_model, checkpoint, machine, plain, progress
from benchmarks.takes import Heard, Session, Take

Round = dict[str, Session]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model(parser)
    parser.add_argument("--precision", nargs="+", default=["fp32", "auto"], help="fp32, bf16, fp16, auto, and +int8")
    parser.add_argument("--prompt", type=int, default=100, help="speech tokens of the voice's prompt, 25 a second")
    parser.add_argument("--tokens", type=int, default=125, help="speech tokens that each stream says")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--state-gib", type=float, help="for what streams carry; 12, and with --quick 0.5")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="small checkpoint: whether it works")
    args = parser.parse_args()
    takes = [Take(args.prompt, args.tokens, count) for count in args.at_once]
    workload = QUICK if args.quick else Workload()
    workload = replace(workload, state_gib=args.state_gib or workload.state_gib)
    with checkpoint(args.checkpoint, "small" if args.quick else "full", args.model) as folder:
        bench = Bench(folder.absolute(), "", workload, args.rounds, args.threads, "fp32")
        rounds = [play(bench, takes, args.precision, number) for number in range(args.rounds)]
    print(f"{machine()}, {args.threads} threads, {args.rounds} rounds\n")
    for name in args.precision:
        details = rounds[0][name].details
        told = (f"{part} {details[part]}" for part in ("precision", "language_model", "vocoder", "lanes"))
        print(f"- {name}: {', '.join(told)}")
    print("\n| what | precision | | ratio | underruns |")
    print("|---|---|---|---|---|")
    for index, take in enumerate(takes):
        table(index, take, rounds, args.precision)


def play(bench: Bench, takes: Sequence[Take], names: Sequence[str], number: int) -> Round:
    """One round, begun by another precision each time."""
    first = number % len(names)
    sessions = {}
    for name in [*names[first:], *names[:first]]:
        progress(f"round {number + 1} of {bench.rounds}: {name}")
        precision, _, extra = name.partition("+")
        one = replace(bench, precision=precision, language_model=extra or "auto")
        sessions[name] = one.side(OURS, takes, bench.workload.state_gib)
    return sessions


def table(index: int, take: Take, rounds: Sequence[Round], names: Sequence[str]) -> None:
    """Print the lines of a take."""
    figures: dict[str, Callable[[Heard], float]] = {
        "first audio, seconds": lambda heard: statistics.median(stream.first_s for stream in heard.streams),
        "wall seconds for a second of sound": lambda heard: heard.wall_s / take.audio_s,
    }
    for what, figure in figures.items():
        for name in names:
            heard = [one[name].heard[index] for one in rounds]
            ratios = [figure(one[names[0]].heard[index]) / figure(one[name].heard[index]) for one in rounds]
            late = sum(one.underruns for one in heard)
            values = plain([figure(one) for one in heard])
            print(f"| {what}, {take.at_once} at once | {name} | {values} | {plain(ratios)} | {late} |")


if __name__ == "__main__":
    main()
