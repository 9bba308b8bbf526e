"""The workers' processes: one a slot at a time, each born, told, killed and buried.

No slot can be lost here. Whatever fails while a process is born counts as its death, the process is killed, and its
burial needs no thread, file or module that its birth did not bring along.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog

from cosyserve.pool.process import WorkerProcess
from cosyserve.protocol import FromWorker, SetLogLevel, SetText, TextConfig, ToWorker
from cosyserve.wire.logs import relay
from cosyserve.wire.queues import QueueClosed, QueueFull
from cosyserve.wire.worker_spec import WorkerSpec

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
    """log_level: what workers leave out."""

    def __init__(self, log_level: str, observer: Observer) -> None:
        self._observer = observer
        self._log_level = log_level
        self._specs: dict[int, WorkerSpec] = {}
        self._retold: set[int] = set()
        """Who was told how texts are read since it was started."""
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

    def enlist(self, worker: int, spec: WorkerSpec) -> None:
        """This is what its processes are told at birth."""
        self._specs[worker] = spec

    def spec(self, worker: int) -> WorkerSpec:
        """What it was enlisted with."""
        return self._specs[worker]

    def forget(self, worker: int) -> None:
        """It has left for good."""
        self._specs.pop(worker, None)
        self._retold.discard(worker)

    def start(self, worker: int) -> None:
        """Spawn its next process."""
        self._retold.discard(worker)
        try:
            process = self._spawn(worker)
        except Exception as error:
            # The caller is in the middle of something: it is told afterwards.
            self._loop.call_soon(self._stillborn, worker, f"cannot spawn a process: {error or type(error).__name__}")
            return
        self._processes[worker] = process
        log.info("worker starting", worker=worker, pid=process.pid, device=self._specs[worker].device)

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

    def set_text(self, text: TextConfig) -> None:
        """How those that run read texts, and those to come."""
        for worker, spec in self._specs.items():
            self._specs[worker] = replace(spec, engine=replace(spec.engine, text=text))
        for worker in self._processes:
            self._retold.add(worker)
            self.send(worker, SetText(text))

    def tell_again(self, worker: int) -> None:
        """It is ready: what it was told while it loaded, it may not have heard."""
        if worker in self._retold:
            self.send(worker, SetText(self._specs[worker].engine.text))

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
            replace(self._specs[worker], index=worker, log_level=self._log_level),
            handle,
            partial(relay, worker),
            lambda: self._soon(self._observer.lost, worker, "its pipe closed"),
            lambda process, ending: self._soon(self._buried, worker, process, ending),
        )
        return born

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
