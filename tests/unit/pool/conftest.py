"""A dispatcher with its surroundings written down: the actions it asks for, and sinks that remember."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from cosyserve.errors import ServiceError
from cosyserve.pool.actions import Action, Forget, Kill, Send, Start
from cosyserve.pool.dispatch import Dispatcher
from cosyserve.pool.job import Job
from cosyserve.pool.worker import Post
from cosyserve.protocol import Cancel, Chunk, Done, Mode, Prompt, Ready, Shutdown, Synthesize
from cosyserve.settings.sections import LimitSettings, WorkerSettings


@dataclass
class Sink:
    """What reached one listener. `taken` stands for a listener that has some of it."""

    audio: bytes = b""
    endings: list[ServiceError | None] = field(default_factory=list)
    taken: bool = False
    begun: int = 0

    def begin(self, sample_rate: int) -> None:
        self.begun += 1

    def feed(self, pcm: bytes) -> None:
        self.audio += pcm

    def rewind(self) -> bool:
        if not self.taken:
            self.audio = b""
        return not self.taken

    def end(self, error: ServiceError | None) -> None:
        self.endings.append(error)

    @property
    def ending(self) -> str | None:
        """ "ok", an error's code, or None while nothing has ended."""
        if not self.endings:
            return None
        assert len(self.endings) == 1, "a job ends once"
        error = self.endings[0]
        return "ok" if error is None else error.code


class House:
    """The dispatcher under test and the hands that feed it. `now` is set by the tests."""

    def __init__(self, workers: int = 1, streams: int = 10, **limits: float) -> None:
        self.actions: list[Action] = []
        self.now = 100.0
        self.streams = streams
        self.dispatcher = Dispatcher(
            [None] * workers,
            WorkerSettings(count=workers, start_timeout_s=900, stall_timeout_s=60),
            LimitSettings.model_validate(limits),
            self.actions.append,
        )
        self._ids = 0
        self.dispatcher.start(self.now)

    def ready(self, *indices: int) -> None:
        for index in indices or [worker.index for worker in self.dispatcher.workers]:
            self.dispatcher.received(index, Ready("test", 24_000, self.streams), self.now)

    def job(self, voice: str = "voice") -> Job:
        self._ids += 1
        prompt = Prompt(np.zeros(1, np.float32), 24_000, voice)
        return Job(Synthesize(self._ids, "text", Mode.CROSS_LINGUAL, "", "", prompt, 1.0, 7), Sink())

    def submit(self, voice: str = "voice") -> Job:
        job = self.job(voice)
        self.dispatcher.submit(job, self.now)
        return job

    def chunk(self, job: Job, pcm: bytes = b"ab") -> None:
        assert job.worker is not None
        self.dispatcher.received(job.worker, Chunk(job.id, pcm), self.now)

    def done(self, job: Job) -> None:
        assert job.worker is not None
        self.dispatcher.received(job.worker, Done(job.id, {}), self.now)

    def newcomers(self) -> list[int]:
        """Workers of the next generation, on trial and starting, one a slot."""
        posts = [
            Post(worker.slot, None, worker.generation + 1, trial=True) for worker in self.dispatcher.workers.serving
        ]
        indices = [self.dispatcher.add(post) for post in posts]
        for index in indices:
            self.dispatcher.start_one(index, self.now)
        return indices

    def take_over(self, indices: list[int]) -> None:
        """The newcomers serve, and those before them leave."""
        before = [worker.index for worker in self.dispatcher.workers.serving]
        for index in indices:
            self.dispatcher.commission(index, self.now)
        self.dismiss(*before)

    def adjust(self, **limits: float) -> None:
        patience = WorkerSettings(start_timeout_s=900, stall_timeout_s=60)
        self.dispatcher.adjust(patience, LimitSettings.model_validate(limits), self.now)

    def dismiss(self, *indices: int) -> None:
        for index in indices:
            self.dispatcher.dismiss(index, self.now)

    def die(self, index: int) -> None:
        """The worker's pipe closes, its process is reaped, and its successor is up."""
        self.dispatcher.lost(index, "its pipe closed", self.now)
        self.dispatcher.reaped(index, "killed by signal 9", self.now)

    def revive(self, index: int) -> None:
        self.now = self.dispatcher.workers[index].due_at() if index not in self.starting() else self.now
        self.dispatcher.tick(self.now)
        self.ready(index)

    def starting(self) -> set[int]:
        return {worker.index for worker in self.dispatcher.workers if worker.state == "starting"}

    def at(self, job: Job) -> int | None:
        return job.worker

    def starts(self) -> list[int]:
        return [action.worker for action in self.actions if isinstance(action, Start)]

    def sent_home(self) -> list[int]:
        return [a.worker for a in self.actions if isinstance(a, Send) and isinstance(a.message, Shutdown)]

    def forgotten(self) -> list[int]:
        return [action.worker for action in self.actions if isinstance(action, Forget)]

    def kills(self) -> list[int]:
        return [action.worker for action in self.actions if isinstance(action, Kill)]

    def cancels(self) -> list[int]:
        return [
            action.message.job_id
            for action in self.actions
            if isinstance(action, Send) and isinstance(action.message, Cancel)
        ]


@pytest.fixture
def house() -> House:
    """One ready worker with ten streams."""
    house = House()
    house.ready()
    return house


def sink(job: Job) -> Sink:
    """The job's sink, typed."""
    assert isinstance(job.sink, Sink)
    return job.sink
