"""The waiting line: who waits for a stream, in which order, and how many may."""

from collections import deque
from collections.abc import Iterable, Iterator

from cosyserve.pool.job import Job


class WaitingLine:
    """First come, first served; jobs that lost their worker go back to the head."""

    def __init__(self, max_waiting: int, wait_timeout_s: float) -> None:
        self._jobs: deque[Job] = deque()
        self._max_waiting = max_waiting
        self._wait_timeout_s = wait_timeout_s

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs))

    def adjust(self, max_waiting: int, wait_timeout_s: float) -> None:
        """So many may wait, for so long; those that wait stay."""
        self._max_waiting, self._wait_timeout_s = max_waiting, wait_timeout_s

    @property
    def overfull(self) -> bool:
        """Whether the newest one has no place."""
        return len(self._jobs) > self._max_waiting

    def join(self, job: Job) -> None:
        """Stand at the end."""
        self._jobs.append(job)

    def rejoin(self, jobs: Iterable[Job]) -> None:
        """Stand at the head, in the order given."""
        self._jobs.extendleft(reversed(list(jobs)))

    def leave(self, job: Job) -> None:
        """Give the place up, to run or to go home."""
        self._jobs.remove(job)

    def overdue(self, now: float) -> list[Job]:
        """Those who have waited too long."""
        return [job for job in self._jobs if self._due_at(job) <= now]

    def due_at(self) -> float:
        """When the next one will have waited too long; infinity if nobody waits."""
        return min(map(self._due_at, self._jobs), default=float("inf"))

    def _due_at(self, job: Job) -> float:
        return job.waiting_since + self._wait_timeout_s
