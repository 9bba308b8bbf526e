"""What the programs ask of a GPU: the counter sees it, and the waits of each program are held."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton")
from benchmarks.counting import Counter  # noqa: E402
from benchmarks.launches import as_json, count_all, table  # noqa: E402
from benchmarks.nowhere import GPU, nowhere  # noqa: E402
from benchmarks.programs import PARTS, Counted  # noqa: E402
from torch import Tensor  # noqa: E402

from cosyserve_workers.native.flow.dit_sizes import DitSizes  # noqa: E402
from cosyserve_workers.native.flow.weights import Weights  # noqa: E402
from cosyserve_workers.native.half_vocoder import load_vocoder  # noqa: E402
from cosyserve_workers.native.kernels import paged_triton  # noqa: E402
from cosyserve_workers.native.kernels.paged import Pages  # noqa: E402
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model  # noqa: E402
from cosyserve_workers.native.vocoder.stream import VocoderStep  # noqa: E402
from tests.model.conftest import ROOT, first  # noqa: E402

CPU = torch.device("cpu")

WAITS = {
    ("segment", 1, 0): {},
    ("prefill", 1, 0): {},
    ("prefill", 2, 0): {},
    ("prefill turn", 1, 0): {},
    ("prefill turn", 2, 0): {},
    ("sampler", 1, 100): {},
    ("sampler", 2, 100): {},
    ("decode", 1, 100): {},
    ("decode", 2, 100): {},
    ("decode turn", 1, 100): {},
    ("decode turn", 2, 100): {},
    # A step's tokens, whoever they are of.
    ("tokens", 1, 100): {"event": 1},
    ("tokens", 2, 100): {"event": 1},
    ("encoder", 1, 100): {},
    ("encoder", 2, 100): {},
    ("estimator", 1, 100): {},
    ("estimator", 2, 100): {},
    ("voice", 1, 0): {},
    ("solve", 1, 100): {},
    ("solve", 2, 100): {},
    ("vocoder", 1, 100): {},
    ("vocoder", 2, 100): {},
    # Each stream's sound.
    ("solve turn", 1, 100): {"event": 1},
    ("solve turn", 2, 100): {"event": 2},
}
"""What the host waits for, by program, streams and past. Whoever needs a wait less lowers the number; a new one wants a
reason."""


@pytest.fixture(scope="module")
def counted(small_checkpoint: Path) -> list[Counted]:
    """Of two streams."""
    return list(count_all(small_checkpoint, torch.bfloat16, [2], [100]))


@pytest.fixture(scope="module")
def alone(small_checkpoint: Path) -> list[Counted]:
    """Of one."""
    return list(count_all(small_checkpoint, torch.bfloat16, [1], [100]))


@pytest.fixture
def counter() -> Iterator[Counter]:
    with nowhere() as subject:
        yield subject


def test_no_program_waits_more_than_is_known(counted: list[Counted]) -> None:
    assert {one.program for one in counted} == set(PARTS.values())
    assert asked(counted) == {
        key: waits for key, waits in WAITS.items() if key[1] == 2 or key[0] in {"segment", "voice"}
    }
    assert all(one.count.waits == one.count.asked.total() for one in counted)


@pytest.mark.full
def test_nor_does_it_for_one_stream(alone: list[Counted]) -> None:
    assert asked(alone) == {key: waits for key, waits in WAITS.items() if key[1] == 1}


def test_a_turn_launches_what_its_parts_do_and_some_more(counted: list[Counted]) -> None:
    launches = {one.program: one.count.launches for one in counted if one.streams == 2}
    assert launches["prefill turn"] > launches["prefill"] > launches["sampler"]
    assert launches["decode turn"] == launches["decode"] > launches["sampler"]
    assert launches["solve turn"] > launches["solve"] + launches["vocoder"]
    assert launches["solve"] > launches["encoder"] + 10 * launches["estimator"]


def asked(counted: Iterable[Counted]) -> dict[tuple[str, int, int], dict[str, int]]:
    return {(one.program, one.streams, one.past): dict(one.count.asked) for one in counted}


def launches(counted: Iterable[Counted], program: str) -> list[int]:
    return [one.count.launches for one in counted if one.program == program]


def test_the_language_model_launches_no_more_than_it_may_whoever_takes_part(
    counted: list[Counted], small_checkpoint: Path
) -> None:
    """At full size 330 with the sampler, of which a layer takes ten."""
    layers = json.loads((small_checkpoint / "CosyVoice-BlankEN" / "config.json").read_text())["num_hidden_layers"]
    for program in ("prefill", "decode"):
        (shared,) = launches(counted, program)
        assert shared + 10 * (24 - layers) <= 330


@pytest.mark.full
@pytest.mark.parametrize("program", ["prefill", "decode"])
def test_it_launches_as_much_for_one_as_for_two(alone: list[Counted], counted: list[Counted], program: str) -> None:
    assert launches(alone, program) == launches(counted, program)


def test_sound_keeps_within_its_launches_with_what_is_copied_to_and_from_its_graph(counted: list[Counted]) -> None:
    (shared,) = launches(counted, "vocoder")
    assert shared <= 260


@pytest.mark.parametrize(
    "model", [pytest.param(COSYVOICE2, id="2"), pytest.param(COSYVOICE3, marks=pytest.mark.full, id="3")]
)
def test_sound_costs_the_same_launches_for_every_batch(
    small_checkpoint: Path, small_checkpoint_3: Path, model: Model
) -> None:
    """Whether streams begin, go on or end, and whoever is there: the small network has the layers of the full one."""
    counts = set()
    with nowhere() as counter:
        folder = small_checkpoint if model is COSYVOICE2 else small_checkpoint_3
        vocoder, _ = load_vocoder(folder, GPU, torch.float32, model)
        vocoder.reserve(200)
        assert not torch.backends.cudnn.allow_tf32
        for rows in (1, 2, 3, 5, 16):
            streams = [vocoder.open(seed) for seed in range(rows)]
            for frames, final in ((40, False), (50, False), (36, True)):
                mel = torch.zeros(80, frames, device=GPU)
                before = counter.count.copy()
                vocoder.advance([VocoderStep(stream, mel, final) for stream in streams])
                counts.add(counter.count.since(before).launches)
                assert not counter.count.since(before).asked
    (launches,) = counts
    assert launches <= 260


@pytest.mark.parametrize("streams", first([2, 1]))
def test_the_newer_model_waits_for_no_more_and_keeps_within_its_launches(
    small_checkpoint_3: Path, streams: int
) -> None:
    """A step of its flow is 260 at most at full size, of whose 22 layers each takes nine."""
    counted = list(count_all(small_checkpoint_3, torch.bfloat16, [streams], [100]))
    assert asked(counted).items() <= WAITS.items()
    assert max(launches(counted, "vocoder")) <= 260
    (steps,) = set(launches(counted, "estimator"))
    layers = DitSizes.infer(Weights.read(small_checkpoint_3 / "flow.pt", CPU, torch.float32, "CosyVoice3"))
    assert steps + 9 * (22 - layers.estimator_layers) <= 260


@pytest.mark.full
def test_a_step_of_the_newer_models_flow_launches_the_same_in_every_bucket(small_checkpoint_3: Path) -> None:
    counted = [*count_all(small_checkpoint_3, torch.bfloat16, [1, 2], [100])]
    others = [*count_all(small_checkpoint_3, torch.bfloat16, [3], [225])]
    assert len({*launches(counted, "estimator"), *launches(others, "estimator")}) == 1


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_newer_models_flow_keeps_within_its_launches(full_checkpoint_3: Path) -> None:
    counted = list(count_all(full_checkpoint_3, torch.bfloat16, [1, 16], [100]))
    assert len({*launches(counted, "estimator")}) == 1
    assert max(launches(counted, "estimator")) <= 260


@pytest.mark.full
def test_a_step_of_the_flow_launches_the_same_whoever_shares_it(small_checkpoint: Path, counted: list[Counted]) -> None:
    """In every bucket that these come to, and whatever is behind."""
    others = list(count_all(small_checkpoint, torch.bfloat16, [1, 3], [225]))
    assert len({*launches(counted, "estimator"), *launches(others, "estimator")}) == 1


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_flow_keeps_within_its_launches(full_checkpoint: Path) -> None:
    counted = list(count_all(full_checkpoint, torch.bfloat16, [1, 16], [100]))
    assert max(launches(counted, "estimator")) <= 700
    assert max(launches(counted, "solve")) <= 7500


@triton.jit
def nothing(values: Any) -> None:
    """A kernel."""


def test_the_counter_sees_launches(counter: Counter) -> None:
    values = torch.zeros(4, 4, device=GPU)
    assert counter.count.launches == 1
    torch.empty(4, device=GPU)
    values.t()[2:].unsqueeze(0)
    torch.ones(3) + 1
    assert counter.count.launches == 1, "views, allocations and what the host does are free"
    (values @ values).add_(values)
    assert counter.count.launches == 3
    nothing[(1,)](values)
    assert counter.count.launches == 4, "a Triton kernel is a launch"
    assert max(one.operations for one in counter.count.work) == 2 * 4**3
    assert counter.count.waits == 0


def test_attention_reads_the_pages_behind_it_and_no_others(counter: Counter) -> None:
    numbers = [torch.zeros(1, dtype=torch.int32, device=GPU) for _ in range(5)]
    pages = Pages(torch.zeros(10_000, 3, 2, 2, 50, 64, dtype=torch.bfloat16, device=GPU), *numbers)
    qkv = torch.zeros(2, 50, 192, dtype=torch.bfloat16, device=GPU)
    moved = []
    for behind in (0, 4):
        counter.behind = behind
        before = counter.count.copy()
        assert paged_triton.attend(qkv, pages, 1, 4).shape == (2, 50, 64)
        (done,) = counter.count.since(before).work
        assert done.operations == 4 * 100 * (behind + 1) * 50 * 64
        moved.append(done.moved)
    assert moved[1] - moved[0] == 4 * pages.keys_values[0, 0].nbytes, "of each page one layer"


@triton.jit
def reads_some(values: Any, rows: Any) -> None:
    """A kernel."""


def test_of_all_streams_values_a_kernel_reads_some(counter: Counter) -> None:
    rows, values = torch.zeros(100, device=GPU), torch.empty(2**50, device=GPU)
    for given, moved in ((rows + 1, 2 * 400), (values, 400 + 10 * 400)):
        before = counter.count.copy()
        reads_some[(1,)](given, rows)
        assert [one.moved for one in counter.count.since(before).work] == [moved]


@pytest.mark.parametrize(
    ("ask", "waits"),
    [
        (lambda values: values.sum().item(), 1),
        (lambda values: float(values[0]), 1),
        (lambda values: values.tolist(), 1),
        (lambda values: values.cpu().numpy(), 1),
        (lambda values: bool((values > 0).any()), 1),
        (lambda values: values[values > 0], 1),
        (lambda values: values.nonzero(), 1),
        (lambda values: values.masked_select(values > 0), 1),
        (lambda values: torch.tensor([1, 2], device=values.device), 1),
        (lambda values: torch.zeros(2).to(values.device), 1),
        (lambda values: values.copy_(torch.zeros(16)), 1),
        (lambda values: torch.istft(torch.zeros(9, 5, device=GPU) + 0j, 16, 4, window=values + 1), 1),
        (lambda values: torch.zeros(2).to(values.device, non_blocking=True), 0),
        (lambda values: values.copy_(torch.zeros(16), non_blocking=True), 0),
        (lambda values: values.masked_fill_(values > 0, 0.0), 0),
        (lambda values: values.__setitem__(values > 0, 0.0), 0),
        (lambda values: values[torch.zeros(2, dtype=torch.int64, device=GPU)], 0),
    ],
)
def test_the_counter_sees_waits(counter: Counter, ask: Callable[[Tensor], Any], waits: int) -> None:
    values = torch.zeros(16, device=GPU)

    @torch.inference_mode()
    def program() -> None:
        ask(values)

    program()
    assert counter.count.waits == waits, counter.count.asked


def test_all_is_as_it_was_afterwards() -> None:
    with nowhere():
        pass
    with torch.inference_mode():
        assert torch.ones(2).is_inference()
        assert torch.ones(2).tolist() == [1.0, 1.0]


@pytest.mark.full
def test_the_command_prints_what_it_counted(small_checkpoint: Path, counted: list[Counted]) -> None:
    command = [sys.executable, "-m", "benchmarks.launches", "--quick", "--json", "--checkpoint", str(small_checkpoint)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert [one for one in printed if one["streams"] == 2] == [as_json(one) for one in counted if one.streams == 2]
    assert set(printed[0]) == {"program", "streams", "past", "launches", "waits"}
    assert table(counted).count("\n") == len(counted) + 1
