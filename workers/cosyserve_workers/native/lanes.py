"""Work side by side on a CPU: the cores are shared out among the parts, and a part's operations run on its own.

The operations of a chunk are small, so that more cores on one of them help little; each part on cores of its own keeps
them busy.

Who may use more than one core at a time is settled here too. libgomp, which PyTorch's wheels come with, gives helpers
to each thread whose operations may use several, for as long as that thread lives. A helper waits for its next
operation awake, but no longer so once a process has more of these threads than cores: then each of the thousands of
operations of a chunk begins with waking them. Measured on two cores of an AMD EPYC, a chunk of 25 tokens takes 2.7 s
so, and 2.1 s where the thread that runs the networks alone has helpers.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

Work = TypeVar("Work")
Result = TypeVar("Result")


def set_threads(count: int) -> None:
    """Let the calling thread's operations use so many threads, it among them; PyTorch keeps the number with it."""
    # PyTorch makes more of a change than of a look: a pool of its own for other uses is made anew.
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Have so many for a while."""
    before = torch.get_num_threads()
    set_threads(count)
    try:
        yield
    finally:
        set_threads(before)


def on_a_passing_thread(work: Callable[[], Result]) -> Result:
    """Do work with helpers, which are gone when it is done. Raises what it raises."""
    count = torch.get_num_threads()

    def with_helpers() -> Result:
        set_threads(count)
        return work()

    with ThreadPoolExecutor(1, "passing") as pool:
        return pool.submit(with_helpers).result()


class Lanes:
    """count: how many at most, the caller's own among them. The threads that the caller's operations use are shared."""

    def __init__(self, count: int) -> None:
        self._count = self._limit = count
        if count > 1:
            self._pool = ThreadPoolExecutor(count - 1, "lane")

    def limit(self, count: int) -> None:
        """Use no more than so many from now on, while nothing runs."""
        self._limit = count

    def width(self, items: int) -> int:
        """How many lanes so many items would be dealt to, asked on the thread that would call `run`."""
        return min(self._count, self._limit, items, torch.get_num_threads())

    def run(self, work: Callable[[Sequence[Work]], list[Result]], items: Sequence[Work]) -> list[Result]:
        """Do `work` for parts of the items side by side; the results in the items' order. Raises what the work raises.

        The first part is the caller's. One item alone is done with all of the caller's threads. A part may call this
        again: it shares out what it was given.
        """
        lanes = self.width(len(items))
        if lanes == 1:
            return work(items)
        threads = torch.get_num_threads()

        def part(lane: int) -> list[Result]:
            set_threads(threads // lanes)
            return work(items[lane::lanes])

        others = [self._pool.submit(part, lane) for lane in range(1, lanes)]
        try:
            done = [part(0)]
        finally:
            set_threads(threads)
            # Nobody may go on with a lane's streams while it works on them, whatever another lane has raised.
            wait(others)
        done += [finished.result() for finished in others]
        return [done[index % lanes][index // lanes] for index in range(len(items))]
