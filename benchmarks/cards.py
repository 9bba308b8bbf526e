"""What turns of the engine `native` would take on GPUs that nobody has here: estimates, and no more.

A turn's operations are counted (`benchmarks/programs.py`). The host starts them one after the other, each in the time
that PyTorch takes for an operation, but for those that a CUDA graph starts; the GPU works them off, each in the time of
its arithmetic or of its memory, whichever is longer, and in no less than a kernel takes that does nothing. Host and GPU
go side by side: a turn takes as long as the slower of them, and what each wait adds. A kernel leaves nothing to others
while it moves bytes or multiplies; what is left is the time in which it is too small to fill the card.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.company import Company
from benchmarks.costs import Costs, Point
from benchmarks.counting import Count, Counter
from benchmarks.imagined import Solved
from benchmarks.launches import plan_for
from benchmarks.nowhere import load, nowhere
from benchmarks.programs import Programs
from cosyserve_workers.native.cost_table import patience
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES, FRAMES_PER_TOKEN
from cosyserve_workers.native.networks import Networks

LAUNCH_S = 6e-6
"""Of an operation of PyTorch's, on a server's CPU."""
KERNEL_S = 2e-6
"""The least a kernel takes, in a graph or behind another."""
GRAPH_S = 20e-6
"""Starting a graph."""
WAIT_S = 20e-6
"""Until a host that waited has started the next kernel."""


@dataclass(frozen=True)
class Card:
    """Published figures: bytes a second of memory, operations a second without sparsity, by data type."""

    name: str
    memory: float
    half: float
    single: float
    double: float

    def device_s(self, work: Count, least: float = KERNEL_S) -> float:
        """What the GPU works on it. least: of each kernel."""
        rates = {"bfloat16": self.half, "float16": self.half, "float64": self.double}
        return sum(
            times * max(least, one.moved / self.memory, one.operations / rates.get(one.dtype, self.single))
            for one, times in work.work.items()
        )


CARDS = {
    # NVIDIA's data sheets: H100 SXM (2023), L20 (2023), Ada architecture's white paper for the RTX 4090 (2022, with
    # float32 accumulation), L4 (2023).
    "H100": Card("H100", 3.35e12, 989e12, 67e12, 34e12),
    "L20": Card("L20", 864e9, 119.5e12, 59.8e12, 0.93e12),
    "4090": Card("4090", 1008e9, 165.2e12, 82.6e12, 1.29e12),
    "L4": Card("L4", 300e9, 121e12, 30.3e12, 0.47e12),
}


@dataclass(frozen=True)
class Turn:
    """What was counted of a turn; as `Point`, but for the seconds."""

    turn: str
    streams: int
    past: int
    size: int
    count: Count


def seconds(card: Card, counted: Count, launch_s: float = LAUNCH_S) -> float:
    """What a turn takes."""
    graphed = sum(times for one, times in counted.work.items() if one.graphed)
    host_s = (counted.launches - graphed) * launch_s + counted.graphs * GRAPH_S
    return max(host_s, card.device_s(counted)) + counted.waits * WAIT_S


def estimate(card: Card, turns: Sequence[Turn], launch_s: float = LAUNCH_S) -> Costs:
    """A card's costs."""
    points = [
        Point(
            one.turn, one.streams, one.past, one.size, seconds(card, one.count, launch_s), card.device_s(one.count, 0.0)
        )
        for one in turns
    ]
    source = f"{card.name}, bf16, estimated from launches, bytes and operations"
    costs = Costs(source, plan_for(max(one.streams for one in turns)), points)
    alone, both = (costs.solve([Solved(FRAMES_PER_TOKEN * FIRST_PAST, CHUNK_FRAMES)] * streams) for streams in (1, 2))
    steps = patience(alone.seconds, both.seconds, costs.decode(1, FIRST_PAST).seconds)
    return replace(costs, plan=replace(costs.plan, patience=steps))


STREAMS = (1, 2, 4)
FIRST_PAST = 100
CHUNKS = (1, 4, 1)
"""What a company solves, turn by turn."""


def count_turns(folder: Path, streams: Sequence[int] = STREAMS) -> Iterator[Turn]:
    """Count the turns of a model in bf16."""
    with nowhere() as counter:
        networks = load(folder, plan_for(max(streams)), torch.bfloat16)
        programs = Programs(counter)
        with programs.listening():
            for width in streams:
                yield from _count(networks, programs, counter, width)


def _count(networks: Networks, programs: Programs, counter: Counter, streams: int) -> Iterator[Turn]:
    company = Company(networks, streams, FIRST_PAST)
    rows = company.rows
    company.prefill()
    yield Turn("prefill", streams, 0, rows, programs.last["prefill turn"])
    # One point is a law: it hardly depends on what lies behind, or on how many rows there are.
    company.decode()
    yield Turn("decode", streams, rows, 1, programs.last["decode turn"])
    company.open(streams)
    past = FRAMES_PER_TOKEN * FIRST_PAST
    for chunks in CHUNKS:
        company.know(chunks)
        # Of several chunks at once each looks back on those before it too.
        counter.behind = past // CHUNK_FRAMES + (chunks - 1) // 2
        company.solve()
        yield Turn("solve", streams, past, CHUNK_FRAMES * chunks, programs.last["solve turn"])
        past += CHUNK_FRAMES * chunks
    company.leave()
