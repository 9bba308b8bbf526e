"""An engine's streams on an event loop: what a process of somebody else's cluster holds in place of a worker's life.

The loop of threads is a worker's own (`loop.py`); its messages go to whoever awaits them, job by job.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

from cosyserve.protocol import (
    Cancel,
    Cancelled,
    Chunk,
    Counted,
    Done,
    EngineConfig,
    Failed,
    FromWorker,
    Synthesize,
)
from cosyserve_workers.engine import Engine, load_engine
from cosyserve_workers.handover import Handover
from cosyserve_workers.loop import Loop

UNHANDLED_MESSAGES = 64
"""What may wait for the event loop; the engine waits beyond that."""
CLOSE_S = 2.0
"""How long streams may take to notice that they are cancelled."""

Message = Chunk | Done | Failed | Cancelled

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Job:
    """messages: what nobody has taken yet. leaving_at: when it was told to stop, by time.monotonic()."""

    messages: list[Message] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    leaving_at: float | None = None


class _Outlet:
    """Every message is a sign of life, and a heartbeat nothing else."""

    def __init__(self, handover: Handover) -> None:
        self._handover = handover
        self.heard_at = time.monotonic()

    def put(self, message: FromWorker) -> None:
        self.heard_at = time.monotonic()
        self._handover.put(message)

    def put_nowait(self, _: FromWorker) -> None:
        self.heard_at = time.monotonic()


def load(config: EngineConfig) -> Engine:
    """A loaded engine, warm. Takes its time. Raises LoadError."""
    engine = load_engine(config)
    engine.warm_up()
    return engine


class Replica:
    """Everything happens on the event loop that it was made on.

    break_off: called, from any thread, with the reason when the engine is past use; it ends the process.
    """

    def __init__(self, engine: Engine, break_off: Callable[[str], NoReturn]) -> None:
        self._engine = engine
        self._break_off = break_off
        self._jobs: dict[int, _Job] = {}
        self._job_ids = itertools.count(1)
        self.counters: dict[str, int] = {}
        """What the engine has counted."""
        self._outlet = _Outlet(Handover(asyncio.get_running_loop(), self._heard, UNHANDLED_MESSAGES))
        self._loop = Loop(engine, self._outlet, break_off)

    @property
    def running(self) -> int:
        """Streams in use, those included that still owe an answer to Cancel."""
        return len(self._jobs)

    async def speak(self, request: Synthesize, request_id: str) -> AsyncGenerator[list[Message], None]:
        """What comes of a job, that which waits together; the last message ends it.

        Who closes it early has the job stopped, and waits until the engine has let go of it. request_id: for the log.
        """
        job_id, job = next(self._job_ids), _Job()
        self._begin(job_id, job, request)
        log.debug("a stream begins", extra={"job": job_id, "request_id": request_id})
        try:
            while not job.over.is_set() or job.messages:
                await job.changed.wait()
                job.changed.clear()
                messages, job.messages = job.messages, []
                _tell_of_failures(messages, request_id)
                if messages:
                    yield messages
        finally:
            if not job.over.is_set():
                job.leaving_at = time.monotonic()
                self._loop.handle(Cancel(job_id))
                await job.over.wait()

    def check(self, stall_timeout_s: float) -> None:
        """Break off where the engine has work and gives no sign of life, or does not let go of a job."""
        if not self._jobs:
            return
        leaving = [job.leaving_at for job in self._jobs.values() if job.leaving_at is not None]
        if min([self._outlet.heard_at, *leaving]) + stall_timeout_s < time.monotonic():
            self._break_off(f"no sign of life for {stall_timeout_s:g} s while it had work (workers.stall_timeout_s)")

    def close(self) -> None:
        """Give back what the engine took. Takes its time."""
        self._loop.close(CLOSE_S)
        self._engine.close()

    def _begin(self, job_id: int, job: _Job, request: Synthesize) -> None:
        if not self._jobs:
            self._outlet.heard_at = time.monotonic()
        self._jobs[job_id] = job
        self._loop.handle(replace(request, job_id=job_id))

    def _heard(self, message: FromWorker) -> None:
        if isinstance(message, Counted):
            self.counters = dict(message.counters)
        elif isinstance(message, Message):
            job = self._jobs[message.job_id]
            job.messages.append(message)
            if not isinstance(message, Chunk):
                del self._jobs[message.job_id]
                job.over.set()
            job.changed.set()


def _tell_of_failures(messages: list[Message], request_id: str) -> None:
    """The engine's own records have the job's number alone."""
    for message in messages:
        if isinstance(message, Failed):
            told = {"job": message.job_id, "request_id": request_id, "reason": message.message}
            log.warning("a stream failed", extra=told)
