"""The benchmarks of the engine native: they run, and their floors are of what the networks really do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch")
import torch
from benchmarks.floors import Floors, Machine
from benchmarks.native import OURS, QUICK
from benchmarks.native import Bench as Comparison
from benchmarks.native_trace import Floor
from benchmarks.takes import Take
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.lm.model import LanguageModel
from cosyserve_workers.native.lm.weights import load_weights
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model, ModelFolder
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep
from tests.model.conftest import ROOT

CPU = torch.device("cpu")
pytestmark = pytest.mark.timeout(900)


class Bench(NamedTuple):
    """A folder of a model, and what is said of it."""

    folder: Path
    model: Model
    floors: Floors


@pytest.fixture(scope="module", params=[COSYVOICE2, COSYVOICE3], ids=["2", "3"])
def bench(small_checkpoint: Path, small_checkpoint_3: Path, request: pytest.FixtureRequest) -> Bench:
    folder = small_checkpoint if request.param is COSYVOICE2 else small_checkpoint_3
    return Bench(folder, request.param, Floors.of(folder))


class Products(TorchDispatchMode):
    """Counts the operations of products with weights, of all that happens while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in {torch.ops.aten.linear.default, torch.ops.mkldnn._linear_pointwise.default}:
            self.operations += 2 * args[0].numel() * made.shape[-1]
        elif func is torch.ops.aten.conv1d.default:
            self.operations += 2 * made.numel() * args[1][0].numel()
        return made


def test_the_language_models_floor_is_its_products(bench: Bench) -> None:
    weights = load_weights(ModelFolder(bench.folder, bench.model), CPU, torch.float64)
    model = LanguageModel(weights, slots=3, max_tokens=64)
    nothing = torch.zeros(0, dtype=torch.int64)
    model.prefill([0, 1, 2], [model.embed(nothing, torch.arange(5), nothing)] * 3)
    with Products() as products:
        model.decode([0, 1, 2], torch.tensor([1, 2, 3]))
    assert products.operations == 2 * bench.floors.lm_weights * 3


def test_the_flows_floor_is_its_products(bench: Bench) -> None:
    floors = bench.floors
    flow = Flow.load(bench.folder, CPU, torch.float32, model=bench.model)
    stream = flow.open(flow.voice_state(torch.arange(53), torch.zeros(106, 80), torch.ones(192)))
    before = stream.frames_done
    flow.reserve(253)  # what is solved once for all streams is no part of it
    with Products() as products:
        flow.advance([FlowStep(stream, torch.arange(200), keep=True)])
    assert (before, stream.frames_done) == (100, 500)
    assert products.operations == 400 * floors.flow_frame
    once = Floor(floors, Machine(operations=1.0, bytes_read=1.0), torch.float32)
    attention = 50 * sum(range(150, 501, 50)) * floors.flow_context
    assert once.flow(100, 500) == 400 * floors.flow_frame + attention
    assert once.flow(100, 333) + once.flow(333, 350) < once.flow(100, 350)


def test_the_vocoders_floor_is_its_products(bench: Bench) -> None:
    vocoder = Vocoder.load(bench.folder, CPU, torch.float32, bench.model)
    with FlopCounterMode(display=False) as counter:
        (sound,) = vocoder.advance([VocoderStep(vocoder.open(0), torch.randn(80, 500), final=True)])
    floor = len(sound) / 24_000 * bench.floors.vocoder_second
    assert 0.98 <= counter.get_total_flops() / floor < 1.1


def run(*command: str) -> str:
    # With two threads, streams are solved side by side.
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    line = [sys.executable, "-m", *command]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cells(table: str) -> dict[str, list[str]]:
    """The lines of all tables in a report, by their first cell."""
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


@pytest.mark.full
def test_the_comparison_runs(small_checkpoint: Path, library_path: Path) -> None:
    report = cells(run("benchmarks.native", "--quick", "--rounds", "1", "--checkpoint", str(small_checkpoint)))
    mean = "first audio, one stream, geometric mean"
    rows = [
        "first audio, one stream, P mod 25 = 0",
        "first audio, one stream, P mod 25 = 10",
        mean,
        "audio seconds per second, 3 at once, 5 s each",
        "first audio, median of 3 at once, 5 s each",
        "audio seconds per second, 3 at once, 5 s each (library in turns)",
        "first audio, median of 3 at once, 5 s each (library in turns)",
        "wall time per audio second, 10 s against 5 s",
        "CPU time per audio second, 10 s against 5 s",
        "memory, 3 at once, 10 s each, state budget 0.01 GiB",
    ]
    assert list(report)[2:] == rows
    ratios = [float(report[row][0]) for row in rows[:-1]]
    assert all(ratio > 0 for ratio in ratios)
    assert min(ratios[:2]) <= ratios[2] <= max(ratios[:2])
    assert "GiB resident" in report[rows[-1]][1]


def test_a_side_that_is_not_done_in_time_is_named(tmp_path: Path) -> None:
    """No process begins and loads within a hundredth of a second."""
    comparison = Comparison(tmp_path, "", QUICK, rounds=1, threads=1, precision="fp32", limit_s=0.01)
    with pytest.raises(SystemExit, match=r"the side native was not done within 0.01 s \(--limit-s\)"):
        comparison.side(OURS, [Take(25, 25)], 1.0)


@pytest.mark.full
def test_precisions_take_turns(small_checkpoint: Path) -> None:
    command = ("--quick", "--checkpoint", str(small_checkpoint), "--at-once", "2", "--tokens", "40", "--rounds", "1")
    report = run("benchmarks.precisions", *command, "--precision", "fp32", "auto+int8")
    assert "- fp32: precision fp32, language_model fp32, vocoder fp32" in report
    assert "language_model int8" in report
    lines = [line.strip("| ").split(" | ") for line in report.splitlines() if " at once" in line]
    assert [line[1] for line in lines] == ["fp32", "auto+int8"] * 2
    assert [float(line[3]) for line in lines[::2]] == [1.0, 1.0]
    assert all(float(line[2]) > 0 for line in lines)


@pytest.mark.full
def test_the_stages_add_up(bench: Bench) -> None:
    command = ("--quick", "--checkpoint", str(bench.folder), "--at-once", "2", "--tokens", "40")
    report = cells(run("benchmarks.native_stages", *command))
    calls = {stage: int(report[stage][0]) for stage in ("decode", "voice")}
    # Two streams' tokens after the first and the stop are drawn in one batch or, if one joined later, a few more.
    assert 40 <= calls["decode"] <= 80
    assert calls["voice"] == 0
    shares = [int(cell.removesuffix("%")) for line in report.values() for cell in line[2:3] if cell.endswith("%")]
    assert 95 <= sum(shares) <= 105
    way = [float(report[part][0]) for part in ("turns: solve", "queue", "all")]
    assert way[2] >= max(way[:2]) > 0
