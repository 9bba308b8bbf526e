"""What requests begin with: found by its words, and kept within a budget, those used last."""

import pytest

torch = pytest.importorskip("torch")
from cosyserve_workers.native.lm.attention import KeysAndValues  # noqa: E402
from cosyserve_workers.native.lm.openings import Openings  # noqa: E402


def remembered(positions: int) -> KeysAndValues:
    return KeysAndValues(torch.zeros(2, 1, positions, 4), torch.zeros(2, 1, positions, 4))


def test_those_used_last_are_kept_within_the_budget() -> None:
    subject = Openings(budget=3 * remembered(5).nbytes)
    for first in range(3):
        subject.keep([first, 7], remembered(5))
    assert subject.find([0, 7]) is not None
    subject.keep([3, 7], remembered(5))
    assert subject.find([1, 7]) is None, "used longest ago"
    assert all(subject.find([first, 7]) is not None for first in (0, 2, 3))
    assert subject.find([0]) is None
    subject.keep([4, 7], remembered(16))
    assert all(subject.find([first, 7]) is None for first in range(5)), "larger than the budget"
