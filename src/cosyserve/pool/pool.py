"""The worker pool: spawns the processes, moves messages between them and the dispatcher, keeps its clock."""

import asyncio
import contextlib
import itertools
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import structlog

from cosyserve.pool.devices import assign_devices, visible_devices
from cosyserve.pool.dispatch import Action, Dispatcher, Kill, Send, Start
from cosyserve.pool.job import Job
from cosyserve.pool.launch import WorkerSpec
from cosyserve.pool.process import WorkerProcess
from cosyserve.pool.streams import AudioStream, BufferLedger
from cosyserve.pool.worker import WorkerState
from cosyserve.protocol import EngineConfig, FromWorker, Synthesize, ToWorker
from cosyserve.settings import Settings
from cosyserve.speech.requests import SpeechRequest
from cosyserve.watch.logs import relay
from cosyserve.watch.metrics import Metrics, PoolState
from cosyserve.watch.reports import Reporter
from cosyserve.wire.queues import QueueClosed, QueueFull

SEEDS = 2**31
UNHANDLED_MESSAGES = 64
"""A worker's messages that may wait for the event loop; its pipe thread waits beyond that."""
LEAVE_S = 5.0
"""How long a worker may take to go after Shutdown, and its process to be reaped after SIGKILL."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What /model_info shows of one worker."""

    worker: int
    state: str
    device: str | None
    pid: int | None
    streams: int
    running: int
    restarts: int
    reason: str
    details: Mapping[str, str]


class Admitted(NamedTuple):
    """A request that has a place: what the pool knows of it, and its audio."""

    job: Job
    stream: AudioStream


class Pool:
    """All of it runs on one event loop; only `WorkerProcess` has threads."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where `workers.devices` names a GPU that is not there."""
        devices = assign_devices(settings.workers.count, settings.workers.devices, visible_devices())
        self.reporter = Reporter(Metrics(self._state), log_text=settings.log.text)
        self._settings = settings
        self._dispatcher = Dispatcher(devices, settings.workers, settings.limits, self._act)
        self._processes: dict[int, WorkerProcess] = {}
        self._ledger = BufferLedger(settings.server.max_buffered_bytes)
        self._job_ids = itertools.count(1)
        self._open_streams: set[AudioStream] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.stopping = asyncio.Event()
        """Set when no new requests are taken any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    @property
    def health(self) -> str:
        """`ok`, `starting`, `unavailable` or `stopping`."""
        return self._dispatcher.health

    @property
    def model_type(self) -> str | None:
        """What the workers serve; None before one was ready."""
        return next((worker.model_type for worker in self._dispatcher.workers if worker.model_type), None)

    @property
    def sample_rate(self) -> int | None:
        """Hz of the model's audio; None before a worker was ready."""
        return next((worker.sample_rate for worker in self._dispatcher.workers if worker.sample_rate), None)

    @property
    def running(self) -> int:
        """Streams in use."""
        return self._dispatcher.running

    @property
    def waiting(self) -> int:
        """Requests in line."""
        return len(self._dispatcher.line)

    @property
    def buffered_bytes(self) -> int:
        """Audio held for listeners."""
        return self._ledger.held_bytes

    def statuses(self) -> list[WorkerStatus]:
        """One entry a worker."""
        return [
            WorkerStatus(
                worker=worker.index,
                state=worker.state,
                device=worker.device,
                pid=process.pid if (process := self._processes.get(worker.index)) else None,
                streams=worker.streams,
                running=len(worker.jobs),
                restarts=worker.restarts,
                reason=worker.reason,
                details=worker.details,
            )
            for worker in self._dispatcher.workers
        ]

    def _state(self) -> PoolState:
        workers = self._dispatcher.workers
        return PoolState(
            running=self.running,
            waiting=self.waiting,
            max_concurrency=self._settings.limits.max_concurrency,
            buffered_bytes=self.buffered_bytes,
            workers=[worker.state for worker in workers],
            restarts=[worker.restarts for worker in workers],
        )

    def start(self) -> None:
        """Spawn the workers; returns before they are ready."""
        self._loop = asyncio.get_running_loop()
        total = self._settings.workers.count * (self._settings.model.streams or 0)
        cap = self._settings.limits.max_concurrency
        if total and total != cap:
            log.warning("workers.count x model.streams is not limits.max_concurrency", streams=total, cap=cap)
        self._dispatcher.start(self._loop.time())
        self._set_timer()

    def submit(self, request: SpeechRequest) -> Admitted:
        """Admit a request. Its stream must be closed in the end. Raises Unavailable."""
        stream = AudioStream(self._ledger, lambda: self._closed(job, stream))
        job = Job(
            Synthesize(
                job_id=next(self._job_ids),
                text=request.text,
                mode=request.mode,
                instruction=request.instruction,
                prompt_text=request.prompt_text,
                prompt=request.prompt,
                speed=request.speed,
                seed=secrets.randbelow(SEEDS) if request.seed is None else request.seed,
            ),
            stream,
        )
        self._dispatcher.submit(job, self._loop.time())
        self._open_streams.add(stream)
        self._set_timer()
        return Admitted(job, stream)

    @property
    def has_room(self) -> bool:
        """Whether one more request would run at once."""
        return not self.waiting and self.running < self._settings.limits.max_concurrency

    def stop(self) -> None:
        """Take no new requests."""
        self._dispatcher.stop()
        self.stopping.set()

    async def drained(self) -> None:
        """Wait until every admitted request has been answered to its end."""
        while self._open_streams:
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Send every worker home: Shutdown, then a closed pipe, then SIGKILL."""
        self._dispatcher.shut_down(self._loop.time())
        self._set_timer()
        for insist in (self._close_pipes, self.kill, lambda: None):
            if await self._all_gone(LEAVE_S):
                return
            insist()

    def _close_pipes(self) -> None:
        for process in self._processes.values():
            process.close()

    def kill(self) -> None:
        """SIGKILL whatever runs, now."""
        for process in self._processes.values():
            process.kill()

    async def _all_gone(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                while self._processes:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _closed(self, job: Job, stream: AudioStream) -> None:
        self._open_streams.discard(stream)
        self._changed.set()
        self._dispatcher.cancel(job, self._loop.time())
        self._set_timer()

    def _act(self, action: Action) -> None:
        match action:
            case Start(index):
                self._spawn(index)
            case Kill(index, _):
                if index in self._processes:
                    self._processes[index].kill()
            case Send(index, message):
                self._send(index, message)

    def _spawn(self, index: int) -> None:
        model = self._settings.model
        device = self._dispatcher.workers[index].device
        spec = WorkerSpec(
            index=index,
            engine=EngineConfig(
                engine=model.engine,
                model_dir=str(model.dir),
                source_dir=str(model.source_dir or ""),
                precision=model.precision,
                tensorrt=model.tensorrt,
                vllm=model.vllm,
                streams=model.streams,
                state_budget_gib=model.state_budget_gib,
                device=device,
            ),
            device=device,
            threads=max(1, (os.cpu_count() or 1) // self._settings.workers.count),
            log_level=self._settings.log.level,
        )
        # Filled in after the spawn; callbacks reach the loop later than that.
        holder: list[WorkerProcess] = []
        room = threading.BoundedSemaphore(UNHANDLED_MESSAGES)

        def on_message(message: FromWorker) -> None:
            room.acquire()
            self._soon(handle, message)

        def handle(message: FromWorker) -> None:
            room.release()
            self._received(holder[0], index, message)

        def on_lost() -> None:
            self._soon(lambda: self._lost(holder[0], index))

        try:
            process = WorkerProcess(spec, on_message, partial(relay, index), on_lost)
        except OSError as error:
            self._loop.call_soon(self._not_spawned, index, f"cannot spawn a process: {error}")
            return
        holder.append(process)
        self._processes[index] = process
        log.info("worker starting", worker=index, pid=process.pid, device=device)

    def _not_spawned(self, index: int, reason: str) -> None:
        now = self._loop.time()
        self._dispatcher.lost(index, reason, now)
        self._dispatcher.reaped(index, "", now)
        self._set_timer()

    def _soon(self, call: Callable[..., object], *args: object) -> None:
        """Run on the event loop; called from threads. After the loop has closed there is nobody left to tell."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *args)

    def _send(self, index: int, message: ToWorker) -> None:
        process = self._processes.get(index)
        if process is None:
            return
        try:
            process.send(message)
        except QueueClosed:
            pass  # Its loss is on the way.
        except QueueFull:
            self._loop.call_soon(self._condemn, index, "it does not read its messages")

    def _condemn(self, index: int, reason: str) -> None:
        self._dispatcher.condemn(index, reason, self._loop.time())
        self._set_timer()

    def _received(self, process: WorkerProcess, index: int, message: FromWorker) -> None:
        if self._processes.get(index) is process:
            self._dispatcher.received(index, message, self._loop.time())
            self._set_timer()

    def _lost(self, process: WorkerProcess, index: int) -> None:
        if self._dispatcher.workers[index].state is not WorkerState.STOPPED:
            process.kill()
        self._dispatcher.lost(index, "its pipe closed", self._loop.time())
        burial = self._loop.create_task(self._bury(process, index))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        self._set_timer()

    async def _bury(self, process: WorkerProcess, index: int) -> None:
        ending = await asyncio.to_thread(process.join)
        del self._processes[index]
        log.info("worker process ended", worker=index, pid=process.pid, ending=ending)
        self._dispatcher.reaped(index, ending, self._loop.time())
        self._changed.set()
        self._set_timer()

    def _set_timer(self) -> None:
        """Wake when the dispatcher has something to do."""
        if self._timer:
            self._timer.cancel()
        due_at = self._dispatcher.due_at()
        self._timer = None if due_at == float("inf") else self._loop.call_at(due_at, self._tick)

    def _tick(self) -> None:
        self._dispatcher.tick(self._loop.time())
        self._set_timer()
