"""Work side by side: the order of results, the threads each part gets, and what a part raises."""

import threading
from collections.abc import Iterator, Sequence

import pytest

torch = pytest.importorskip("torch")
from cosyserve_workers.native.lanes import Lanes  # noqa: E402


@pytest.fixture(autouse=True)
def six_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


def where(items: Sequence[int]) -> list[tuple[int, str, int]]:
    return [(item, threading.current_thread().name, torch.get_num_threads()) for item in items]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("items", [1, 2, 5])
def test_results_come_in_order_and_threads_are_shared_out(count: int, items: int) -> None:
    done = Lanes(count).run(where, list(range(items)))
    assert [item for item, _, _ in done] == list(range(items))
    lanes = min(count, items)
    if lanes == 1:
        assert {name for _, name, _ in done} == {threading.current_thread().name}
    assert {threads for _, _, threads in done} == {6 // lanes}
    assert torch.get_num_threads() == 6, "the caller keeps its own"


def test_the_lanes_run_at_the_same_time() -> None:
    meet = threading.Barrier(3, timeout=60)
    Lanes(3).run(lambda items: [meet.wait() for _ in items], [0, 1, 2])


def test_what_a_part_raises_is_raised_when_all_parts_have_ended() -> None:
    raised, ended = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> list[int]:
        if items[0] == 0:
            raised.set()
            raise ArithmeticError("lane 0")
        assert raised.wait(60)
        ended.set()
        return list(items)

    with pytest.raises(ArithmeticError):
        Lanes(2).run(work, [0, 1])
    assert ended.is_set()
