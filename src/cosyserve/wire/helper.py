"""Helpers: a few processes for work that may crash, hang or swell, as decoders do over what strangers send.

Each does one job at a time, with a thread of the front end's own that writes and reads for it. A process that dies over
a job, takes too long or too much costs that job alone: the next one gets a new process.
"""

import contextlib
import logging
import signal
import threading
import time
from asyncio import wrap_future
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from cosyserve.errors import HelpersBusy, NoHelper, Stopping
from cosyserve.wire.helper_process import END_S, HelperFailed, HelperOutput, HelperProcess, NotBegun
from cosyserve.wire.worker_spec import GROUP_SIGNALS

COUNT = 2
MEMORY_BYTES = 256 << 20
"""What a job may take beside its arguments."""
QUEUED_JOBS = 256
"""More than there may be requests under way by default. Their bytes are counted elsewhere."""
LINE_S = 30.0
"""How long a job may wait for a helper."""
TRIES = 2
"""Processes that a job is offered to: one may have died while it had nothing to do."""
RETIRED_AFTER = 1_000
"""Jobs. What a library loses at each of them is not kept for ever."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Job:
    """name: `module:function`. line_until: when it has waited for too long, by the monotonic clock."""

    name: str
    args: tuple[Any, ...]
    timeout_s: float
    future: "Future[Any]" = field(default_factory=Future)
    line_until: float = field(default_factory=lambda: time.monotonic() + LINE_S)


class Helpers:
    """The processes, started as they are needed. Safe in threads.

    modules: what the jobs' functions are in, imported as a process starts. memory_bytes: what a job may take.
    """

    def __init__(self, *modules: str, count: int = COUNT, memory_bytes: int = MEMORY_BYTES) -> None:
        self._modules = modules
        self._count = count
        self._memory_bytes = memory_bytes
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._idle = 0
        self._closing = False
        self._threads: list[threading.Thread] = []
        self._slots: list[_Slot] = []
        self._processes: set[HelperProcess] = set()
        self._output: HelperOutput | None = None

    @property
    def waiting(self) -> int:
        """Jobs in line."""
        return len(self._waiting)

    @property
    def lost(self) -> int:
        """Processes that were lost so far, over a job or before it."""
        return sum(slot.lost for slot in self._slots)

    def start(self) -> None:
        """Have one process ready for the first job; returns at once. Where it cannot be, that job tries again."""
        with self._changed, contextlib.suppress(NoHelper):
            if not self._threads:
                self._add_thread()

    async def run(self, name: str, *args: object, timeout_s: float) -> Any:
        """What the function `module:function` returns for these arguments within `timeout_s` seconds: plain values.

        Raises HelperFailed, HelperRaised, and Unavailable: HelpersBusy, NoHelper, Stopping.
        """
        return await wrap_future(self._submit(_Job(name, args, timeout_s)))

    def call(self, name: str, *args: object, timeout_s: float) -> Any:
        """The same for threads."""
        return self._submit(_Job(name, args, timeout_s)).result()

    def kill(self) -> None:
        """SIGKILL to every process, and nothing else."""
        for process in list(self._processes):
            process.kill()

    def close(self) -> None:
        """End every process: what waits or runs is told that the service stops. Blocks for END_S at most."""
        with self._changed:
            self._closing = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for job in left:
            _fail(job, _stopping())
        self.kill()
        give_up_at = time.monotonic() + END_S
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))
        if self._output is not None:
            self._output.close()

    def _submit(self, job: _Job) -> "Future[Any]":
        with self._changed:
            if self._closing:
                raise _stopping()
            if len(self._waiting) >= QUEUED_JOBS:
                raise HelpersBusy(f"{len(self._waiting)} jobs wait for a helper already")
            if self._idle <= len(self._waiting) and len(self._threads) < self._count:
                self._add_thread()
            self._waiting.append(job)
            self._changed.notify_all()
        return job.future

    def _add_thread(self) -> None:
        """Raises NoHelper where there is none to do without it."""
        name = f"cosyserve-helper-{len(self._threads)}"
        try:
            self._output = self._output or HelperOutput()
            slot = _Slot(self._take, self._born, self._fate)
            thread = threading.Thread(target=slot.run, name=name, daemon=True)
            thread.start()
        except Exception as error:
            if not self._threads:
                raise _no_helper(error) from error
            log.warning("no further helper can be started: %s", error)
        else:
            self._threads.append(thread)
            self._slots.append(slot)

    def _take(self) -> _Job | None:
        """The next job; None at the end."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._closing or bool(self._waiting))
            self._idle -= 1
            return self._waiting.popleft() if self._waiting else None

    def _born(self) -> HelperProcess:
        """A new process, not ready yet. Raises what a start can fail of."""
        assert self._output is not None
        if self._closing:
            raise _stopping()
        process = HelperProcess(self._output.writer, self._memory_bytes, self._modules, self._processes.discard)
        self._processes.add(process)
        if self._closing:
            # Since then; `kill` may have looked before this one was there.
            process.kill()
        return process

    def _fate(self, error: Exception) -> Exception:
        """What a job is told that met this error."""
        return _stopping() if self._closing else error


class _Slot:
    """One helper's place, and the loop of its thread. The jobs' processes follow one another in it."""

    def __init__(
        self,
        take: Callable[[], _Job | None],
        born: Callable[[], HelperProcess],
        fate: Callable[[Exception], Exception],
    ) -> None:
        self._take = take
        self._born = born
        self._fate = fate
        self.lost = 0
        self._process: HelperProcess | None = None

    def run(self) -> None:
        """Until there is no job to come."""
        # The processes inherit it: they leave when the front end says so, not with a Ctrl-C.
        signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
        while True:
            # Ahead of the job that it is for. One that fails here fails again with a job to tell.
            with contextlib.suppress(Exception):
                self._ready()
            if not self._next():
                break
        self._bury()

    def _next(self) -> bool:
        """Do a job. A call of its own: nothing of the job is held while the next is waited for."""
        job = self._take()
        if job is None:
            return False
        if time.monotonic() > job.line_until:
            _fail(job, HelpersBusy(f"no helper was free for {LINE_S:g} s"))
        elif job.future.set_running_or_notify_cancel():
            self._do(job)
        return True

    def _do(self, job: _Job) -> None:
        try:
            result = self._perform(job)
        except Exception as error:
            job.future.set_exception(self._fate(error))
        else:
            job.future.set_result(result)

    def _perform(self, job: _Job) -> Any:
        for _ in range(TRIES):
            process = self._started()
            try:
                return process.perform(job.name, job.args, job.timeout_s)
            except NotBegun:
                self.lost += 1
                log.warning("a helper was lost before its job", extra={"ending": self._bury()})
            except HelperFailed as error:
                self.lost += 1
                log.warning("a helper was lost: %s", error, extra={"job": job.name, "ending": self._bury()})
                raise
        raise NoHelper("the processes for this work die as soon as they have started: see the log")

    def _started(self) -> HelperProcess:
        """Raises NoHelper."""
        try:
            return self._ready()
        except Exception as error:
            log.error("a helper cannot be started: %s", error)  # noqa: TRY400 - the system's refusal says all
            raise _no_helper(error) from error

    def _ready(self) -> HelperProcess:
        if self._process is not None and self._process.jobs >= RETIRED_AFTER:
            self._bury()
        if self._process is None:
            self._process = self._born()
            try:
                self._process.await_ready()
            except BaseException:
                self._bury()
                raise
        return self._process

    def _bury(self) -> str:
        """How the process ended; the next job gets another."""
        process, self._process = self._process, None
        return "" if process is None else process.end()


def _fail(job: _Job, error: Exception) -> None:
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)


def _stopping() -> Stopping:
    return Stopping("the service is stopping")


def _no_helper(error: Exception) -> NoHelper:
    return NoHelper(f"no process for this work can be started now: {error}")
