"""Which width of a solve pays, by tables that are given; that they are measured on the flow itself."""

from pathlib import Path

import pytest
import torch

from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.flow.width_choice import WidthTable, measure_widths


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 1.05, 4: 1.1, 8: 1.2, 10: 1.3}, 10),
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, 1),
        ({1: 1.0, 2: 1.96, 4: 3.9}, 1),
        ({1: 1.0, 2: 1.2, 4: 2.4, 8: 4.8}, 2),
        ({1: 1.0, 2: 1.98, 4: 2.0, 8: 3.99}, 4),
    ],
    ids=["alone", "free", "as dear as alone", "noise", "two", "four"],
)
def test_the_widest_that_pays(seconds: dict[int, float], best: int) -> None:
    assert WidthTable(seconds).best == best


def test_it_says_itself() -> None:
    assert str(WidthTable({2: 0.0012, 1: 0.001})) == "2 (ms a step by streams: 1: 1.0, 2: 1.2)"


def test_it_is_measured_on_the_flow(small_checkpoint: Path) -> None:
    flow = Flow.load(small_checkpoint, torch.device("cpu"), torch.float32)
    table = measure_widths(flow, 10)
    assert sorted(table.seconds) == [1, 2, 4, 8, 10]
    assert all(seconds > 0 for seconds in table.seconds.values())
    assert table.best in table.seconds
