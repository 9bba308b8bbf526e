"""A cache that many ask at once."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import pytest

from cosyserve_workers.budgeted_cache import BudgetedCache
from tests.serving import DEADLINE_S, wait_for


class Maker:
    """Makes a text of a given length, counts how often, and can be held up."""

    def __init__(self, value: str | Exception) -> None:
        self.value = value
        self.runs = 0
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self) -> str:
        self.runs += 1
        self.began.set()
        assert self.may_end.wait(DEADLINE_S)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def cache(budget: int) -> BudgetedCache[str, str]:
    return BudgetedCache(budget, len)


def ask(kept: BudgetedCache[str, str], keys: str, sizes: Callable[[str], int] = lambda _: 1) -> str:
    """Ask for each key in turn; those that had to be made."""
    made = []
    for key in keys:

        def make(key: str = key) -> str:
            made.append(key)
            return key * sizes(key)

        assert kept.get(key, make) == key * sizes(key)
    return "".join(made)


def test_a_value_is_made_once() -> None:
    assert ask(cache(10), "aabab") == "ab"


def test_the_one_unused_for_longest_goes_first() -> None:
    assert ask(cache(2), "abacab") == "abcb"


def test_the_budget_is_of_sizes_and_not_of_values() -> None:
    kept = cache(10)
    sizes = {"a": 4, "b": 5, "c": 6}
    assert ask(kept, "abab", sizes.__getitem__) == "ab"
    assert kept.used == 9
    assert ask(kept, "c", sizes.__getitem__) == "c"
    assert kept.used == 6
    assert ask(kept, "ca", sizes.__getitem__) == "a"
    assert kept.used == 10


def test_a_value_over_the_budget_is_given_out_and_drives_out_nothing() -> None:
    kept = cache(3)
    ask(kept, "ab")
    assert kept.get("huge", lambda: "x" * 4) == "xxxx"
    assert kept.used == 2
    assert ask(kept, "ab") == ""
    assert kept.get("huge", lambda: "y" * 4) == "yyyy"


def test_a_dropped_value_stays_whole_for_who_has_it() -> None:
    kept: BudgetedCache[str, list[int]] = BudgetedCache(3, len)
    mine = kept.get("a", lambda: [1, 2, 3])
    kept.get("b", lambda: [4])
    assert mine == [1, 2, 3]
    assert kept.get("a", list) == []


class Crowd:
    """Threads that ask for one key: the first makes its value, the others are seen to wait before it may end."""

    def __init__(self, kept: BudgetedCache[str, str], maker: Maker, size: int = 4) -> None:
        maker.may_end.clear()
        self._pool = ThreadPoolExecutor(size)
        first = self._pool.submit(kept.get, "a", maker)
        assert maker.began.wait(DEADLINE_S)
        self._idents: list[int] = []
        self.asked = [first, *(self._pool.submit(self._ask, kept, maker) for _ in range(size - 1))]
        wait_for(lambda: len(self._idents) == size - 1 and all(map(waits, self._idents)), "the others to wait")

    def _ask(self, kept: BudgetedCache[str, str], maker: Maker) -> str:
        self._idents.append(threading.get_ident())
        return kept.get("a", maker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def waits(ident: int) -> bool:
    """Whether a thread waits for a future's result."""
    frame = sys._current_frames().get(ident)
    while frame is not None:
        if frame.f_code is Future.result.__code__:
            return True
        frame = frame.f_back
    return False


def test_those_who_ask_at_once_wait_for_one_computation() -> None:
    kept, maker = cache(10), Maker("value")
    with Crowd(kept, maker) as crowd:
        assert kept.get("b", lambda: "not held up") == "not held up"
        maker.may_end.set()
        values = [asked.result(DEADLINE_S) for asked in crowd.asked]
    assert values == ["value"] * 4
    assert all(value is maker.value for value in values)
    assert maker.runs == 1


def test_an_exception_reaches_each_who_waits_and_leaves_nothing_behind() -> None:
    kept, maker = cache(10), Maker(RuntimeError("no sound"))
    with Crowd(kept, maker) as crowd:
        maker.may_end.set()
        assert [asked.exception(DEADLINE_S) for asked in crowd.asked] == [maker.value] * 4
    assert maker.runs == 1
    assert kept.get("a", lambda: "again") == "again"


def test_a_size_that_cannot_be_told_is_an_exception_like_any_other() -> None:
    def too_odd(_: str) -> int:
        raise TypeError("of no size")

    kept = BudgetedCache[str, str](10, too_odd)
    for _ in range(2):
        with pytest.raises(TypeError, match="of no size"):
            kept.get("a", lambda: "a")
    assert kept.used == 0


def test_many_threads_and_little_room_never_give_a_value_to_the_wrong_key() -> None:
    kept = cache(5)

    def hammer(start: int) -> bool:
        keys = [chr(ord("a") + (start + step * step) % 7) for step in range(2000)]
        return all(kept.get(key, lambda key=key: key * 2) == key * 2 for key in keys)  # type: ignore[misc]

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(hammer, range(6)))
    assert kept.used <= 5
