"""A cache that computes each value once, whoever asks at once, and keeps what was used last within a budget."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BudgetedCache(Generic[K, V]):
    """Values by key, those used last, as many as the budget holds. Safe to use from several threads.

    What it gives out is a plain reference: dropping a value from the cache takes nothing from those who use it, so
    that values in use may hold more memory than the budget. A value larger than the whole budget is given out and
    not kept.
    """

    def __init__(self, budget: int, size_of: Callable[[V], int]) -> None:
        """budget: the most that sizes may add up to. size_of: a value's size, in the budget's unit; it stays."""
        self._budget = budget
        self._size_of = size_of
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._being_made: dict[K, Future[V]] = {}
        self._used = 0

    @property
    def used(self) -> int:
        """What the sizes of the kept values add up to."""
        with self._lock:
            return self._used

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of `key`, made by `make` where it is not kept.

        Others who ask for it meanwhile wait, and get the same value or the same exception; what was not made is not
        remembered, so that the next who asks tries again. `make` must not ask for its own key, and should not
        fail for reasons that are its caller's alone, being cancelled for one.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            others = self._being_made.get(key)
            if others is None:
                mine = self._being_made[key] = Future[V]()
        if others is not None:
            return others.result()
        try:
            value = make()
            size = self._size_of(value)
        except BaseException as error:
            with self._lock:
                del self._being_made[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._being_made[key]
            self._keep(key, value, size)
        mine.set_result(value)
        return value

    def _keep(self, key: K, value: V, size: int) -> None:
        """Put it in, and drop those unused for longest until all fit."""
        if size > self._budget:
            return
        self._kept[key] = (value, size)
        self._used += size
        while self._used > self._budget:
            _, (_, freed) = self._kept.popitem(last=False)
            self._used -= freed
