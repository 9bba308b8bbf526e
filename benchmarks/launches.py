"""How much the engine `native` asks of a GPU: what each of its programs launches, and how often the host waits.

    python -m benchmarks.launches                       # builds the full-size checkpoint first; some minutes
    python -m benchmarks.launches --checkpoint DIR --streams 1 4 --past 100 --json
    python -m benchmarks.launches --quick               # small checkpoint, two streams at most: seconds

The real programs run on a GPU that is not there (`benchmarks/nowhere.py`): nothing is computed, no weights are read,
and no GPU is needed. What counts as a launch and as a wait: `benchmarks/counting.py`. Steps that a CUDA graph holds are
counted as without one: what a graph starts at one go still runs one by one.

Programs: `segment` takes in a segment's text; `prefill` and `decode` are the language model's, each with the `sampler`
in it, and `tokens` fetches what they drew; `encoder` and one Euler step of the `estimator` are parts of `solve`, which
is the flow's; `vocoder`; `voice` is a voice's state, solved once. A turn has its parts in it, and what the engine does
between them. past:
speech tokens behind each stream, 25 a second, its prompt among them.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.native import add_model, checkpoint
from benchmarks.nowhere import load, nowhere
from benchmarks.programs import Counted, count
from cosyserve_workers.native.networks import Plan

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model(parser)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--past", type=int, nargs="+", default=[100, 300], help="multiples of 25")
    parser.add_argument("--precision", choices=list(PRECISIONS), default="bf16")
    parser.add_argument("--quick", action="store_true", help="small checkpoint: whether it works")
    parser.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    args = parser.parse_args()
    if any(past < 25 or past % 25 for past in args.past):
        parser.error("--past: multiples of 25, where chunks end")
    streams, pasts = ([1, 2], [100]) if args.quick else (args.streams, args.past)
    # What is asked for on stdout is one document.
    with (
        contextlib.redirect_stdout(sys.stderr),
        checkpoint(args.checkpoint, "small" if args.quick else "full", args.model) as folder,
    ):
        counted = list(count_all(folder, PRECISIONS[args.precision], streams, pasts))
    print(json.dumps([as_json(one) for one in counted], indent=1) if args.json else table(counted))


def count_all(folder: Path, dtype: torch.dtype, streams: Sequence[int], pasts: Sequence[int]) -> Iterator[Counted]:
    """Count a model's programs, each once at a place."""
    seen = set()
    with nowhere() as counter:
        networks = load(folder, plan_for(max(streams)), dtype)
        for past in pasts:
            for width in streams:
                for one in count(networks, counter, width, past):
                    if (one.program, one.streams, one.past) not in seen:
                        seen.add((one.program, one.streams, one.past))
                        yield one


def plan_for(streams: int) -> Plan:
    """What the engine plans on a GPU."""
    return Plan(streams, wanted_state=0, chunk_tokens=100, solve_width=streams, prefill_rows=512, steps_behind=1)


def as_json(one: Counted) -> dict[str, str | int]:
    """One program at one place."""
    return {
        "program": one.program,
        "streams": one.streams,
        "past": one.past,
        "launches": one.count.launches,
        "waits": one.count.waits,
    }


def table(counted: Sequence[Counted]) -> str:
    """All of them, and what the host waits for."""
    lines = ["| program | streams | past | launches | waits | for |", "|---|---|---|---|---|---|"]
    for one in counted:
        asked = ", ".join(f"{times} {name}" for name, times in one.count.asked.most_common())
        cells = (one.program, one.streams, one.past, one.count.launches, one.count.waits, asked)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
