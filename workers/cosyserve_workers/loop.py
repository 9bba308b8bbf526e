"""Jobs in, chunks out: the worker's threads, one a stream, and what a message does to them."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, Protocol, assert_never

import numpy as np
import structlog
from numpy.typing import NDArray

from cosyserve.protocol import (
    Cancel,
    Cancelled,
    Chunk,
    Counted,
    Done,
    Failed,
    FailureCode,
    FromWorker,
    Heartbeat,
    SetLogLevel,
    SetText,
    Shutdown,
    Synthesize,
    TextConfig,
    ToWorker,
)
from cosyserve.wire.logs import set_level
from cosyserve.wire.queues import QueueClosed, QueueFull
from cosyserve_workers.engine import Engine, EngineBroken, LoadError, RequestError
from cosyserve_workers.pcm import to_pcm16

HEARTBEAT_S = 0.5
"""At most one heartbeat in this time; chunks tell as much."""
SUSPICIOUS_FAILURES = 3
"""Failed jobs in a row after which the engine must prove itself."""
NO_AUDIO = "the model made no audio of this text: try again, or with another seed"

log = logging.getLogger(__name__)


class Outlet(Protocol):
    """Where an engine's messages go; both are called from any thread."""

    def put(self, message: FromWorker) -> None:
        """Wait for room. Raises QueueClosed."""

    def put_nowait(self, message: FromWorker) -> None:
        """Raises QueueFull, QueueClosed."""


class _Running:
    """A job on its stream."""

    def __init__(self, request: Synthesize) -> None:
        self.request = request
        self.cancelled = threading.Event()


class Loop:
    """Runs an engine's streams.

    break_off: called, from any thread, with the reason when the engine is past use; it ends the process.
    """

    def __init__(self, engine: Engine, outbox: Outlet, break_off: Callable[[str], NoReturn]) -> None:
        self._engine = engine
        self._outbox = outbox
        self._break_off = break_off
        self._accepted: queue.SimpleQueue[_Running | None] = queue.SimpleQueue()
        self._running: dict[int, _Running] = {}
        self._lock = threading.Lock()
        self._beat_at = 0.0
        self._failures_in_a_row = 0
        self._counters: dict[str, int] = {}
        self.shut_down = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, name=f"stream-{index}", daemon=True) for index in range(engine.streams)
        ]
        for thread in self._threads:
            thread.start()

    def handle(self, message: ToWorker) -> None:
        """Act on a message. Runs on the inbox's thread and does not block."""
        match message:
            case Synthesize():
                job = _Running(message)
                with self._lock:
                    self._running[message.job_id] = job
                self._accepted.put(job)
            case Cancel():
                with self._lock:
                    leaving = self._running.get(message.job_id)
                if leaving is not None:
                    leaving.cancelled.set()
            case SetLogLevel():
                set_level(message.level)
            case SetText():
                self._read_as(message.text)
            case Shutdown():
                self.shut_down.set()
            case _:
                assert_never(message)

    def close(self, timeout: float) -> None:
        """Cancel what runs and end the threads."""
        with self._lock:
            for job in self._running.values():
                job.cancelled.set()
        for _ in self._threads:
            self._accepted.put(None)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _read_as(self, text: TextConfig) -> None:
        """Engines may go without. Whatever goes wrong, texts are read as before."""
        try:
            getattr(self._engine, "read_as", lambda _: None)(text)
        except LoadError as error:
            log.error("%s", error)  # noqa: TRY400 - an operator's mistake, told in one line
        except Exception:
            log.exception("the engine could not change how it reads")

    def _serve(self) -> None:
        while (job := self._accepted.get()) is not None:
            with _in_trace(job.request):
                last = self._run(job)
            with self._lock:
                del self._running[job.request.job_id]
            try:
                self._count()
                self._outbox.put(last)
            except QueueClosed:
                return
            self._judge(last)

    def _count(self) -> None:
        """Tell what the engine has counted, where it counts and there is news."""
        counters = {str(name): int(count) for name, count in getattr(self._engine, "counters", {}).items()}
        with self._lock:
            news, self._counters = counters != self._counters, counters
        if news:
            self._outbox.put(Counted(counters))

    def _run(self, job: _Running) -> FromWorker:
        """Speak one job. Returns the message that ends it."""
        job_id = job.request.job_id
        try:
            timings = self._speak(job)
        except RequestError as error:
            return Failed(job_id, error.code, str(error))
        except QueueClosed:
            return Cancelled(job_id)  # The parent is gone.
        except EngineBroken as error:
            log.exception("the engine is past use", extra={"job": job_id})
            self._break_off(f"the engine is past use: {error}")
        except Exception:
            log.exception("the engine failed", extra={"job": job_id})
            return Failed(job_id, FailureCode.ENGINE_FAILED, "the engine failed; the server's log has the details")
        if job.cancelled.is_set():
            return Cancelled(job_id)
        if "first_chunk" not in timings:
            return Failed(job_id, FailureCode.ENGINE_FAILED, NO_AUDIO)
        return Done(job_id, timings)

    def _speak(self, job: _Running) -> dict[str, float]:
        """Send the job's audio. Returns seconds by stage."""
        started = time.monotonic()
        timings: dict[str, float] = {}
        with _closing(self._engine.stream(job.request, lambda: self._step(job))) as audio:
            sounds = _Returning(audio)
            for samples in sounds:
                if job.cancelled.is_set():
                    break
                if samples.size:
                    self._outbox.put(Chunk(job.request.job_id, to_pcm16(samples)))
                    timings.setdefault("first_chunk", time.monotonic() - started)
        timings["total"] = time.monotonic() - started
        return {**sounds.shares, **timings}

    def _step(self, job: _Running) -> bool:
        """The engine's question whether to stop, asked at every step, and so its heartbeat."""
        now = time.monotonic()
        if now - self._beat_at > HEARTBEAT_S:
            self._beat_at = now
            # A full outbox holds messages that tell as much.
            with contextlib.suppress(QueueFull, QueueClosed):
                self._outbox.put_nowait(Heartbeat())
        return job.cancelled.is_set()

    def _judge(self, last: FromWorker) -> None:
        """After failures in a row, make the engine prove itself: a broken one must not go on swallowing jobs."""
        if not (isinstance(last, Failed) and last.code is FailureCode.ENGINE_FAILED):
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        if self._failures_in_a_row < SUSPICIOUS_FAILURES:
            return
        self._failures_in_a_row = 0
        try:
            self._engine.warm_up()
        except Exception:
            log.exception("the engine fails its self-test")
            self._break_off("the engine fails its self-test")


def _in_trace(request: Synthesize) -> contextlib.AbstractContextManager[object]:
    """What is logged inside, by whomever, says which trace it belongs to."""
    if request.trace is None:
        return contextlib.nullcontext()
    return structlog.contextvars.bound_contextvars(trace_id=request.trace.id)


class _Returning:
    """An engine's audio. shares: what its generator has returned at its end, seconds by stage."""

    def __init__(self, audio: Iterator[NDArray[np.float32]]) -> None:
        self._audio: Any = audio
        self.shares: dict[str, float] = {}

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        returned: object = yield from self._audio
        if isinstance(returned, Mapping):
            self.shares = {str(stage): float(seconds) for stage, seconds in returned.items()}


@contextlib.contextmanager
def _closing(audio: Iterator[NDArray[np.float32]]) -> Iterator[Iterator[NDArray[np.float32]]]:
    """Close a generator at the end; an engine may return any other iterator too."""
    try:
        yield audio
    finally:
        close = getattr(audio, "close", None)
        if close is not None:
            close()
