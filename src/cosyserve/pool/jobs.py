"""A worker's jobs, by what each of them waits for."""

from collections import OrderedDict
from collections.abc import Iterator

from cosyserve.pool.job import Job, JobState


class Jobs:
    """Those of each kind in the order in which they began to wait, so that what is due next is known at once.

    A front end with a thousand streams asks at each thing that happens.
    """

    def __init__(self) -> None:
        self._all: dict[int, Job] = {}
        self._unheard: OrderedDict[int, Job] = OrderedDict()
        self._heard: OrderedDict[int, Job] = OrderedDict()
        self._leaving: OrderedDict[int, Job] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._all.values()))

    @property
    def one(self) -> Job | None:
        """Any of them."""
        return next(iter(self._all.values()), None)

    def get(self, job_id: int) -> Job | None:
        """None where it is not, or no more, among them."""
        return self._all.get(job_id)

    def add(self, job: Job) -> None:
        """It is to make its first audio."""
        self._all[job.id] = self._unheard[job.id] = job

    def fed(self, job: Job, now: float) -> None:
        """Some of its audio has come: more has to."""
        job.fed_at = now
        self._unheard.pop(job.id, None)
        self._heard[job.id] = job
        self._heard.move_to_end(job.id)

    def leave(self, job: Job, now: float) -> None:
        """It is to answer a Cancel."""
        job.state = JobState.LEAVING
        job.leaving_since = now
        self._unheard.pop(job.id, None)
        self._heard.pop(job.id, None)
        self._leaving[job.id] = job

    def pop(self, job_id: int) -> Job | None:
        """It is over; None where it is not among them."""
        for kind in (self._unheard, self._heard, self._leaving):
            kind.pop(job_id, None)
        return self._all.pop(job_id, None)

    def clear(self) -> list[Job]:
        """All are over. Returns them."""
        jobs = list(self)
        for kind in (self._all, self._unheard, self._heard, self._leaving):
            kind.clear()
        return jobs

    @property
    def leaving_since(self) -> float:
        """When the one that has owed an answer to Cancel for longest was told; infinity where there is none."""
        longest = next(iter(self._leaving.values()), None)
        return float("inf") if longest is None else longest.leaving_since

    def next_audio(self, first_chunk_timeout_s: float, next_chunk_timeout_s: float) -> tuple[float, Job | None]:
        """When audio is overdue next, and whose; infinity where none is awaited."""
        longest = (next(iter(kind.values()), None) for kind in (self._unheard, self._heard))
        due = ((job.audio_due_at(first_chunk_timeout_s, next_chunk_timeout_s), job) for job in longest if job)
        return min(due, key=lambda one: one[0], default=(float("inf"), None))
