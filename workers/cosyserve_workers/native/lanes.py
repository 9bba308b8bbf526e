"""Several streams' work side by side on a CPU: a thread and a core each, instead of all cores on one after the other.

The operations of a chunk are small. Two cores on one of them are 1.4 times as fast as one core; on one stream's each,
they are nearly twice as fast.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Work = TypeVar("Work")
Result = TypeVar("Result")


class Lanes:
    """count: how many threads; with one there is none, and the caller does the work."""

    def __init__(self, count: int) -> None:
        self.count = count
        if count == 1:
            return
        # PyTorch keeps the number with the thread, and the last one set for threads to come.
        threads = torch.get_num_threads()
        started = threading.Barrier(count)
        self._pool = ThreadPoolExecutor(count, "lane", _use_one_core)
        list(self._pool.map(lambda _: started.wait(), range(count)))
        torch.set_num_threads(threads)

    def run(self, work: Callable[[Sequence[Work]], list[Result]], items: Sequence[Work]) -> list[Result]:
        """Do `work` for parts of the items side by side; the results in the items' order. Raises what the work raises.

        One item is the caller's own, with all the cores.
        """
        if self.count == 1 or len(items) == 1:
            return work(items)
        parts = [items[lane :: self.count] for lane in range(min(self.count, len(items)))]
        done = [self._pool.submit(work, part) for part in parts]
        results = [future.result() for future in done]
        return [results[index % self.count][index // self.count] for index in range(len(items))]


def _use_one_core() -> None:
    torch.set_num_threads(1)
