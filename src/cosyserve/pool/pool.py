"""The worker pool: the dispatcher's surroundings, which are admitted requests, the workers' processes and the clock."""

import asyncio
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio.to_thread
import structlog

from cosyserve.pool.actions import Action, Forget, Kill, Send, Start
from cosyserve.pool.crew import Crew
from cosyserve.pool.dispatch import Dispatcher
from cosyserve.pool.exchange import Exchange
from cosyserve.pool.job import Job
from cosyserve.pool.orders import order_of
from cosyserve.pool.room import lacks_room
from cosyserve.pool.seam import Admitted
from cosyserve.pool.specs import alike, text_config, worker_specs
from cosyserve.pool.status import PoolState, WorkerState, WorkerStatus
from cosyserve.pool.streams import AudioStream, BufferLedger
from cosyserve.pool.worker import LEAVE_S, Worker
from cosyserve.protocol import Chunk, FromWorker, Ready, Trace
from cosyserve.settings.sections import Settings
from cosyserve.speech.requests import SpeechRequest

LATE_S = 1.0
"""A clock that strikes so late tells of this process, which was stopped or starved, and not of the workers."""
CATCH_UP_S = 1.0
"""How long is read, then, what came meanwhile, before anybody is held to be overdue."""

log = structlog.get_logger(__name__)


class Pool:
    """All of it runs on one event loop; only the processes have threads. What the service sees of it: `SpeechPool`."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where `workers.devices` names a GPU that is not there."""
        self._settings = settings
        self._specs = worker_specs(settings)
        devices = [spec.device for spec in self._specs]
        self._dispatcher = Dispatcher(devices, settings.workers, settings.limits, self._act)
        self._crew = Crew(settings.log.level, self)
        for worker, spec in zip(self._dispatcher.workers, self._specs, strict=True):
            self._crew.enlist(worker.index, spec)
        self._generation = 1
        self._exchange: Exchange | None = None
        self._ledger = BufferLedger(settings.server.max_buffered_bytes)
        self._job_ids = itertools.count(1)
        self._open_streams: set[AudioStream] = set()
        self._emptied = asyncio.Event()
        self.stopping = asyncio.Event()
        """Set when no new requests are taken any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._strikes_at = 0.0
        self._compared = False
        self._patient_until = 0.0
        self._loop: asyncio.AbstractEventLoop

    # What the service needs

    @property
    def health(self) -> str:
        """`ok`, `starting`, `unavailable` or `stopping`."""
        return self._dispatcher.health

    @property
    def model_type(self) -> str | None:
        """What the workers serve; None before one was ready."""
        return next((worker.model_type for worker in self._told_of if worker.model_type), None)

    @property
    def sample_rate(self) -> int | None:
        """Hz of the model's audio; None before a worker was ready."""
        return next((worker.sample_rate for worker in self._told_of if worker.sample_rate), None)

    @property
    def _told_of(self) -> list[Worker]:
        """Those that serve first; whoever else there is, where they cannot tell."""
        workers = self._dispatcher.workers
        return [*workers.serving, *workers]

    @property
    def has_room(self) -> bool:
        """Whether one more request would run at once."""
        return self._dispatcher.has_room

    @property
    def state(self) -> PoolState:
        """How it is now."""
        return PoolState(
            running=self._dispatcher.running,
            waiting=len(self._dispatcher.line),
            max_concurrency=self._dispatcher.max_concurrency,
            buffered_bytes=self._ledger.held_bytes,
            generation=self._generation,
            engine=self._settings.model.engine,
            workers=self.statuses(),
        )

    def statuses(self) -> list[WorkerStatus]:
        """One entry a worker."""
        return [
            WorkerStatus(
                worker=worker.index,
                generation=worker.generation,
                state=worker.state,
                device=worker.device,
                pid=self._crew.pid(worker.index),
                streams=worker.streams,
                running=len(worker.jobs),
                restarts=worker.restarts,
                reason=worker.reason,
                details=worker.details,
                counters=worker.counters,
            )
            for worker in self._dispatcher.workers
        ]

    def start(self) -> None:
        """Spawn the workers; returns before they are ready."""
        self._loop = asyncio.get_running_loop()
        self._crew.open()
        with self._told("the start"):
            self._dispatcher.start(self._loop.time())

    def submit(self, request: SpeechRequest, trace: Trace | None = None) -> Admitted:
        """Admit a request. Its stream must be closed in the end. Raises Unavailable. trace: goes to the worker."""
        stream = AudioStream(self._ledger, lambda: self._closed(job, stream))
        job = Job(order_of(request, next(self._job_ids), trace), stream)
        self._dispatcher.submit(job, self._loop.time())
        self._open_streams.add(stream)
        self._set_timer()
        return Admitted(job, stream)

    def set_log_level(self, level: str) -> None:
        """Of every worker."""
        self._crew.set_log_level(level)

    async def hand_over(self, settings: Settings) -> str:
        """Have workers as these settings want them. Returns how, in words for the log: "" where they need not change.

        Raises SettingsError, ExchangeFailed: the service then has the workers that it had. One at a time.
        """
        specs = await anyio.to_thread.run_sync(worker_specs, settings)
        if alike(specs, self._specs):
            return ""
        lack = await self._lacks_room(settings, len(specs))
        self._exchange = exchange = Exchange(self._dispatcher, self._crew, self.stopping.is_set, self._set_timer)
        log.info("new workers are started", in_turn=bool(lack), why=lack or None)
        carry_out = exchange.in_turn if lack else exchange.beside
        try:
            await carry_out(specs, self._generation + 1, settings.workers.start_timeout_s)
        finally:
            self._exchange = None
            self._set_timer()
        self._specs = specs
        return f"workers in turn, there was no room beside ({lack})" if lack else "workers beside the old ones"

    def adjust(self, settings: Settings) -> None:
        """Go by these settings, which the workers are right for already: the next generation."""
        self._generation += 1
        self._settings = settings
        self._crew.set_text(text_config(settings))
        self.set_log_level(settings.log.level)
        with self._told("new settings"):
            self._ledger.set_limit(settings.server.max_buffered_bytes)
            self._dispatcher.adjust(settings.workers, settings.limits, self._loop.time())

    def stop(self) -> None:
        """Take no new requests."""
        self._dispatcher.stop()
        self.stopping.set()
        self._tell_exchange()

    async def drained(self) -> None:
        """Wait until every admitted request has been answered to its end."""
        while self._open_streams:
            self._emptied.clear()
            await self._emptied.wait()

    async def close(self) -> None:
        """Send every worker home: Shutdown, then a closed pipe, then SIGKILL."""
        with self._told("the shutdown"):
            self._dispatcher.shut_down(self._loop.time())
        for insist in (self._crew.close_pipes, self.kill, lambda: None):
            if await self._crew.gone(LEAVE_S):
                return
            insist()

    def kill(self) -> None:
        """SIGKILL whatever runs, now."""
        self._crew.kill_all()

    # What becomes of the processes

    def heard(self, worker: int, message: FromWorker) -> None:
        """A message came. Where what follows from it fails, the worker is taken for the cause."""
        if isinstance(message, Chunk):
            self._heard_sound(worker, message)
            return
        with self._told("a worker's message", condemning=worker):
            self._dispatcher.received(worker, message, self._loop.time())
            if isinstance(message, Ready):
                self._crew.tell_again(worker)
                self._compare_streams(message.streams)

    def _heard_sound(self, worker: int, chunk: Chunk) -> None:
        """The same for what comes thousands of times a second: what is due is not looked for anew each time."""
        now = self._loop.time()
        try:
            self._dispatcher.received(worker, chunk, now)
        except Exception as fault:
            self._met(fault, "a worker's sound", worker)
        # It puts off what is due. No job waits longer for its next chunk than this.
        if now + self._settings.limits.next_chunk_timeout_s < self._strikes_at:
            self._set_timer()

    def lost(self, worker: int, reason: str) -> None:
        """A process is past use."""
        if worker not in self._dispatcher.workers:
            return
        if self._dispatcher.workers[worker].state is not WorkerState.STOPPED:
            self._crew.kill(worker)
        with self._told("a worker's loss"):
            self._dispatcher.lost(worker, reason, self._loop.time())

    def buried(self, worker: int, ending: str) -> None:
        """A process is gone."""
        with self._told("a worker's end"):
            self._dispatcher.reaped(worker, ending, self._loop.time())

    def past_use(self, worker: int, reason: str) -> None:
        """A process has to be killed."""
        if worker not in self._dispatcher.workers:
            return
        with self._told("a worker's condemnation"):
            self._dispatcher.condemn(worker, reason, self._loop.time())

    def _compare_streams(self, streams: int) -> None:
        """Tell, once, of a cap that leaves streams idle or is never reached."""
        cap, total = self._settings.limits.max_concurrency, streams * self._settings.workers.count
        if cap and cap != total and not self._compared:
            less = "less" if cap < total else "more"
            log.warning(
                f"limits.max_concurrency is {less} than the workers' streams: 0 is as many as they have",
                max_concurrency=cap,
                streams=total,
            )
        self._compared = True

    # What the dispatcher asks for, and its clock

    def _act(self, action: Action) -> None:
        match action:
            case Start(worker):
                self._crew.start(worker)
            case Kill(worker, _):
                self._crew.kill(worker)
            case Send(worker, message):
                self._crew.send(worker, message)
            case Forget(worker):
                self._crew.forget(worker)

    def _closed(self, job: Job, stream: AudioStream) -> None:
        self._open_streams.discard(stream)
        self._emptied.set()
        with self._told("a listener's leave"):
            self._dispatcher.cancel(job, self._loop.time())

    def _tick(self) -> None:
        now = self._loop.time()
        if now > self._strikes_at + LATE_S:
            self._patient_until = now + CATCH_UP_S
            self._set_timer()
            return
        with self._told("the clock"):
            self._dispatcher.tick(now)

    @contextmanager
    def _told(self, what: str, condemning: int | None = None) -> Iterator[None]:
        """The dispatcher is told of something. A fault in that is the loop's to report, and stops nothing else."""
        try:
            yield
        except Exception as fault:
            self._met(fault, what, condemning)
        finally:
            self._set_timer()
            self._tell_exchange()

    def _tell_exchange(self) -> None:
        if self._exchange is not None:
            self._exchange.told()

    async def _lacks_room(self, settings: Settings, count: int) -> str:
        """Why the new workers cannot stand beside the old ones; "" where they can."""
        how = settings.workers.handover
        if how != "auto":
            return "workers.handover is in_turn" if how == "in_turn" else ""
        serving = self._dispatcher.workers.serving
        pids = {pid for worker in serving if (pid := self._crew.pid(worker.index)) is not None}
        return await anyio.to_thread.run_sync(lacks_room, settings, pids, count / max(1, len(serving)))

    def _met(self, fault: Exception, what: str, condemning: int | None) -> None:
        self._loop.call_exception_handler({"message": f"{what} met a fault", "exception": fault})
        if condemning is not None:
            self.past_use(condemning, "its message met a fault of the service")

    def _set_timer(self) -> None:
        """Wake when the dispatcher has something to do."""
        if self._timer:
            self._timer.cancel()
        due_at = max(self._dispatcher.due_at(), self._patient_until)
        self._strikes_at = max(due_at, self._loop.time())
        self._timer = None if math.isinf(due_at) else self._loop.call_at(due_at, self._tick)
