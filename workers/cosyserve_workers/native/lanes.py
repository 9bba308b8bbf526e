"""Several streams' work side by side on a CPU: the cores are shared out among the streams.

The operations of a chunk are small, so that more cores on one of them help little; each stream on cores of its own
keeps them busy.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Work = TypeVar("Work")
Result = TypeVar("Result")


class Lanes:
    """count: how many at most; with one the caller does the work. All the threads that PyTorch now uses are shared."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._threads = torch.get_num_threads()
        if count > 1:
            self._pool = ThreadPoolExecutor(count, "lane")

    def run(self, work: Callable[[Sequence[Work]], list[Result]], items: Sequence[Work]) -> list[Result]:
        """Do `work` for parts of the items side by side; the results in the items' order. Raises what the work raises.

        One item is the caller's own, with all the threads.
        """
        lanes = min(self.count, len(items))
        if lanes == 1:
            return work(items)
        share = max(self._threads // lanes, 1)

        def part(lane: int) -> list[Result]:
            # PyTorch keeps the number with the thread.
            torch.set_num_threads(share)
            return work(items[lane::lanes])

        parts = [self._pool.submit(part, lane) for lane in range(lanes)]
        # Nobody may go on with a lane's streams while it works on them, whatever another lane has raised.
        wait(parts)
        done = [finished.result() for finished in parts]
        return [done[index % lanes][index // lanes] for index in range(len(items))]
