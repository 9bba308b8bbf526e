"""What goes where: by a machine's numbers, which are given; what is really taken is the engine's tests' affair."""

from pathlib import Path

import pytest
import torch

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.memory_plan import (
    GIB,
    GRAPHS,
    MOST_STATE_ON_CPU,
    WORK,
    Room,
    plan_memory,
    spare_bytes,
    weights_bytes,
)
from cosyserve_workers.native.precision import Precision

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_on_one_card_get_the_same(workers: int) -> None:
    """The second finds what the first has left, and yet takes no less and no more."""
    first = plan_memory(Room(GPU, free=46 * GIB, total=48 * GIB, workers=workers), 2 * GIB, GIB)
    last = plan_memory(
        Room(GPU, free=48 * GIB - (workers - 1) * first.share, total=48 * GIB, workers=workers), 2 * GIB, GIB
    )
    assert first == last
    taken = first.weights + first.keys_values + first.state + first.graphs + first.work
    assert taken == first.share
    assert workers * first.share <= 48 * GIB


def test_what_others_use_is_not_ours() -> None:
    plan = plan_memory(Room(GPU, free=10 * GIB, total=48 * GIB), 2 * GIB, GIB)
    assert plan.state == 10 * GIB - 2 * GIB - GIB - GRAPHS - WORK


def test_on_a_cpu_others_need_memory_too() -> None:
    assert plan_memory(Room(CPU, free=20 * GIB, total=24 * GIB), 3 * GIB, GIB).state == (20 - 3 - 1 - 2) * GIB // 2
    assert plan_memory(Room(CPU, free=200 * GIB, total=256 * GIB), 3 * GIB, GIB).state == MOST_STATE_ON_CPU
    assert plan_memory(Room(CPU, free=5 * GIB, total=8 * GIB), 3 * GIB, GIB).state == 0


def test_what_was_asked_for() -> None:
    assert plan_memory(Room(GPU, free=10 * GIB, total=48 * GIB), 2 * GIB, GIB, wanted_state=5 * GIB).state == 5 * GIB


@pytest.mark.parametrize(("workers", "whose"), [(1, "for this worker:"), (4, "for this worker of 4:")])
def test_a_model_that_has_no_room(workers: int, whose: str) -> None:
    with pytest.raises(LoadError, match=whose) as refused:
        plan_memory(Room(GPU, free=8 * GIB, total=8 * GIB, workers=workers), 7 * GIB, GIB)
    assert "lower model.streams or workers.count" in str(refused.value)


def test_it_says_itself() -> None:
    plan = plan_memory(Room(GPU, free=46 * GIB, total=48 * GIB, workers=2), 2 * GIB, GIB)
    assert str(plan) == (
        "weights 2.0, keys and values 1.0, the flow's state 14.6, CUDA graphs 2.0, work 2.0; "
        "of 21.6 GiB, a part for each of 2 workers"
    )


def test_weights_by_their_files(tmp_path: Path) -> None:
    for name, size in (("llm.pt", 1000), ("flow.pt", 200), ("hift.pt", 80), ("llm.rl.pt", 5000)):
        (tmp_path / name).write_bytes(bytes(size))
    assert weights_bytes(tmp_path, torch.float32) == 1280
    assert weights_bytes(tmp_path, torch.bfloat16) == 680
    assert spare_bytes(tmp_path, Precision("bf16", flow_name="fp16")) == 100
    assert spare_bytes(tmp_path, Precision("bf16")) == 0
    assert weights_bytes(tmp_path, torch.float32, flow_kept=0.5) == 1180
    assert weights_bytes(tmp_path, torch.float32, "llm.rl.pt") == 5280
