"""The workers that there are: those that serve, those on trial for a new generation, those that leave."""

from collections import defaultdict
from collections.abc import Collection, Iterator

from cosyserve.pool.job import Job
from cosyserve.pool.status import WorkerState
from cosyserve.pool.worker import Worker


class Roster:
    """In the order in which they came. A worker's index is its own for good: a late message cannot meet another one."""

    def __init__(self) -> None:
        self._workers: dict[int, Worker] = {}
        self._next = 0

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def __len__(self) -> int:
        return len(self._workers)

    def __getitem__(self, index: int) -> Worker:
        return self._workers[index]

    def __contains__(self, index: int) -> bool:
        return index in self._workers

    def next_index(self) -> int:
        """For one more."""
        self._next += 1
        return self._next - 1

    def add(self, worker: Worker) -> None:
        """One more."""
        self._workers[worker.index] = worker

    def drop(self, worker: Worker) -> None:
        """It has left."""
        del self._workers[worker.index]

    @property
    def serving(self) -> list[Worker]:
        """Those that the service counts on, whatever has become of them: not on trial, and not sent home."""
        return [worker for worker in self if not (worker.trial or worker.dismissed)]

    @property
    def running(self) -> int:
        """Streams in use, those included that still owe an answer to Cancel."""
        return sum(len(worker.jobs) for worker in self)

    @property
    def streams(self) -> int:
        """How many they run at once. One that leaves and the one in its place count once: they may share a GPU."""
        most: dict[int, int] = defaultdict(int)
        for worker in self:
            if not worker.trial and worker.state is not WorkerState.STOPPED:
                most[worker.slot] = max(most[worker.slot], worker.streams)
        return sum(most.values())

    @property
    def has_free_stream(self) -> bool:
        """Whether a ready worker runs fewer than it can."""
        return any(worker.state is WorkerState.READY and len(worker.jobs) < worker.streams for worker in self)

    def choose(self, job: Job, claimed: Collection[int]) -> Worker | None:
        """Who runs it: the least loaded, among equals one that knows the voice. claimed: who takes nobody."""
        digest = job.request.prompt.digest
        return min(
            (worker for worker in self if worker.index not in claimed and worker.welcomes(job)),
            key=lambda worker: (len(worker.jobs), not worker.knows(digest)),
            default=None,
        )

    def least_loaded(self, claimed: Collection[int]) -> Worker | None:
        """Of those that are ready."""
        ready = [w for w in self if w.state is WorkerState.READY and w.index not in claimed]
        return min(ready, key=lambda worker: len(worker.jobs), default=None)
