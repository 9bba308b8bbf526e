"""Whatever happens, in whatever order: the dispatcher keeps its promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cosyserve.errors import Unavailable
from cosyserve.pool.endings import MAX_RETRIES
from cosyserve.pool.job import Job, JobState
from cosyserve.pool.status import WorkerState
from cosyserve.pool.worker import Worker
from cosyserve.protocol import Cancelled, Failed, FailureCode
from tests.unit.pool.conftest import House, sink

CAP, STREAMS, WORKERS, LINE = 4, 3, 2, 5
steps = st.integers(0, 10)


class Dispatching(RuleBasedStateMachine):
    """Two workers with three streams each, a cap of four, a line of five; generations come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House(WORKERS, STREAMS, max_concurrency=CAP, max_waiting=LINE)
        self.jobs: list[Job] = []

    def pick(self, number: int, *states: JobState) -> Job | None:
        jobs = [job for job in self.jobs if job.state in states]
        return jobs[number % len(jobs)] if jobs else None

    @rule()
    def submit(self) -> None:
        job = self.house.job()
        try:
            self.house.dispatcher.submit(job, self.house.now)
        except Unavailable:
            assert job.worker is None
            return
        self.jobs.append(job)

    @rule(number=steps)
    def chunk(self, number: int) -> None:
        if job := self.pick(number, JobState.RUNNING):
            self.house.chunk(job)

    @rule(number=steps)
    def listen(self, number: int) -> None:
        if (job := self.pick(number, JobState.RUNNING)) and sink(job).audio:
            sink(job).taken = True

    @rule(number=steps)
    def finish(self, number: int) -> None:
        if job := self.pick(number, JobState.RUNNING, JobState.LEAVING):
            self.house.done(job)

    @rule(number=steps)
    def fail(self, number: int) -> None:
        if job := self.pick(number, JobState.RUNNING):
            assert job.worker is not None
            message = Failed(job.id, FailureCode.ENGINE_FAILED, "")
            self.house.dispatcher.received(job.worker, message, self.house.now)

    @rule(number=steps)
    def cancel(self, number: int) -> None:
        if job := self.pick(number, JobState.WAITING, JobState.RUNNING):
            self.house.dispatcher.cancel(job, self.house.now)

    @rule(number=steps)
    def answer_cancel(self, number: int) -> None:
        if job := self.pick(number, JobState.LEAVING):
            assert job.worker is not None
            self.house.dispatcher.received(job.worker, Cancelled(job.id), self.house.now)

    def worker(self, number: int) -> Worker:
        workers = list(self.house.dispatcher.workers)
        return workers[number % len(workers)]

    @rule(number=steps)
    def die(self, number: int) -> None:
        if (worker := self.worker(number)).alive:
            self.house.die(worker.index)

    @rule(number=steps)
    def become_ready(self, number: int) -> None:
        if (worker := self.worker(number)).state is WorkerState.STARTING:
            self.house.ready(worker.index)

    def on_trial(self) -> list[int]:
        return [worker.index for worker in self.house.dispatcher.workers if worker.trial and not worker.dismissed]

    @rule()
    def begin_a_generation(self) -> None:
        if not self.on_trial():
            self.house.newcomers()

    @rule()
    def hand_over(self) -> None:
        new = self.on_trial()
        if new and all(self.house.dispatcher.workers[index].state is WorkerState.SPARE for index in new):
            self.house.take_over(new)

    @rule()
    def give_the_generation_up(self) -> None:
        self.house.dismiss(*self.on_trial())

    @rule(number=steps)
    def one_goes_home(self, number: int) -> None:
        if (worker := self.worker(number)).state is WorkerState.STOPPED:
            self.house.die(worker.index)

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.house.now += seconds
        self.house.dispatcher.tick(self.house.now)
        for worker in self.house.dispatcher.workers:
            if worker.state in {WorkerState.DYING, WorkerState.STOPPED}:
                self.house.dispatcher.reaped(worker.index, "killed", self.house.now)

    @precondition(lambda self: self.jobs)
    @rule()
    def run_dry(self) -> None:
        """Left alone with healthy workers, every job comes to its end."""
        for _ in range(10 * len(self.jobs)):
            for worker in self.house.dispatcher.workers:
                if worker.state is WorkerState.STARTING:
                    self.house.ready(worker.index)
            for job in self.jobs:
                if job.state in {JobState.RUNNING, JobState.LEAVING}:
                    self.house.done(job)
            self.house.now = min(self.house.now + 1, self.house.dispatcher.due_at())
            self.house.dispatcher.tick(self.house.now)
        assert all(job.state is JobState.OVER for job in self.jobs)

    @invariant()
    def no_more_run_than_may(self) -> None:
        assert self.house.dispatcher.running <= CAP
        assert all(len(worker.jobs) <= STREAMS for worker in self.house.dispatcher.workers)

    @invariant()
    def every_job_is_in_one_place(self) -> None:
        waiting, running = (
            list(self.house.dispatcher.line),
            [job for worker in self.house.dispatcher.workers for job in worker.jobs],
        )
        for job in self.jobs:
            assert waiting.count(job) == (job.state is JobState.WAITING)
            assert running.count(job) == (job.state in {JobState.RUNNING, JobState.LEAVING})

    @invariant()
    def a_job_ends_once_and_what_ends_is_over(self) -> None:
        for job in self.jobs:
            assert len(sink(job).endings) <= 1
            assert not sink(job).endings or job.state in {JobState.OVER, JobState.LEAVING}

    @invariant()
    def those_on_trial_serve_nobody_and_those_sent_home_are_not_replaced(self) -> None:
        workers = list(self.house.dispatcher.workers)
        assert not any(worker.jobs for worker in workers if worker.trial)
        assert len(self.house.dispatcher.workers.serving) == WORKERS
        for worker in workers:
            if worker.dismissed:
                assert worker.state in {WorkerState.LEAVING, WorkerState.STOPPED}
                assert worker.has_process
                assert worker.state is WorkerState.STOPPED or worker.jobs

    @invariant()
    def suspects_keep_to_themselves(self) -> None:
        for worker in self.house.dispatcher.workers:
            deaths = {job.deaths for job in worker.jobs}
            assert len(deaths) <= 1
            assert max(deaths, default=0) < MAX_RETRIES or len(worker.jobs) == 1
        assert all(sink(job).begun <= 1 + MAX_RETRIES for job in self.jobs)

    @invariant()
    def what_is_due_next_is_the_earliest_of_all(self) -> None:
        for worker in self.house.dispatcher.workers:
            audio = [job.audio_due_at(30, 10) for job in worker.jobs if job.state is JobState.RUNNING]
            leaving = [job.leaving_since for job in worker.jobs if job.state is JobState.LEAVING]
            assert worker.jobs.next_audio(30, 10)[0] == min(audio, default=float("inf"))
            assert worker.jobs.leaving_since == min(leaving, default=float("inf"))

    @invariant()
    def nobody_waits_beside_a_free_stream(self) -> None:
        dispatcher = self.house.dispatcher
        head = next(iter(dispatcher.line), None)
        if head is not None and dispatcher.running < CAP:
            assert not any(worker.welcomes(head) for worker in dispatcher.workers)


Dispatching.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestDispatching = Dispatching.TestCase
