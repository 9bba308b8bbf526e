"""The workers' processes: one a slot at a time, each born, told, killed and buried.

No slot can be lost here. Whatever fails while a process is born counts as its death, the process is killed, and its
burial needs no thread, file or module that its birth did not bring along.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import structlog

from cosyserve.check.quota import cores
from cosyserve.pool.handover import Handover
from cosyserve.pool.process import WorkerProcess
from cosyserve.protocol import EngineConfig, FromWorker, SetLogLevel, TextConfig, ToWorker
from cosyserve.settings.sections import Settings
from cosyserve.wire.logs import relay
from cosyserve.wire.queues import QueueClosed, QueueFull
from cosyserve.wire.worker_spec import WorkerSpec

UNHANDLED_MESSAGES = 64
"""A worker's messages that may wait for the event loop; its pipe thread waits beyond that."""

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """Who is told, on the event loop, what becomes of the processes. None of it may raise."""

    def heard(self, worker: int, message: FromWorker) -> None:
        """Its process sent a message."""

    def lost(self, worker: int, reason: str) -> None:
        """Its process is past use, or there is none. `buried` follows."""

    def buried(self, worker: int, ending: str) -> None:
        """Its process is gone, and how it ended; "" where none was born."""

    def past_use(self, worker: int, reason: str) -> None:
        """Its process is there, and has to be killed."""


class Crew:
    """devices: what each worker is pinned to, one entry a worker."""

    def __init__(self, settings: Settings, devices: Sequence[str | None], observer: Observer) -> None:
        self._settings = settings
        self._devices = devices
        self._observer = observer
        self._log_level: str = settings.log.level
        self._processes: dict[int, WorkerProcess] = {}
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    def open(self) -> None:
        """From here on, what happens is told on the running event loop."""
        self._loop = asyncio.get_running_loop()

    def pid(self, worker: int) -> int | None:
        """Its process's number, while there is one."""
        process = self._processes.get(worker)
        return process.pid if process else None

    def start(self, worker: int) -> None:
        """Spawn its next process."""
        try:
            process = self._spawn(worker)
        except Exception as error:
            # The caller is in the middle of something: it is told afterwards.
            self._loop.call_soon(self._stillborn, worker, f"cannot spawn a process: {error or type(error).__name__}")
            return
        self._processes[worker] = process
        log.info("worker starting", worker=worker, pid=process.pid, device=self._devices[worker])

    def send(self, worker: int, message: ToWorker) -> None:
        """Queue a message for its process, if there is one."""
        process = self._processes.get(worker)
        if process is None:
            return
        try:
            process.send(message)
        except QueueClosed:
            pass  # Its loss is on the way.
        except QueueFull:
            self._loop.call_soon(self._observer.past_use, worker, "it does not read its messages")

    def set_log_level(self, level: str) -> None:
        """Of those that run, and of those to come."""
        self._log_level = level
        for worker in self._processes:
            self.send(worker, SetLogLevel(level))

    def kill(self, worker: int) -> None:
        """SIGKILL its process, if there is one."""
        if worker in self._processes:
            self._processes[worker].kill()

    def kill_all(self) -> None:
        """SIGKILL whatever runs."""
        for worker in self._processes:
            self.kill(worker)

    def close_pipes(self) -> None:
        """Tell the processes by their closed pipes that it is time to leave."""
        for process in self._processes.values():
            process.close()

    async def gone(self, within_s: float) -> bool:
        """Wait until there is no process left. Returns whether there is none."""
        try:
            async with asyncio.timeout(within_s):
                while self._processes:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _spawn(self, worker: int) -> WorkerProcess:
        born: WorkerProcess

        def handle(message: FromWorker) -> None:
            if self._processes.get(worker) is born:
                self._observer.heard(worker, message)

        born = WorkerProcess(
            self._spec(worker),
            Handover(self._loop, handle, UNHANDLED_MESSAGES).put,
            partial(relay, worker),
            lambda: self._soon(self._observer.lost, worker, "its pipe closed"),
            lambda process, ending: self._soon(self._buried, worker, process, ending),
        )
        return born

    def _spec(self, worker: int) -> WorkerSpec:
        model, text, device = self._settings.model, self._settings.text, self._devices[worker]
        return WorkerSpec(
            index=worker,
            engine=EngineConfig(
                engine=model.engine,
                model_dir=str(model.dir),
                source_dir=str(model.source_dir or ""),
                precision=model.precision,
                language_model=model.language_model,
                language_model_file=model.language_model_file,
                tensorrt=model.tensorrt,
                vllm=model.vllm,
                streams=model.streams,
                state_budget_gib=model.state_budget_gib,
                model_marks=text.model_marks,
                text=TextConfig(
                    normaliser=text.normaliser,
                    language=text.language,
                    markup=text.markup,
                    lexicon=str(text.lexicon or ""),
                ),
                device=model.device,
                pinned_to=device,
                sharing=self._devices.count(device),
            ),
            device=device,
            threads=max(1, cores() // self._settings.workers.count),
            log_level=self._log_level,
        )

    def _stillborn(self, worker: int, reason: str) -> None:
        self._observer.lost(worker, reason)
        self._observer.buried(worker, "")

    def _buried(self, worker: int, process: WorkerProcess, ending: str) -> None:
        del self._processes[worker]
        self._changed.set()
        self._observer.buried(worker, ending)
        log.info("worker process ended", worker=worker, pid=process.pid, ending=ending)

    def _soon(self, call: Callable[..., object], *args: object) -> None:
        """Run on the event loop; called from threads. After the loop has closed there is nobody left to tell."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *args)
