"""The simulator: what it decides is what the engine decides, and its clock is what turns cost."""

import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from benchmarks.cards import CARDS, GRAPH_S, KERNEL_S, LAUNCH_S, WAIT_S, Card, Turn, count_turns, estimate, seconds  # noqa: E402
from benchmarks.costs import Costs, Point  # noqa: E402
from benchmarks.counting import Count, Operation  # noqa: E402
from benchmarks.imagined import Solved, Took  # noqa: E402
from benchmarks.native_side import ForcedDraws  # noqa: E402
from benchmarks.simulate import outcome, report  # noqa: E402
from benchmarks.simulated import Simulation, poisson  # noqa: E402
from benchmarks.takes import Take  # noqa: E402

from cosyserve_workers.native.lm.sampling import Sampler  # noqa: E402
from cosyserve_workers.native.memory_plan import Room  # noqa: E402
from cosyserve_workers.native.models import ModelFolder  # noqa: E402
from cosyserve_workers.native.networks import Networks, Plan  # noqa: E402
from cosyserve_workers.native.precision import Precision  # noqa: E402
from cosyserve_workers.native.utterances import Drawn, Request, Segment, Sound, Voice  # noqa: E402
from tests.model.conftest import ROOT  # noqa: E402

MACHINE = Room(torch.device("cpu"), free=2**50, total=2**51)
pytestmark = pytest.mark.timeout(900)


def plan(slots: int, chunk_tokens: int = 25, solve_width: int = 2) -> Plan:
    return Plan(slots, 0, chunk_tokens, solve_width, prefill_rows=200)


class Flat:
    """A prefill takes 1 s, a decode step 0.1 s, a solve 2 s."""

    def prefill(self, streams: int, rows: int) -> Took:
        return Took(1.0, 1.0)

    def decode(self, streams: int, past: int) -> Took:
        return Took(0.1, 0.1)

    def solve(self, parts: Sequence[Solved]) -> Took:
        return Took(2.0, 2.0)


@dataclass(eq=False)
class Pair:
    """A request in both networks."""

    real: Request
    imagined: Request

    @property
    def slot(self) -> int:
        assert self.real.slot == self.imagined.slot
        return self.real.slot


class Both:
    """Real networks beside imagined ones: whatever they are asked, they answer alike."""

    def __init__(self, real: Networks, imagined: Networks) -> None:
        self._real = real
        self._imagined = imagined
        self.solves = 0

    def open(self, seed: int, speed: float, voice: Voice) -> Pair:
        return Pair(self._real.open(seed, speed, voice), self._imagined.open(seed, speed, voice))

    def close(self, pair: Pair) -> None:
        self._real.close(pair.real)
        self._imagined.close(pair.imagined)

    def add(self, pair: Pair, segment: Segment) -> int:
        rows = self._real.add(pair.real, segment)
        assert self._imagined.add(pair.imagined, segment) == rows
        return rows

    def prefill(self, pieces: Sequence[tuple[Pair, int]]) -> None:
        self._real.prefill([(pair.real, rows) for pair, rows in pieces])
        self._imagined.prefill([(pair.imagined, rows) for pair, rows in pieces])

    def decode(self, pairs: Sequence[Pair]) -> None:
        self._real.decode([pair.real for pair in pairs])
        self._imagined.decode([pair.imagined for pair in pairs])

    def collect(self, behind: int) -> list[tuple[Request, Drawn]]:
        drawn = self._real.collect(behind)
        imagined = self._imagined.collect(behind)
        assert [(request.slot, one) for request, one in imagined] == [(request.slot, one) for request, one in drawn]
        return drawn

    def solve(self, pairs: Sequence[Pair]) -> Future[list[Sound]]:
        solving = self._real.solve([pair.real for pair in pairs])
        imagined = self._imagined.solve([pair.imagined for pair in pairs]).result()
        assert [sound.chunk for sound in imagined] == [sound.chunk for sound in solving.result()]
        self.solves += 1
        return solving


@pytest.mark.full
@pytest.mark.parametrize(
    ("way", "prompt"),
    [
        (dataclasses.replace(plan(3, 100, 3), steps_behind=1, tracks=2), 91),
        (plan(3, 25, 1), 20),
        (dataclasses.replace(plan(3, 100, 3), steps_behind=1), 91),
        (plan(3, 25, 2), 100),
    ],
    ids=["two tracks", "one chunk at a time", "long chunks", "two streams"],
)
def test_imagined_networks_do_what_real_ones_do(small_checkpoint: Path, way: Plan, prompt: int) -> None:
    take = Take(prompt, 120)

    def around(sampler: Sampler) -> ForcedDraws:
        draws = ForcedDraws(sampler)
        for seed in range(4):
            draws.give(seed, [5] * take.tokens)
        return draws

    subject = Simulation(Flat(), way, take, [0.0, 0.0, 4.0, 6.0])
    real = Networks.load(ModelFolder.at(small_checkpoint), MACHINE, Precision("fp32"), way, around)
    both = Both(real, subject._networks)
    subject._networks = both  # type: ignore[assignment]
    heard = subject.run()
    assert both.solves >= 5
    samples = [sum(size for _, size in stream.chunks) for stream in heard.streams]
    assert samples == [take.tokens * 960] * 4


def test_one_stream_on_the_clock() -> None:
    heard = Simulation(Flat(), plan(1), Take(100, 53), [0.0]).run()
    (stream,) = heard.streams
    # A token with the prefill and 27 more, of which 25 are solved; then 25 more.
    assert [when for when, _ in stream.chunks] == pytest.approx([1 + 2.7 + 2, 1 + 2.7 + 2 + 2.5 + 2, 12.3])
    assert stream.underruns == 2
    assert heard.wall_s == pytest.approx(12.3)


class Filling(Flat):
    """As it, and a decode step leaves half of the device to what is beside it."""

    def decode(self, streams: int, past: int) -> Took:
        return Took(0.1, 0.05)


def test_one_stream_on_two_tracks() -> None:
    heard = Simulation(Filling(), dataclasses.replace(plan(1), tracks=2), Take(100, 53), [0.0]).run()
    (stream,) = heard.streams
    # Nothing goes on beside its first solve; beside the next one a step, of whose time that one gets half.
    assert [when for when, _ in stream.chunks] == pytest.approx([5.7, 5.7 + 2.5 + 2.05, 12.25])
    alone = Simulation(Flat(), plan(1), Take(100, 53), [0.0]).run()
    assert [size for _, size in stream.chunks] == [size for _, size in alone.streams[0].chunks]


def test_who_comes_later_is_heard_from_then_on_and_waits_where_there_is_no_room() -> None:
    alone = Simulation(Flat(), plan(1), Take(100, 53), [0.0]).run()
    first, later, waits = Simulation(Flat(), plan(1), Take(100, 53), [0.0, 100.0, 101.0]).run().streams
    assert first.chunks == alone.streams[0].chunks
    assert later.first_s == pytest.approx(first.first_s)
    assert waits.first_s == pytest.approx(first.first_s + alone.wall_s - 1)


def test_arrivals_at_random() -> None:
    times = poisson(4000, rate=5.0)
    assert times == sorted(times) == poisson(4000, rate=5.0)
    assert times[-1] == pytest.approx(800, rel=0.05)


@pytest.fixture
def costs() -> Costs:
    points = [Point("prefill", 1, 0, rows, 0.1 + 0.001 * rows) for rows in (100, 200)]
    points += [Point("decode", n, past, 1, 0.01 * n + 1e-5 * past) for n in (1, 4) for past in (50, 100, 150)]
    points += [
        Point("solve", n, past, frames, n * (0.1 + 0.01 * frames + 1e-5 * frames * past))
        for n in (1, 2)
        for past, frames in ((100, 50), (300, 50), (200, 20))
    ]
    return Costs("made up", plan(4), points)


def test_costs_are_linear_between_points_and_beyond(costs: Costs) -> None:
    assert costs.prefill(1, 100).seconds == pytest.approx(0.2)
    assert costs.prefill(3, 1000).seconds == pytest.approx(1.1)
    assert costs.decode(1, 400).seconds == pytest.approx(0.014)
    assert costs.decode(2, 0).seconds == pytest.approx(0.02)
    assert costs.decode(10, 0).seconds == pytest.approx(0.1)
    one = 0.1 + 0.01 * 30 + 1e-5 * 30 * 1000
    assert costs.solve([Solved(1000, 30)]).seconds == pytest.approx(one)
    assert costs.solve([Solved(1000, 30)] * 3).seconds == pytest.approx(3 * one)
    different = [Solved(0, 50), Solved(1000, 30)]
    assert costs.solve(different).seconds == pytest.approx(0.1 + 0.01 * 50 + one)


def test_of_a_single_point_nothing_is_made_up() -> None:
    one = [Point("prefill", 1, 0, 100, 0.3), Point("decode", 1, 100, 1, 0.2), Point("solve", 1, 100, 50, 0.1)]
    costs = Costs("made up", plan(1), one)
    assert costs.prefill(1, 900).seconds == pytest.approx(0.3)
    assert costs.decode(1, 900).seconds == pytest.approx(0.2)
    assert costs.solve([Solved(900, 20)]).seconds == pytest.approx(0.1)


def test_a_table_is_read_as_it_was_saved(costs: Costs, tmp_path: Path) -> None:
    costs.save(tmp_path / "costs.json")
    assert Costs.read(tmp_path / "costs.json") == costs


def test_a_plan_for_more_streams(costs: Costs) -> None:
    assert costs.plan_for(64).solve_width == 2
    everybody = Costs("made up", plan(4, solve_width=4), costs.points)
    assert everybody.plan_for(64).solve_width == 64


def test_a_report_tells_what_was_heard(costs: Costs) -> None:
    together = outcome(costs, Take(100, 125, 2), at_random=False)
    heard = Simulation(costs, costs.plan_for(2), Take(100, 125, 2), [0.0, 0.0]).run()
    assert together.first == [stream.first_s for stream in heard.streams]
    assert together.underruns == heard.underruns
    assert together.rate == pytest.approx(10 / heard.wall_s)
    at_random = outcome(costs, Take(100, 125, 1), at_random=True)
    assert len(at_random.first) == 64
    table = [line.split(" | ") for line in report(costs, [1, 2], 100, 125).splitlines() if line.startswith("| ")]
    assert [row[:2] for row in table[1:]] == [
        ["| 1", "together"],
        ["| 2", "together"],
        ["| 1", "poisson"],
        ["| 2", "poisson"],
    ]


def test_a_turn_on_a_card_takes_as_long_as_the_slower_of_host_and_device() -> None:
    card = Card("made up", memory=1e9, half=1e12, single=1e11, double=1e9)

    def took(waits: int = 0, graphs: int = 0, **operation: Any) -> float:
        one = Operation("bfloat16", 0, 0, graphed=False)._replace(**operation)
        work = Count(launches=100, waits=waits, graphs=graphs)
        work.work[one] = 100
        return seconds(card, work)

    assert took() == pytest.approx(100 * LAUNCH_S)
    assert took(waits=3) == pytest.approx(100 * LAUNCH_S + 3 * WAIT_S)
    assert took(graphed=True) == pytest.approx(100 * KERNEL_S)
    assert took(graphed=True, graphs=50) == pytest.approx(50 * GRAPH_S)
    assert took(moved=10**6) == pytest.approx(0.1)
    assert took(operations=10**9) == pytest.approx(0.1)
    assert took(operations=10**9, dtype="float32") == pytest.approx(1)
    assert took(operations=10**9, dtype="float64") == pytest.approx(100)


def test_estimates_of_the_better_card_are_the_better_ones() -> None:
    work = Count(launches=1)
    work.work[Operation("bfloat16", 10**10, 10**9, False)] = 1
    turns = [
        Turn(kind, 1, past, size, work) for kind in ("prefill", "decode", "solve") for past, size in ((0, 50), (9, 5))
    ]
    took = {name: estimate(card, turns).points[0].seconds for name, card in CARDS.items()}
    assert took["H100"] < took["4090"] < took["L20"] < took["L4"]


@pytest.mark.full
def test_turns_are_counted_for_the_cards(small_checkpoint: Path) -> None:
    turns = list(count_turns(small_checkpoint, (1, 2)))
    assert [(one.turn, one.streams) for one in turns] == [
        (turn, streams) for streams in (1, 2) for turn in ("prefill", "decode", "solve", "solve", "solve")
    ]
    assert [(one.past, one.size) for one in turns[2:5]] == [(200, 50), (250, 200), (450, 50)]
    assert all(any(work.operations for work in one.count.work) for one in turns)
    graphed = [any(work.graphed for work in one.count.work) for one in turns]
    assert graphed == [True] * 10
    # The language model's step; the encoder, ten Euler steps, and a second's windows of sound.
    assert [one.count.graphs for one in turns[:4]] == [1, 1, 12, 15]


@pytest.mark.full
def test_the_command_measures_and_reports(small_checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.simulate", "--quick", "--checkpoint", str(small_checkpoint)]
    command += ["--at-once", "2", "--streams", "1", "3", "--save", str(tmp_path / "costs.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n| ") == 5
    again = [*command[:3], "--costs", str(tmp_path / "costs.json"), "--streams", "1", "3"]
    assert subprocess.run(again, cwd=ROOT, capture_output=True, text=True, check=True).stdout == done.stdout
