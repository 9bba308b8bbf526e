"""One worker's life as a state machine, without I/O: what happened comes in with the time, what is due comes out."""

from collections import OrderedDict
from collections.abc import Mapping

from cosyserve.pool.job import Job, JobState
from cosyserve.pool.status import WorkerState
from cosyserve.protocol import Ready

CRASH_LOOP_DEATHS = 5
"""Deaths in a row, with neither Ready nor a finished job between, that make a crash loop."""
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Rest before each restart, by deaths since the last finished job; the last entry repeats."""
REMEMBERED_VOICES = 64


class Worker:
    """The slot that one process after another fills.

    index: its number in the pool. device: what its processes are pinned to, or None.
    """

    def __init__(self, index: int, device: str | None, *, start_timeout_s: float, stall_timeout_s: float) -> None:
        self.index = index
        self.device = device
        self.state = WorkerState.STARTING
        self.jobs: dict[int, Job] = {}
        self.model_type = ""
        self.sample_rate = 0
        self.streams = 0
        self.details: Mapping[str, str] = {}
        self.counters: Mapping[str, int] = {}
        """What its process's engine has counted."""
        self.restarts = 0
        self.reason = ""
        """Why it last died, or cannot start."""
        self._start_timeout_s = start_timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._since = 0.0
        self._heard_at = 0.0
        self._voices: OrderedDict[str, None] = OrderedDict()
        self._deaths_unready = 0
        self._deaths_unfinished = 0

    @property
    def alive(self) -> bool:
        """Whether its process counts: it has not been lost, given up or sent home."""
        return self.state in {WorkerState.STARTING, WorkerState.READY}

    @property
    def crash_looping(self) -> bool:
        """Whether it keeps dying before it is ready."""
        return self._deaths_unready >= CRASH_LOOP_DEATHS

    @property
    def hopeless(self) -> bool:
        """Whether nobody should wait for it."""
        return self.state in {WorkerState.UNFIT, WorkerState.STOPPED} or (
            self.crash_looping and self.state is not WorkerState.READY
        )

    def started(self, now: float) -> None:
        """A process was spawned."""
        self._enter(WorkerState.STARTING, now)
        self._heard_at = now

    def ready(self, message: Ready, now: float) -> None:
        """The process has loaded its engine."""
        self._enter(WorkerState.READY, now)
        self._deaths_unready = 0
        self.reason = ""
        self.model_type, self.sample_rate = message.model_type, message.sample_rate
        self.streams, self.details = message.streams, message.details
        self.counters = {}

    def heard(self, now: float) -> None:
        """Any message came."""
        self._heard_at = now

    def unfit(self, reason: str, now: float) -> None:
        """The engine cannot load as configured."""
        self.reason = reason
        self._enter(WorkerState.UNFIT, now)

    def lost(self, reason: str, now: float) -> list[Job]:
        """Its pipe closed, or it must be killed. Returns the jobs that it had."""
        jobs = list(self.jobs.values())
        self.jobs.clear()
        self._voices.clear()
        if self.alive:
            self.reason = reason
            self._enter(WorkerState.DYING, now)
        return jobs

    def reaped(self, now: float) -> None:
        """Its process is gone: it rests before the next one."""
        if self.state is WorkerState.DYING:
            self._deaths_unready += 1
            self._deaths_unfinished += 1
            self.restarts += 1
            self._enter(WorkerState.RESTING, now)

    def stopped(self, now: float) -> None:
        """It was told to shut down: its end is no death."""
        if self.state is not WorkerState.UNFIT:
            self._enter(WorkerState.STOPPED, now)

    def assign(self, job: Job, now: float) -> None:
        """Give it a job."""
        if not self.jobs:
            self._heard_at = now
        self.jobs[job.id] = job
        self._voices[job.request.prompt.digest] = None
        self._voices.move_to_end(job.request.prompt.digest)
        if len(self._voices) > REMEMBERED_VOICES:
            self._voices.popitem(last=False)

    def finished(self) -> None:
        """One of its jobs ran to its end."""
        self._deaths_unready = self._deaths_unfinished = 0

    def knows(self, voice_digest: str) -> bool:
        """Whether it has served this voice lately, and so may hold its features."""
        return voice_digest in self._voices

    def welcomes(self, job: Job) -> bool:
        """Whether the job may run here beside what runs already.

        A job that has met a death may have caused it, so it never runs beside one that has not; its last try is alone.
        """
        if self.state is not WorkerState.READY or len(self.jobs) >= self.streams:
            return False
        if job.deaths >= 2:
            return not self.jobs
        return all(other.deaths == job.deaths for other in self.jobs.values())

    def overdue(self, now: float) -> str | None:
        """Why it has to be killed, or None."""
        if now < self.due_at():
            return None
        if self.state is WorkerState.STARTING:
            return f"not ready within {self._start_timeout_s:g} s (workers.start_timeout_s)"
        return f"no sign of life for {self._stall_timeout_s:g} s while it had work (workers.stall_timeout_s)"

    def due_at(self) -> float:
        """When it has to be killed or started, if nothing is heard before; infinity if never."""
        if self.state is WorkerState.STARTING:
            return self._since + self._start_timeout_s
        if self.state is WorkerState.RESTING:
            return self._since + BACKOFF_S[min(self._deaths_unfinished, len(BACKOFF_S)) - 1]
        if self.state is WorkerState.READY and self.jobs:
            unanswered = [job.leaving_since for job in self.jobs.values() if job.state is JobState.LEAVING]
            return min([self._heard_at, *unanswered]) + self._stall_timeout_s
        return float("inf")

    def _enter(self, state: WorkerState, now: float) -> None:
        self.state = state
        self._since = now
