"""The oldest garbage is gone through while there is little to look at, and at the end of a patience in any case."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from cosyserve.http import collector
from cosyserve.http.collector import WORTH_IT, collect_when_quiet, settle


class Thing:
    """Held by nothing but itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(collector, "PERIOD_S", 0.01)
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def grow_old() -> weakref.ref[Thing]:
    """Garbage of the oldest generation, and enough passes since the last one that went so far."""
    thing = Thing()
    for _ in range(WORTH_IT + 1):
        gc.collect(1)
    return weakref.ref(thing)


async def look_after(few: int, patience_s: float, watched: weakref.ref[Thing], wait_s: float) -> bool:
    """Whether it was collected meanwhile."""
    collecting = asyncio.create_task(collect_when_quiet(few, patience_s))
    for _ in range(round(wait_s / 0.01)):
        await asyncio.sleep(0.01)
        if watched() is None:
            break
    collecting.cancel()
    return watched() is None


def test_never_by_itself() -> None:
    settle()
    watched = grow_old()
    for _ in range(100):
        gc.collect(1)
    assert [Thing() for _ in range(10_000)]
    assert watched() is not None


def test_while_there_is_little() -> None:
    settle()
    assert asyncio.run(look_after(10**9, 3600, grow_old(), wait_s=10))


def test_not_while_there_is_much() -> None:
    settle()
    assert not asyncio.run(look_after(0, 3600, grow_old(), wait_s=0.3))


def test_in_the_end_however_much_there_is() -> None:
    settle()
    assert asyncio.run(look_after(0, 0.1, grow_old(), wait_s=10))
