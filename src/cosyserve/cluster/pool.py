"""A pool whose workers are replicas anywhere: `SpeechPool` through a handle of Ray Serve.

Serve's router says which replica runs a job, and when. Admission, what a job's death means, and the audio's way to its
listener are as in the pool of one machine; their bounds are this front end's alone.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Protocol

import structlog
from ray.exceptions import ObjectLostError, RayActorError, TaskCancelledError, WorkerCrashedError
from ray.serve.exceptions import DeploymentUnavailableError, RequestCancelledError

from cosyserve.cluster.crossing import Begun, Counter, Order
from cosyserve.cluster.fleet import Fleet
from cosyserve.cluster.turnstile import Turnstile
from cosyserve.errors import LineFull, NoWorker, Overdue, ServiceError, Stopping, SynthesisFailed, WaitedTooLong
from cosyserve.pool.endings import ending_after_death, ending_of
from cosyserve.pool.exchange import ExchangeFailed
from cosyserve.pool.job import Job, JobState
from cosyserve.pool.orders import order_of
from cosyserve.pool.seam import Admitted
from cosyserve.pool.specs import engine_config
from cosyserve.pool.status import PoolState, WorkerStatus
from cosyserve.pool.streams import AudioStream, BufferLedger
from cosyserve.protocol import Chunk, Done, EngineConfig, Trace
from cosyserve.settings.sections import Settings
from cosyserve.speech.requests import SpeechRequest

DEATHS = (RayActorError, WorkerCrashedError, ObjectLostError, TaskCancelledError, RequestCancelledError)
"""What is raised under a job whose replica, node or network has gone."""
REST_S = 0.1
"""Before a job runs again: Serve has to hear of the death too."""
LOOK_S = 0.5
"""Between two looks, at the end, whether there is anybody left whom jobs wait for."""

log = structlog.get_logger(__name__)


class Answer(Protocol):
    """Serve's answer to a call that streams."""

    def __aiter__(self) -> AsyncIterator[list[Any]]:
        """The messages of the job, those that wait together."""

    def cancel(self) -> None:
        """Nobody wants more of it."""


class ClusterPool:
    """All of it runs on one event loop. speak: has a replica run an order. What the service sees: `SpeechPool`."""

    def __init__(
        self, settings: Settings, speak: Callable[[Order], Answer], fleet: Fleet, counter: Counter | None = None
    ) -> None:
        self._settings = settings
        self._speak = speak
        self._fleet = fleet
        self._counter = counter or Counter()
        self._turnstile = Turnstile(settings.limits.max_concurrency)
        self._generation = 1
        self._ledger = BufferLedger(settings.server.max_buffered_bytes)
        self._job_ids = itertools.count(1)
        self._tasks: dict[Job, asyncio.Task[None]] = {}
        self._open_streams: set[AudioStream] = set()
        self._emptied = asyncio.Event()
        self.stopping = asyncio.Event()
        """Set when no new requests are taken any more."""
        self._watch: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    @property
    def health(self) -> str:
        """`ok`, `starting`, `unavailable` or `stopping`."""
        return "stopping" if self.stopping.is_set() else self._fleet.health

    @property
    def model_type(self) -> str | None:
        """What the replicas serve; None before one was ready."""
        return self._fleet.first("model_type")  # type: ignore[no-any-return]

    @property
    def sample_rate(self) -> int | None:
        """Hz of the model's audio; None before a replica was ready."""
        return self._fleet.first("sample_rate")  # type: ignore[no-any-return]

    @property
    def has_room(self) -> bool:
        """Whether one more request would run at once, as far as is known."""
        return self._free > self._count(JobState.WAITING)

    @property
    def state(self) -> PoolState:
        """How it is now. Running and waiting are this front end's, a worker's streams the whole cluster's."""
        return PoolState(
            running=self._count(JobState.RUNNING),
            waiting=self._count(JobState.WAITING),
            max_concurrency=self._settings.limits.max_concurrency or self._fleet.streams,
            buffered_bytes=self._ledger.held_bytes,
            generation=self._generation,
            engine=self._settings.model.engine,
            workers=self.statuses(),
        )

    def statuses(self) -> list[WorkerStatus]:
        """One entry a replica, of the whole cluster."""
        return self._fleet.statuses()

    def start(self) -> None:
        """Look for the replicas; Serve starts them."""
        self._loop = asyncio.get_running_loop()
        self._watch = asyncio.create_task(self._fleet.watch())

    def submit(self, request: SpeechRequest, trace: Trace | None = None) -> Admitted:
        """Admit a request. Its stream must be closed in the end. Raises Unavailable. trace: goes to the replica."""
        stream = AudioStream(self._ledger, lambda: self._closed(job, stream))
        job = Job(order_of(request, next(self._job_ids), trace), stream, waiting_since=self._loop.time())
        self._admit()
        request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
        task = asyncio.create_task(self._run(job, self._counter.order(job.request, request_id)))
        # Whoever leaves at once has it cancelled before it has begun: then nothing of it runs.
        task.add_done_callback(lambda _: self._tasks.pop(job))
        self._tasks[job] = task
        self._open_streams.add(stream)
        return Admitted(job, stream)

    async def hand_over(self, settings: Settings) -> str:
        """Raises ExchangeFailed where these settings concern the engines: Serve exchanges those."""
        if _engines(settings) != _engines(self._settings):
            raise ExchangeFailed(
                "[model], [text] and workers.stall_timeout_s are the engines', which Ray Serve exchanges: deploy the "
                "application anew with these settings (`serve deploy`)"
            )
        return ""

    def adjust(self, settings: Settings) -> None:
        """Go by these settings, which the engines are right for already: the next generation."""
        self._generation += 1
        self._settings = settings
        self._ledger.set_limit(settings.server.max_buffered_bytes)
        self._turnstile.adjust(settings.limits.max_concurrency)

    def stop(self) -> None:
        """Take no new requests."""
        self.stopping.set()

    async def drained(self) -> None:
        """Wait until every admitted request has been answered to its end."""
        while self._open_streams:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._emptied.wait()
            if not self._fleet.ready:
                self._send_home(JobState.WAITING)

    async def close(self) -> None:
        """End every job; the replicas stay, they are Serve's."""
        self.stopping.set()
        self._send_home(JobState.WAITING, JobState.RUNNING)
        self.kill()
        if tasks := self._all_tasks():
            await asyncio.wait(tasks)

    def kill(self) -> None:
        """End whatever runs, now."""
        for task in self._all_tasks():
            task.cancel()

    def _all_tasks(self) -> list[asyncio.Task[None]]:
        return [*self._tasks.values(), *([self._watch] if self._watch else [])]

    def _send_home(self, *states: JobState) -> None:
        """Who is in one of these states: there is nobody to wait for."""
        for job, task in self._tasks.items():
            if job.state in states:
                self._end(job, Stopping("the service stopped before the audio was made"))
                task.cancel()

    @property
    def _free(self) -> int:
        """Streams that nobody has, as far as is known; others' are known a second late, this front end's at once."""
        ours = self._count(JobState.RUNNING)
        free = self._fleet.streams - max(ours, self._fleet.running)
        cap = self._settings.limits.max_concurrency
        return max(0, min(free, cap - ours) if cap else free)

    def _count(self, state: JobState) -> int:
        return sum(job.state is state for job in self._tasks)

    def _admit(self) -> None:
        """Raises Unavailable. While replicas are exchanged, whoever finds none waits for them."""
        if self.stopping.is_set():
            raise Stopping("the service is stopping; send the request to another instance, or again later")
        if self.health == "unavailable":
            raise NoWorker("no replica of the engine can start; the server's log says why")
        if not (self._fleet.ready or self._fleet.was_ready):
            raise NoWorker("the replicas of the engine are starting; try again shortly")
        if self._count(JobState.WAITING) >= self._settings.limits.max_waiting + self._free:
            raise LineFull("all streams are running and the waiting line is full; try again shortly")

    async def _run(self, job: Job, order: Order) -> None:
        try:
            async with self._patience(job) as patience, self._turnstile:
                while not await self._ran(job, order, patience):
                    pass
        except TimeoutError:
            self._end(job, self._too_late(job))
        except ServiceError as error:
            self._end(job, error)
        except Exception as fault:
            self._loop.call_exception_handler({"message": "a job met a fault", "exception": fault})
            self._end(job, SynthesisFailed("the service failed; the server's log has the details"))
        finally:
            job.state = JobState.OVER

    def _patience(self, job: Job) -> asyncio.Timeout:
        """Of who waits for a stream."""
        return asyncio.timeout_at(job.waiting_since + self._settings.limits.wait_timeout_s)

    async def _ran(self, job: Job, order: Order, patience: asyncio.Timeout) -> bool:
        """One try on one replica, and a rest where it failed. Returns whether it was the last. Raises ServiceError."""
        patience.reschedule(self._patience(job).when())
        answer = self._speak(order)
        try:
            async for messages in answer:
                self._heard(job, messages, patience)
                if job.state is JobState.OVER:
                    return True
        except DEATHS as death:
            self._met(job, death)
        except DeploymentUnavailableError as error:
            raise NoWorker("no replica of the engine can start; the server's log says why") from error
        else:
            # Serve ends a stream whole whose replica goes between two of its messages.
            self._met(job, "the stream ended before its last message")
        finally:
            answer.cancel()
        if job.state is not JobState.OVER:
            await asyncio.sleep(REST_S)
        return job.state is JobState.OVER

    def _heard(self, job: Job, messages: Iterable[Any], patience: asyncio.Timeout) -> None:
        now, limits = self._loop.time(), self._settings.limits
        for message in messages:
            match message:
                case Begun():
                    job.state, job.running_since, job.fed_at = JobState.RUNNING, now, None
                    job.waited(now)
                    job.sink.begin(message.sample_rate)
                case Chunk():
                    job.fed_at = now
                    job.sink.feed(message.pcm)
                case _:
                    if isinstance(message, Done):
                        job.timings = message.timings
                    self._end(job, ending_of(message))
        patience.reschedule(job.audio_due_at(limits.first_chunk_timeout_s, limits.next_chunk_timeout_s))

    def _met(self, job: Job, death: object) -> None:
        """A replica died under it, or before it had it, which costs the job nothing."""
        if job.state is JobState.WAITING:
            return
        log.error("replica lost", job=job.id, reason=" ".join(str(death).split())[:300])
        error = ending_after_death(job)
        if error is not None:
            self._end(job, error)
            return
        job.state, job.waiting_since = JobState.WAITING, self._loop.time()

    def _too_late(self, job: Job) -> ServiceError:
        if job.state is JobState.WAITING:
            job.waited(self._loop.time())
            return WaitedTooLong(f"no stream came free within {self._settings.limits.wait_timeout_s:g} s")
        return Overdue("the engine made no audio in time")

    def _closed(self, job: Job, stream: AudioStream) -> None:
        """The listener has gone: the replica is told so."""
        self._open_streams.discard(stream)
        self._emptied.set()
        if job in self._tasks and job.state is not JobState.OVER:
            self._tasks[job].cancel()

    def _end(self, job: Job, error: ServiceError | None) -> None:
        if job.state is not JobState.OVER:
            job.state = JobState.OVER
            job.sink.end(error)


def _engines(settings: Settings) -> tuple[EngineConfig, float]:
    """What the engines' processes are told."""
    return engine_config(settings, None, 1), settings.workers.stall_timeout_s
