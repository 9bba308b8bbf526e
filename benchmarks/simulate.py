"""What listeners would hear of the engine `native`: first audio, underruns and throughput, for any number of streams.

    python -m benchmarks.simulate                           # measures this machine first, full size; some minutes
    python -m benchmarks.simulate --save costs.json         # and keeps the table of what turns took
    python -m benchmarks.simulate --costs costs.json --streams 1 10
    python -m benchmarks.simulate --cards H100 L20 4090 L4  # estimates, from counts and published figures
    python -m benchmarks.simulate --cards H100 --tracks 1 2 # decoding in turn with what makes sound, and beside it
    python -m benchmarks.simulate --quick                   # small checkpoint: whether it works, no figures

The scheduler is the real one, and so is all that is decided about streams; networks are stand-ins that know how long
they would take (`benchmarks/imagined.py`), on a clock of their own. What turns take is measured here, read from a file,
or estimated (`benchmarks/cards.py`). All streams say one segment with a voice that was seen before, and there is room
for their state. Text, features of prompts and the front end take no time: on a fast GPU theirs is to be added. Of two
turns at a time a solve gets what the other leaves of the device, which is known of cards alone.

`together`: all come at once. `poisson`: they come at random, so often that this number would be speaking at a time if
each were heard as it is spoken. Underruns are chunks that came later than the sound before them lasted.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.cards import CARDS, LAUNCH_S, count_turns, estimate
from benchmarks.costs import Costs
from benchmarks.measured_costs import measure
from benchmarks.native import add_model, checkpoint, progress
from benchmarks.simulated import Simulation, poisson
from benchmarks.takes import TOKENS_PER_S, Heard, Take
from cosyserve.protocol import EngineConfig
from cosyserve_workers.native.models import model_in

STREAMS = (1, 2, 4, 10, 16, 32, 64)
FEWEST_ARRIVALS = 64
SLOTS = 64
"""At random, so many at most are spoken for at a time."""


def main() -> None:
    """Get the costs of turns, and print what they come to."""
    args = _arguments()
    for costs in _costs(args):
        if args.save:
            costs.save(args.save)
        for tracks in args.tracks or [costs.plan.tracks]:
            on = replace(costs, plan=replace(costs.plan, tracks=tracks))
            print(report(on, args.streams, args.prompt, args.tokens), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model(parser)
    parser.add_argument("--streams", type=int, nargs="+", default=STREAMS)
    parser.add_argument("--prompt", type=int, default=100, help="speech tokens of the voice's prompt, 25 a second")
    parser.add_argument("--tokens", type=int, default=125, help="speech tokens that each stream says")
    parser.add_argument("--costs", type=Path, help="a table to read, instead of measuring one")
    parser.add_argument("--save", type=Path, help="where to write the table that was measured")
    parser.add_argument("--cards", nargs="+", choices=list(CARDS), help="estimate these, instead of measuring")
    parser.add_argument("--launch-us", type=float, default=LAUNCH_S * 1e6, help="of an operation, on the cards' host")
    parser.add_argument("--tracks", type=int, nargs="+", choices=[1, 2], help="turns at a time; else as was measured")
    parser.add_argument("--at-once", type=int, default=10, help="the most streams that are measured")
    parser.add_argument("--state-gib", type=float, default=8.0)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--quick", action="store_true", help="small checkpoint: whether it works")
    return parser.parse_args()


def _costs(args: argparse.Namespace) -> list[Costs]:
    if args.costs:
        return [Costs.read(args.costs)]
    with checkpoint(args.checkpoint, "small" if args.quick else "full", args.model) as folder:
        if args.cards:
            progress("counting")
            turns = list(count_turns(folder))
            estimates = [estimate(CARDS[name], turns, args.launch_us / 1e6) for name in args.cards]
            return [replace(costs, model=model_in(folder).name) for costs in estimates]
        progress("measuring")
        config = EngineConfig(
            "native",
            str(folder),
            precision=args.precision,
            streams=args.at_once,
            state_budget_gib=args.state_gib,
        )
        return [replace(measure(config), model=model_in(folder).name)]


@dataclass(frozen=True)
class Outcome:
    """What was heard. first: seconds to the first sound, of each stream. whole: share of streams without underruns."""

    first: Sequence[float]
    underruns: int
    whole: float
    rate: float
    """Audio seconds per second."""

    @classmethod
    def of(cls, heard: Heard, take: Take) -> "Outcome":
        """Sum up a run."""
        whole = sum(stream.underruns == 0 for stream in heard.streams) / len(heard.streams)
        audio_s = len(heard.streams) * take.tokens / TOKENS_PER_S
        return cls([stream.first_s for stream in heard.streams], heard.underruns, whole, audio_s / heard.wall_s)

    def cells(self) -> str:
        """A row's end."""
        p50, p95 = np.percentile(self.first, [50, 95])
        return f"{p50:.3g} s | {p95:.3g} s | {self.underruns} | {self.whole:.0%} | {self.rate:.3g}"


def outcome(costs: Costs, take: Take, *, at_random: bool) -> Outcome:
    """Let so many streams as the take has speak, together or at random."""
    if not at_random:
        arrivals = [0.0] * take.at_once
        return Outcome.of(Simulation(costs, costs.plan_for(take.at_once), take, arrivals, costs.awaited).run(), take)
    rate = take.at_once * TOKENS_PER_S / take.tokens
    arrivals = poisson(max(FEWEST_ARRIVALS, 4 * take.at_once), rate)
    return Outcome.of(Simulation(costs, costs.plan_for(SLOTS), take, arrivals, costs.awaited).run(), take)


def report(costs: Costs, streams: Sequence[int], prompt: int, tokens: int) -> str:
    """A table of all of them."""
    said = f"{tokens / TOKENS_PER_S:g} s each, prompt of {prompt / TOKENS_PER_S:g} s"
    lines = [f"{costs.model}; {costs.source}; {said}; turns at a time: {costs.plan.tracks}\n"]
    lines += ["| streams | they come | first audio, p50 | p95 | underruns | without | audio seconds per second |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, at_random in (("together", False), ("poisson", True)):
        lines += [
            f"| {count} | {name} | {outcome(costs, Take(prompt, tokens, count), at_random=at_random).cells()} |"
            for count in streams
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
