"""One request on its way through the pool, as the dispatcher sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from cosyserve.errors import ServiceError
from cosyserve.protocol import Synthesize


class JobState(Enum):
    """waiting -> running -> over, with leaving between where the worker still has to answer a Cancel."""

    WAITING = auto()
    RUNNING = auto()
    LEAVING = auto()
    OVER = auto()


class Sink(Protocol):
    """Where a job's audio goes. None of its methods may block or raise."""

    def begin(self, sample_rate: int) -> None:
        """A worker has the job; its audio will be at `sample_rate` Hz. Comes again when the job runs again."""

    def feed(self, pcm: bytes) -> None:
        """Take a chunk: 16-bit little-endian mono."""

    def rewind(self) -> bool:
        """Forget all that was fed, or answer False where some of it has reached the listener already."""

    def end(self, error: ServiceError | None) -> None:
        """No more will come: the audio is whole, or `error` says why it is not."""


@dataclass(eq=False, slots=True)
class Job:
    """worker: who has it. deaths: worker deaths it has met. timings: what its Done said.

    The times are seconds on the pool's clock.
    """

    request: Synthesize
    sink: Sink
    state: JobState = JobState.WAITING
    worker: int | None = None
    deaths: int = 0
    waiting_since: float = 0.0
    running_since: float = 0.0
    fed_at: float | None = None
    leaving_since: float = 0.0
    queue_wait_s: float = 0.0
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> int:
        """The id that messages carry."""
        return self.request.job_id

    @property
    def seed(self) -> int:
        """The same at each try."""
        return self.request.seed

    def waited(self, now: float) -> None:
        """It leaves the line, for a stream or for good."""
        self.queue_wait_s += now - self.waiting_since

    def audio_due_at(self, first_chunk_timeout_s: float, next_chunk_timeout_s: float) -> float:
        """When the next chunk of a running job is overdue."""
        if self.fed_at is None:
            return self.running_since + first_chunk_timeout_s
        return self.fed_at + next_chunk_timeout_s
