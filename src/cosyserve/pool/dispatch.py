"""The pool's brain, without I/O: which job runs where, and what becomes of it when a worker dies, hangs or answers.

What happens comes in as method calls with the time (seconds on any steady clock); what must be done about processes
goes out as actions; audio and endings go to each job's sink. `pool.py` is the body around it.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import assert_never

import structlog

from cosyserve.errors import LineFull, NoWorker, Overdue, ServiceError, Stopping, WaitedTooLong
from cosyserve.pool.actions import Action, Forget, Kill, Send, Start
from cosyserve.pool.admission import WaitingLine
from cosyserve.pool.endings import ending_after_death, ending_of
from cosyserve.pool.job import Job, JobState
from cosyserve.pool.roster import Roster
from cosyserve.pool.status import WorkerState
from cosyserve.pool.worker import Post, Worker
from cosyserve.protocol import (
    Cancel,
    Cancelled,
    Chunk,
    Counted,
    Done,
    Failed,
    FromWorker,
    Heartbeat,
    LoadFailed,
    Ready,
    Shutdown,
)
from cosyserve.settings.sections import LimitSettings, WorkerSettings

log = structlog.get_logger(__name__)


class Dispatcher:
    """Jobs in, actions out.

    devices: what each worker is pinned to, one entry a worker. act: called with each action, in order, at once.
    """

    def __init__(
        self,
        devices: Sequence[str | None],
        workers: WorkerSettings,
        limits: LimitSettings,
        act: Callable[[Action], None],
    ) -> None:
        self.workers = Roster()
        self.line = WaitingLine(limits.max_waiting, limits.wait_timeout_s)
        self.stopping = False
        self.handing_over = False
        """Whether workers are about to come in the place of others: whoever finds none ready waits for them."""
        self._patience = workers
        self._limits = limits
        self._act = act
        for slot, device in enumerate(devices):
            self.add(Post(slot, device))

    @property
    def running(self) -> int:
        """Streams in use, those included that still owe an answer to Cancel."""
        return self.workers.running

    @property
    def max_concurrency(self) -> int:
        """Streams that may be in use at once: what is configured, else as many as the workers have said they run."""
        return self._limits.max_concurrency or self.workers.streams

    @property
    def has_room(self) -> bool:
        """Whether one more job would run at once."""
        return self.workers.has_free_stream and not self.line and self.running < self.max_concurrency

    @property
    def health(self) -> str:
        """`ok` while a worker is ready, else `starting`, `unavailable` or `stopping`."""
        if self.stopping:
            return "stopping"
        if any(worker.state is WorkerState.READY for worker in self.workers):
            return "ok"
        hopeless = not self.handing_over and all(worker.hopeless for worker in self.workers.serving)
        return "unavailable" if hopeless else "starting"

    def adjust(self, workers: WorkerSettings, limits: LimitSettings, now: float) -> None:
        """Go by these from now on. Who waits, stays."""
        self._patience, self._limits = workers, limits
        self.line.adjust(limits.max_waiting, limits.wait_timeout_s)
        for worker in self.workers:
            worker.be_patient(workers)
        self._dispatch(now)

    def add(self, post: Post) -> int:
        """One more worker, yet to be started. Returns its index."""
        index = self.workers.next_index()
        self.workers.add(Worker(index, post, self._patience))
        return index

    def start_one(self, index: int, now: float) -> None:
        """Spawn it."""
        self._start(self.workers[index], now)

    def commission(self, index: int, now: float) -> None:
        """Its trial is over: it serves."""
        self.workers[index].commission(now)
        self._dispatch(now)

    def dismiss(self, index: int, now: float) -> None:
        """Let it finish what it runs, and go. From then on `workers` may not have it."""
        worker = self.workers[index]
        worker.dismiss(now)
        if not worker.jobs:
            self._send_home(worker, now)

    def start(self, now: float) -> None:
        """Spawn every worker."""
        for worker in self.workers:
            self._start(worker, now)

    def submit(self, job: Job, now: float) -> None:
        """Run the job, or let it wait. Raises Unavailable."""
        if self.stopping:
            raise Stopping("the service is stopping; send the request to another instance, or again later")
        if self.health != "ok" and not self.handing_over:
            raise NoWorker(self._why_no_worker())
        job.waiting_since = now
        self.line.join(job)
        self._dispatch(now)
        if job.state is JobState.WAITING and self.line.overfull:
            self.line.leave(job)
            raise LineFull(
                f"{self.max_concurrency} streams are running and the waiting line is full; try again shortly"
            )

    def cancel(self, job: Job, now: float) -> None:
        """The listener has gone: the job leaves the line at once, or its stream when the worker answers."""
        if job.state is JobState.WAITING:
            self.line.leave(job)
            job.waited(now)
            job.state = JobState.OVER
            self._dispatch(now)
        elif job.state is JobState.RUNNING:
            assert job.worker is not None
            self.workers[job.worker].jobs.leave(job, now)
            self._act(Send(job.worker, Cancel(job.id)))

    def received(self, index: int, message: FromWorker, now: float) -> None:
        """A worker sent a message. What was under way when it was given up, a late Ready say, changes nothing."""
        worker = self.workers[index]
        if not worker.alive:
            return
        worker.heard(now)
        match message:
            case Chunk():
                job = worker.jobs.get(message.job_id)
                if job is not None and job.state is JobState.RUNNING:
                    worker.jobs.fed(job, now)
                    job.sink.feed(message.pcm)
            case Heartbeat():
                pass
            case Ready():
                self._ready(worker, message, now)
            case LoadFailed():
                worker.unfit(message.message, now)
                self._fail_line_if_hopeless(now)
                log.error("engine cannot load", worker=index, reason=message.message)
            case Counted():
                worker.counters = message.counters
            case Done() | Failed() | Cancelled():
                self._finished(worker, message, now)
            case _:
                assert_never(message)

    def lost(self, index: int, reason: str, now: float) -> None:
        """A worker's pipe has closed: its jobs run again or break."""
        worker = self.workers[index]
        alive = worker.alive
        jobs = worker.lost(reason, now)
        self.line.rejoin([job for job in jobs if self._survives(job, now)])
        self._dispatch(now)
        if alive:
            log.error("worker lost", worker=index, reason=reason, jobs=[job.id for job in jobs])

    def condemn(self, index: int, reason: str, now: float) -> None:
        """A worker is past use, though its pipe is open."""
        self._act(Kill(index, reason))
        self.lost(index, reason, now)

    def reaped(self, index: int, exit_reason: str, now: float) -> None:
        """A worker's process is gone."""
        worker = self.workers[index]
        dying = worker.state is WorkerState.DYING
        worker.reaped(now)
        if worker.dismissed:
            self._forget(worker)
        if not dying:
            return
        worker.reason = f"{worker.reason} ({exit_reason})"
        looping, reason = worker.crash_looping, worker.reason
        if looping:
            self._fail_line_if_hopeless(now)
        self._start_rested(now)
        if looping:
            log.error("worker keeps dying before it is ready", worker=index, reason=reason)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for job in self.line.overdue(now):
            self._leave_line(job, WaitedTooLong(f"no stream came free within {self._limits.wait_timeout_s:g} s"), now)
        self._start_rested(now)
        for worker in self.workers:
            if (reason := worker.overdue(now)) is not None:
                self.condemn(worker.index, reason, now)
            else:
                self._end_overdue_jobs(worker, now)

    def due_at(self) -> float:
        """When `tick` has something to do, if nothing happens before."""
        dues = ((worker.due_at(), self._next_audio(worker)[0]) for worker in self.workers)
        return min([self.line.due_at(), *chain.from_iterable(dues)])

    def stop(self) -> None:
        """Take no new jobs; those admitted go on."""
        self.stopping = True

    def shut_down(self, now: float) -> None:
        """Send every worker home and end every job."""
        self.stopping = True
        error = Stopping("the service stopped before the audio was made")
        for job in self.line:
            self._leave_line(job, error, now)
        for worker in self.workers:
            for job in worker.lost("shut down", now):
                self._end(job, error)
            worker.stopped(now)
            self._act(Send(worker.index, Shutdown()))

    def _send_home(self, worker: Worker, now: float) -> None:
        worker.sent_home(now)
        self._act(Send(worker.index, Shutdown()))
        if not worker.has_process:
            self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        self.workers.drop(worker)
        self._act(Forget(worker.index))

    def _start_rested(self, now: float) -> None:
        for worker in self.workers:
            if worker.state is WorkerState.RESTING and worker.due_at() <= now:
                self._start(worker, now)

    def _start(self, worker: Worker, now: float) -> None:
        worker.started(now)
        self._act(Start(worker.index))

    def _ready(self, worker: Worker, message: Ready, now: float) -> None:
        worker.ready(message, now)
        self._dispatch(now)
        log.info(
            "worker ready",
            worker=worker.index,
            model_type=message.model_type,
            sample_rate=message.sample_rate,
            streams=message.streams,
            device=worker.device,
            # One field: an engine names its details as it likes.
            details=dict(message.details),
        )

    def _dispatch(self, now: float) -> None:
        """Run whoever can run, in the order of the line.

        A job that may not run beside others claims the least loaded worker, which then takes nobody else, so that it
        empties: the line does not starve its head.
        """
        claimed: set[int] = set()
        for job in self.line:
            if self.running >= self.max_concurrency:
                return
            worker = self.workers.choose(job, claimed)
            if worker is not None:
                self.line.leave(job)
                self._run(job, worker, now)
            elif not job.deaths:
                return
            elif (emptying := self.workers.least_loaded(claimed)) is not None:
                claimed.add(emptying.index)

    def _run(self, job: Job, worker: Worker, now: float) -> None:
        job.state = JobState.RUNNING
        job.worker = worker.index
        job.running_since = now
        job.waited(now)
        job.fed_at = None
        worker.assign(job, now)
        job.sink.begin(worker.sample_rate)
        self._act(Send(worker.index, job.request))

    def _finished(self, worker: Worker, message: Done | Failed | Cancelled, now: float) -> None:
        job = worker.jobs.pop(message.job_id)
        if job is None:
            return
        if isinstance(message, Done):
            worker.finished()
            job.timings = message.timings
        if job.state is JobState.RUNNING:
            self._end(job, ending_of(message))
        job.state = JobState.OVER
        if worker.dismissed and not worker.jobs:
            self._send_home(worker, now)
        self._dispatch(now)

    def _survives(self, job: Job, now: float) -> bool:
        """Decide what becomes of a job whose worker died. Returns whether it waits to run again."""
        if job.state is JobState.LEAVING:
            job.state = JobState.OVER
            return False
        if (error := ending_after_death(job)) is not None:
            self._end(job, error)
            return False
        job.state = JobState.WAITING
        job.worker = None
        job.waiting_since = now
        return True

    def _end_overdue_jobs(self, worker: Worker, now: float) -> None:
        due_at, job = self._next_audio(worker)
        while job is not None and due_at <= now:
            job.sink.end(Overdue("the engine made no audio in time"))
            self.cancel(job, now)
            due_at, job = self._next_audio(worker)

    def _next_audio(self, worker: Worker) -> tuple[float, Job | None]:
        """When a job's is overdue next, and whose."""
        return worker.jobs.next_audio(self._limits.first_chunk_timeout_s, self._limits.next_chunk_timeout_s)

    def _fail_line_if_hopeless(self, now: float) -> None:
        if self.health == "unavailable":
            for job in self.line:
                self._leave_line(job, NoWorker(self._why_no_worker()), now)

    def _leave_line(self, job: Job, error: ServiceError, now: float) -> None:
        self.line.leave(job)
        job.waited(now)
        self._end(job, error)

    def _end(self, job: Job, error: ServiceError | None) -> None:
        job.state = JobState.OVER
        job.sink.end(error)

    def _why_no_worker(self) -> str:
        if self.health == "unavailable":
            return "no worker can start; the server's log says why"
        return "the workers are starting; try again shortly"
