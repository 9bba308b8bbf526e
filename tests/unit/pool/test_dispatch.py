"""The dispatcher: events and times in, actions and endings out."""

import itertools
from collections.abc import Callable

import pytest

from cosyserve.errors import LineFull, NoWorker, Stopping
from cosyserve.pool.actions import Send, Start
from cosyserve.pool.dispatch import Dispatcher
from cosyserve.pool.job import Job, JobState
from cosyserve.pool.status import WorkerState
from cosyserve.pool.worker import BACKOFF_S, CRASH_LOOP_DEATHS
from cosyserve.protocol import (
    Cancelled,
    Chunk,
    Done,
    Failed,
    FailureCode,
    Heartbeat,
    LoadFailed,
    Ready,
    Shutdown,
)
from tests.unit.pool.conftest import House, sink


class TestDispatch:
    def test_start_spawns_every_worker(self) -> None:
        assert House(workers=3).actions == [Start(0), Start(1), Start(2)]

    def test_runs_a_job_at_once_where_a_stream_is_free(self, house: House) -> None:
        job = house.submit()
        assert job.state is JobState.RUNNING
        assert house.actions[-1] == Send(0, job.request)
        assert sink(job).begun == 1

    def test_takes_the_least_loaded_worker(self) -> None:
        house = House(workers=3)
        house.ready()
        assert [house.at(house.submit()) for _ in range(6)] == [0, 1, 2, 0, 1, 2]

    def test_among_equals_takes_the_worker_that_knows_the_voice(self) -> None:
        house = House(workers=3)
        house.ready()
        first = [house.submit(voice) for voice in ("a", "b", "c")]
        for job in first:
            house.done(job)
        assert [house.at(house.submit(voice)) for voice in ("c", "b", "a")] == [2, 1, 0]

    def test_a_known_voice_does_not_outweigh_load(self) -> None:
        house = House(workers=2)
        house.ready()
        assert house.at(house.submit("a")) == 0
        assert house.at(house.submit("a")) == 1

    def test_skips_workers_that_are_not_ready(self) -> None:
        house = House(workers=2)
        house.ready(1)
        assert {house.at(house.submit()) for _ in range(4)} == {1}

    def test_what_waits_is_run_by_a_ready_worker_whatever_it_calls_its_details(self) -> None:
        house = House()
        house.ready()
        job = house.submit()
        house.die(0)
        house.revive(0)
        house.die(0)
        house.now = house.dispatcher.workers[0].due_at()
        house.dispatcher.tick(house.now)
        names = ("worker", "device", "streams", "event", "level", "model_type", "sample_rate", "timestamp")
        house.dispatcher.received(0, Ready("test", 24_000, 1, dict.fromkeys(names, "x")), house.now)
        assert house.at(job) == 0

    def test_forwards_chunks_and_the_end(self, house: House) -> None:
        job = house.submit()
        house.chunk(job, b"ab")
        house.chunk(job, b"cd")
        house.done(job)
        assert (sink(job).audio, sink(job).ending) == (b"abcd", "ok")

    def test_drops_messages_for_jobs_it_does_not_know(self, house: House) -> None:
        for message in (Chunk(99, b"ab"), Done(99, {}), Failed(99, FailureCode.ENGINE_FAILED, ""), Cancelled(99)):
            house.dispatcher.received(0, message, house.now)
        assert house.dispatcher.running == 0

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            (FailureCode.UNSPEAKABLE_TEXT, "unspeakable_text"),
            (FailureCode.INVALID_PROMPT, "invalid_prompt"),
            (FailureCode.ENGINE_FAILED, "synthesis_failed"),
        ],
    )
    def test_a_failure_has_its_own_code(self, house: House, code: FailureCode, told: str) -> None:
        job = house.submit()
        house.dispatcher.received(0, Failed(job.id, code, "why"), house.now)
        assert sink(job).ending == told
        assert house.dispatcher.running == 0


class TestWaiting:
    def test_the_cap_holds_over_all_workers(self) -> None:
        house = House(workers=2, streams=10, max_concurrency=3)
        house.ready()
        jobs = [house.submit() for _ in range(5)]
        assert [job.state for job in jobs] == [JobState.RUNNING] * 3 + [JobState.WAITING] * 2

    def test_waits_for_a_stream_when_workers_have_fewer_than_the_cap(self) -> None:
        house = House(streams=2, max_concurrency=10)
        house.ready()
        jobs = [house.submit() for _ in range(3)]
        house.done(jobs[1])
        assert [job.state for job in jobs] == [JobState.RUNNING, JobState.OVER, JobState.RUNNING]

    def test_first_come_first_served(self) -> None:
        house = House(max_concurrency=1)
        house.ready()
        jobs = [house.submit() for _ in range(4)]
        for finished, next_up in itertools.pairwise(jobs):
            house.done(finished)
            assert next_up.state is JobState.RUNNING

    def test_the_line_overflows(self) -> None:
        house = House(max_concurrency=1, max_waiting=2)
        house.ready()
        for _ in range(3):
            house.submit()
        with pytest.raises(LineFull):
            house.submit()
        assert len(house.dispatcher.line) == 2

    def test_no_line_at_all(self) -> None:
        house = House(max_concurrency=1, max_waiting=0)
        house.ready()
        house.submit()
        with pytest.raises(LineFull):
            house.submit()

    def test_who_waits_too_long_is_told(self) -> None:
        house = House(max_concurrency=1, wait_timeout_s=30)
        house.ready()
        house.submit()
        house.now += 1
        late = house.submit()
        assert house.dispatcher.due_at() == house.now + 30
        house.now += 30
        house.dispatcher.tick(house.now)
        assert (sink(late).ending, late.state, len(house.dispatcher.line)) == ("wait_timeout", JobState.OVER, 0)
        assert late.queue_wait_s == 30

    @pytest.mark.parametrize("leave", [Dispatcher.cancel, lambda dispatcher, _, now: dispatcher.shut_down(now)])
    def test_how_long_one_waited_who_never_got_a_stream(self, leave: Callable[[Dispatcher, Job, float], None]) -> None:
        house = House(max_concurrency=1)
        house.ready()
        house.submit()
        late = house.submit()
        house.now += 5
        leave(house.dispatcher, late, house.now)
        assert late.queue_wait_s == 5

    def test_nobody_is_admitted_before_a_worker_is_ready(self) -> None:
        house = House()
        with pytest.raises(NoWorker):
            house.submit()


class TestCancel:
    def test_a_waiting_job_leaves_the_line_at_once(self) -> None:
        house = House(max_concurrency=1)
        house.ready()
        house.submit()
        waiting = house.submit()
        house.dispatcher.cancel(waiting, house.now)
        assert (waiting.state, len(house.dispatcher.line), house.cancels()) == (JobState.OVER, 0, [])

    def test_a_running_jobs_stream_is_free_when_the_worker_answers(self) -> None:
        house = House(max_concurrency=1)
        house.ready()
        leaving, waiting = house.submit(), house.submit()
        house.dispatcher.cancel(leaving, house.now)
        assert house.cancels() == [leaving.id]
        states = [waiting.state]
        house.dispatcher.received(0, Cancelled(leaving.id), house.now)
        assert [*states, waiting.state] == [JobState.WAITING, JobState.RUNNING]

    def test_audio_of_a_cancelled_job_is_dropped(self, house: House) -> None:
        job = house.submit()
        house.dispatcher.cancel(job, house.now)
        house.chunk(job)
        house.done(job)
        assert (sink(job).audio, sink(job).endings) == (b"", [])

    def test_cancel_is_sent_once(self, house: House) -> None:
        job = house.submit()
        house.dispatcher.cancel(job, house.now)
        house.dispatcher.cancel(job, house.now)
        assert house.cancels() == [job.id]

    def test_after_the_end_it_does_nothing(self, house: House) -> None:
        job = house.submit()
        house.done(job)
        house.dispatcher.cancel(job, house.now)
        assert house.cancels() == []

    def test_an_unanswered_cancel_costs_the_worker_its_life(self, house: House) -> None:
        job, neighbour = house.submit(), house.submit()
        house.dispatcher.cancel(job, house.now)
        for _ in range(6):
            house.now += 10
            house.chunk(neighbour)
            house.dispatcher.tick(house.now)
        assert house.kills() == [0]
        assert (job.state, neighbour.state) == (JobState.OVER, JobState.WAITING)


class TestDeath:
    def test_an_unsent_job_runs_again_with_its_seed(self, house: House) -> None:
        job = house.submit()
        house.chunk(job)
        house.die(0)
        assert (job.state, sink(job).audio) == (JobState.WAITING, b"")
        house.revive(0)
        assert house.actions[-1] == Send(0, job.request)
        house.chunk(job, b"xy")
        house.done(job)
        assert (sink(job).audio, sink(job).ending) == (b"xy", "ok")

    def test_a_job_whose_listener_has_audio_breaks(self, house: House) -> None:
        job = house.submit()
        house.chunk(job)
        sink(job).taken = True
        house.die(0)
        assert sink(job).ending == "worker_died"

    def test_jobs_go_back_to_the_head_in_their_order(self) -> None:
        house = House(max_concurrency=3, streams=3)
        house.ready()
        jobs = [house.submit() for _ in range(5)]
        house.die(0)
        assert list(house.dispatcher.line) == jobs

    def test_a_leaving_job_is_over(self, house: House) -> None:
        job = house.submit()
        house.dispatcher.cancel(job, house.now)
        house.die(0)
        assert (job.state, len(house.dispatcher.line), sink(job).endings) == (JobState.OVER, 0, [])

    def test_other_workers_jobs_do_not_notice(self) -> None:
        house = House(workers=2)
        house.ready()
        one, other = house.submit(), house.submit()
        house.die(0)
        house.chunk(other)
        house.done(other)
        assert (sink(other).audio, sink(other).ending, one.state) == (b"ab", "ok", JobState.RUNNING)

    def test_a_job_runs_three_times_at_most(self, house: House) -> None:
        job = house.submit()
        for _ in range(2):
            house.die(0)
            house.revive(0)
            assert job.state is JobState.RUNNING
        house.die(0)
        assert sink(job).ending == "worker_died"
        assert sink(job).begun == 3

    def test_a_suspect_never_runs_beside_a_fresh_job(self) -> None:
        house = House(workers=2)
        house.ready()
        suspect, fresh = house.submit(), house.submit()
        house.die(0)
        assert (suspect.state, house.at(fresh)) == (JobState.WAITING, 1)
        later = house.submit()
        assert later.state is JobState.WAITING, "worker 1 is claimed for the suspect and empties"
        house.done(fresh)
        assert (house.at(suspect), later.state) == (1, JobState.WAITING)
        house.revive(0)
        assert house.at(later) == 0

    def test_suspects_of_one_death_share_their_second_try(self, house: House) -> None:
        jobs = [house.submit() for _ in range(4)]
        house.die(0)
        house.revive(0)
        assert [job.state for job in jobs] == [JobState.RUNNING] * 4

    def test_the_last_try_is_alone(self, house: House) -> None:
        jobs = [house.submit() for _ in range(3)]
        for _ in range(2):
            house.die(0)
            house.revive(0)
        assert [job.state for job in jobs] == [JobState.RUNNING, JobState.WAITING, JobState.WAITING]
        fresh = house.submit()
        house.done(jobs[0])
        assert [job.state for job in (*jobs[1:], fresh)] == [JobState.RUNNING, JobState.WAITING, JobState.WAITING]
        house.done(jobs[1])
        house.done(jobs[2])
        assert fresh.state is JobState.RUNNING

    def test_a_poisonous_request_does_not_spend_its_neighbours_tries(self, house: House) -> None:
        """It kills whatever it runs on; everyone else finishes."""
        poison, *neighbours = [house.submit() for _ in range(10)]
        for _ in range(20):
            if poison.state is JobState.RUNNING:
                house.die(0)
                house.revive(0)
                continue
            for job in neighbours:
                if job.state is JobState.RUNNING:
                    house.done(job)
        assert sink(poison).ending == "worker_died"
        assert {sink(job).ending for job in neighbours} == {"ok"}

    def test_a_job_that_loses_its_worker_waits_anew(self) -> None:
        house = House(wait_timeout_s=30)
        house.ready()
        job = house.submit()
        house.now += 29
        house.die(0)
        house.now += 29
        house.dispatcher.tick(house.now)
        assert job.state is JobState.WAITING


class TestSupervision:
    def test_a_dead_worker_is_replaced_when_its_process_is_gone(self, house: House) -> None:
        house.dispatcher.lost(0, "its pipe closed", house.now)
        assert house.starts() == [0], "the old process may still hold the GPU"
        house.dispatcher.reaped(0, "killed by signal 9", house.now)
        assert house.starts() == [0, 0]

    def test_later_restarts_wait_longer(self, house: House) -> None:
        rests = []
        for _ in range(len(BACKOFF_S) + 2):
            house.die(0)
            worker = house.dispatcher.workers[0]
            rests.append(0.0 if worker.state is WorkerState.STARTING else worker.due_at() - house.now)
            house.revive(0)
        assert rests == pytest.approx([*BACKOFF_S, BACKOFF_S[-1], BACKOFF_S[-1]])

    def test_a_finished_job_forgives(self, house: House) -> None:
        for _ in range(3):
            house.die(0)
            house.revive(0)
        house.done(house.submit())
        house.die(0)
        assert house.starting() == {0}

    def test_a_crash_loop_is_unavailable_and_still_tried(self) -> None:
        house = House()
        for _ in range(CRASH_LOOP_DEATHS - 1):
            house.die(0)
            house.now = max(house.now, house.dispatcher.workers[0].due_at()) if not house.starting() else house.now
            house.dispatcher.tick(house.now)
        assert house.dispatcher.health == "starting"
        house.die(0)
        assert house.dispatcher.health == "unavailable"
        house.revive(0)
        assert house.dispatcher.health == "ok"

    def test_waiting_jobs_are_told_of_a_crash_loop(self, house: House) -> None:
        job = house.submit()
        house.die(0)
        for _ in range(CRASH_LOOP_DEATHS):
            if not house.starting():
                house.now = house.dispatcher.workers[0].due_at()
                house.dispatcher.tick(house.now)
            house.die(0)
        assert sink(job).ending == "no_worker"

    def test_ready_ends_a_row_of_deaths(self) -> None:
        house = House()
        for _ in range(3 * CRASH_LOOP_DEATHS):
            house.die(0)
            house.revive(0)
        assert house.dispatcher.health == "ok"

    def test_an_engine_that_cannot_load_is_not_tried_again(self) -> None:
        house = House()
        house.dispatcher.received(0, LoadFailed("no weights"), house.now)
        house.die(0)
        assert (house.dispatcher.health, house.starts()) == ("unavailable", [0])
        assert house.dispatcher.workers[0].reason == "no weights"
        assert house.dispatcher.due_at() == float("inf")

    def test_a_worker_that_is_never_ready_is_killed(self) -> None:
        house = House()
        house.now += 900
        house.dispatcher.tick(house.now)
        assert house.kills() == [0]

    def test_a_silent_worker_with_work_is_killed(self) -> None:
        house = House(first_chunk_timeout_s=1000)
        house.ready()
        job = house.submit()
        house.now += 59
        house.dispatcher.received(0, Heartbeat(), house.now)
        house.now += 59
        house.dispatcher.tick(house.now)
        assert house.kills() == []
        house.now += 1
        house.dispatcher.tick(house.now)
        assert (house.kills(), job.state) == ([0], JobState.WAITING)

    def test_an_idle_worker_may_be_silent(self, house: House) -> None:
        house.done(house.submit())
        house.now += 10_000
        house.dispatcher.tick(house.now)
        house.submit()
        house.dispatcher.tick(house.now)
        assert house.kills() == []

    def test_a_killed_worker_is_killed_once(self) -> None:
        house = House()
        house.now += 900
        house.dispatcher.tick(house.now)
        house.dispatcher.tick(house.now + 900)
        house.dispatcher.lost(0, "its pipe closed", house.now)
        assert house.kills() == [0]

    def test_overdue_first_audio(self, house: House) -> None:
        job = house.submit()
        house.now += 30
        house.dispatcher.received(0, Heartbeat(), house.now)
        house.now += 30
        house.dispatcher.tick(house.now)
        assert (sink(job).ending, house.cancels(), house.kills()) == ("audio_overdue", [job.id], [])

    def test_overdue_next_audio(self, house: House) -> None:
        job = house.submit()
        house.now += 50
        house.chunk(job)
        house.now += 59
        house.dispatcher.received(0, Heartbeat(), house.now)
        house.dispatcher.tick(house.now)
        assert sink(job).ending is None
        house.now += 1
        house.dispatcher.tick(house.now)
        assert sink(job).ending == "audio_overdue"


class TestStop:
    def test_admitted_jobs_go_on_and_new_ones_are_refused(self) -> None:
        house = House(max_concurrency=1)
        house.ready()
        running, waiting = house.submit(), house.submit()
        house.dispatcher.stop()
        assert house.dispatcher.health == "stopping"
        with pytest.raises(Stopping):
            house.submit()
        house.done(running)
        house.done(waiting)
        assert (sink(running).ending, sink(waiting).ending) == ("ok", "ok")

    def test_shut_down_ends_every_job_and_restarts_nobody(self) -> None:
        house = House(workers=2, max_concurrency=1)
        house.ready()
        running, waiting = house.submit(), house.submit()
        house.dispatcher.shut_down(house.now)
        assert [sink(job).ending for job in (running, waiting)] == ["stopping", "stopping"]
        assert [action for action in house.actions if action in {Send(0, Shutdown()), Send(1, Shutdown())}] == [
            Send(0, Shutdown()),
            Send(1, Shutdown()),
        ]
        house.die(0)
        house.dispatcher.tick(house.now + 10_000)
        assert (house.starts(), house.dispatcher.due_at()) == ([0, 1], float("inf"))
