"""One worker's life as a state machine, without I/O: what happened comes in with the time, what is due comes out."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from cosyserve.pool.job import Job
from cosyserve.pool.jobs import Jobs
from cosyserve.pool.status import WorkerState
from cosyserve.protocol import Ready
from cosyserve.settings.sections import WorkerSettings

CRASH_LOOP_DEATHS = 5
"""Deaths in a row, with neither Ready nor a finished job between, that make a crash loop."""
TRIAL_DEATHS = 2
"""So many before it is ready, and a worker on trial has failed: one may be anybody's doing."""
LEAVE_S = 5.0
"""How long a worker may take to go after Shutdown, and its process to be reaped after SIGKILL."""
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Rest before each restart, by deaths since the last finished job; the last entry repeats."""
REMEMBERED_VOICES = 64


ALIVE = frozenset({WorkerState.STARTING, WorkerState.SPARE, WorkerState.READY, WorkerState.LEAVING})


class Post(NamedTuple):
    """Where a worker stands.

    slot: which of `workers.count` it is; the one that takes its place has the same. device: what its processes are
    pinned to, or None. trial: whether it serves nobody before it is commissioned.
    """

    slot: int
    device: str | None
    generation: int = 1
    trial: bool = False


class Worker:
    """The place that one process after another fills.

    index: its number in the pool.
    """

    def __init__(self, index: int, post: Post, patience: WorkerSettings) -> None:
        self.index = index
        self.slot, self.device, self.generation, self.trial = post
        self.dismissed = False
        """Whether it was sent home: it ends what it runs, and nobody is started in its place."""
        self.has_process = False
        self.state = WorkerState.STARTING
        self.jobs = Jobs()
        self.model_type = ""
        self.sample_rate = 0
        self.streams = 0
        self.details: Mapping[str, str] = {}
        self.counters: Mapping[str, int] = {}
        """What its process's engine has counted."""
        self.restarts = 0
        self.reason = ""
        """Why it last died, or cannot start."""
        self._patience = patience
        self._since = 0.0
        self._leave_by = float("inf")
        self._heard_at = 0.0
        self._voices: OrderedDict[str, None] = OrderedDict()
        self._deaths_unready = 0
        self._deaths_unfinished = 0

    @property
    def alive(self) -> bool:
        """Whether its process counts: it has not been lost, given up or told to go."""
        return self.state in ALIVE

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

    @property
    def failed_trial(self) -> bool:
        """Whether a new generation cannot be had with it."""
        return self.state is WorkerState.UNFIT or self._deaths_unready >= TRIAL_DEATHS

    def be_patient(self, patience: WorkerSettings) -> None:
        """For so long from now on."""
        self._patience = patience

    def commission(self, now: float) -> None:
        """It serves from now on."""
        self.trial = False
        if self.state is WorkerState.SPARE:
            self._enter(WorkerState.READY, now)

    def dismiss(self, now: float) -> None:
        """It takes no new jobs. Whoever calls sends it home when it has none left."""
        self.dismissed = True
        if self.jobs:
            self._enter(WorkerState.LEAVING, now)

    def sent_home(self, now: float) -> None:
        """It was told to go, and has to be gone before long."""
        self._enter(WorkerState.STOPPED, now)
        self._leave_by = now + LEAVE_S

    def started(self, now: float) -> None:
        """A process was spawned."""
        self._enter(WorkerState.STARTING, now)
        self.has_process = True
        self._heard_at = now

    def ready(self, message: Ready, now: float) -> None:
        """The process has loaded its engine."""
        self._enter(WorkerState.SPARE if self.trial else WorkerState.READY, now)
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
        jobs = self.jobs.clear()
        self._voices.clear()
        self._leave_by = float("inf")
        if self.alive:
            self.reason = reason
            self._enter(WorkerState.STOPPED if self.dismissed else WorkerState.DYING, now)
        return jobs

    def reaped(self, now: float) -> None:
        """Its process is gone: it rests before the next one."""
        self.has_process = False
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
        self.jobs.add(job)
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
        # Those that run together are alike in that.
        other = self.jobs.one
        return other is None or other.deaths == job.deaths

    def overdue(self, now: float) -> str | None:
        """Why it has to be killed, or None."""
        if now < self.due_at():
            return None
        if self.state is WorkerState.STOPPED:
            return f"still there {LEAVE_S:g} s after it was sent home"
        if self.state is WorkerState.STARTING:
            return f"not ready within {self._patience.start_timeout_s:g} s (workers.start_timeout_s)"
        return f"no sign of life for {self._patience.stall_timeout_s:g} s while it had work (workers.stall_timeout_s)"

    def due_at(self) -> float:
        """When it has to be killed or started, if nothing is heard before; infinity if never."""
        if self.state is WorkerState.STARTING:
            return self._since + self._patience.start_timeout_s
        if self.state is WorkerState.RESTING:
            return self._since + BACKOFF_S[min(self._deaths_unfinished, len(BACKOFF_S)) - 1]
        if self.jobs:
            return min(self._heard_at, self.jobs.leaving_since) + self._patience.stall_timeout_s
        return self._leave_by

    def _enter(self, state: WorkerState, now: float) -> None:
        self.state = state
        self._since = now
