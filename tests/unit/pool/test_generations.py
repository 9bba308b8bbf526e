"""Workers that come in the place of others: whom they serve, and how the others leave."""

import pytest

from cosyserve.errors import NoWorker
from cosyserve.pool.job import JobState
from cosyserve.pool.status import WorkerState
from cosyserve.pool.worker import LEAVE_S, TRIAL_DEATHS, Post
from cosyserve.protocol import LoadFailed
from tests.unit.pool.conftest import House, sink


def states(house: House) -> dict[int, WorkerState]:
    return {worker.index: worker.state for worker in house.dispatcher.workers}


class TestOnTrial:
    def test_nobody_is_served_before_the_commission(self) -> None:
        house = House(streams=1)
        house.ready()
        (new,) = house.newcomers()
        house.ready(new)
        running, waiting = house.submit(), house.submit()
        assert (house.at(running), house.at(waiting), states(house)[new]) == (0, None, WorkerState.SPARE)
        assert house.dispatcher.max_concurrency == 1
        house.dispatcher.commission(new, house.now)
        assert house.at(waiting) is None, "they may share a GPU, so they count once"
        house.done(running)
        assert house.at(waiting) is not None

    def test_its_end_is_nobodys_loss(self) -> None:
        house = House()
        house.ready()
        (new,) = house.newcomers()
        for deaths in range(TRIAL_DEATHS):
            assert not house.dispatcher.workers[new].failed_trial, deaths
            house.dispatcher.tick(house.now + 100)
            house.die(new)
        assert house.dispatcher.workers[new].failed_trial
        assert house.dispatcher.health == "ok"
        house.dismiss(new)
        assert list(states(house)) == [0]

    def test_one_that_cannot_load_has_failed_at_once(self) -> None:
        house = House()
        house.ready()
        (new,) = house.newcomers()
        house.dispatcher.received(new, LoadFailed("no weights"), house.now)
        worker = house.dispatcher.workers[new]
        assert (worker.failed_trial, worker.reason) == (True, "no weights")
        house.dismiss(new)
        assert house.forgotten() == [], "its process is still there"
        house.dispatcher.reaped(new, "exit status 1", house.now)
        assert house.forgotten() == [new]

    def test_a_ready_one_does_not_make_the_service_ready(self) -> None:
        house = House()
        (new,) = house.newcomers()
        house.ready(new)
        assert house.dispatcher.health == "starting"
        with pytest.raises(NoWorker):
            house.submit()


class TestLeaving:
    def test_it_ends_what_it_runs_and_goes(self) -> None:
        house = House()
        house.ready()
        old, later = house.submit(), house.submit()
        (new,) = house.newcomers()
        house.ready(new)
        house.take_over([new])
        assert states(house) == {0: WorkerState.LEAVING, new: WorkerState.READY}
        assert house.at(house.submit()) == new
        house.done(old)
        assert house.sent_home() == []
        house.done(later)
        assert (house.sent_home(), states(house)[0]) == ([0], WorkerState.STOPPED)
        house.dispatcher.lost(0, "its pipe closed", house.now)
        house.dispatcher.reaped(0, "exit status 0", house.now)
        assert (house.forgotten(), list(states(house))) == ([0], [new])
        assert house.starts() == [0, new], "nobody is started in its place"

    def test_an_idle_one_goes_at_once(self) -> None:
        house = House()
        house.ready()
        (new,) = house.newcomers()
        house.ready(new)
        house.take_over([new])
        assert house.sent_home() == [0]
        assert house.dispatcher.health == "ok"

    def test_one_whose_listener_hangs_up_goes(self) -> None:
        house = House()
        house.ready()
        job = house.submit()
        house.dismiss(0)
        house.dispatcher.cancel(job, house.now)
        assert house.sent_home() == []
        house.done(job)
        assert house.sent_home() == [0]

    def test_its_death_is_no_reason_for_another(self) -> None:
        """What nobody has heard of runs again, on whoever serves."""
        house = House()
        house.ready()
        unheard, heard = house.submit(), house.submit()
        house.chunk(heard)
        sink(heard).taken = True
        (new,) = house.newcomers()
        house.ready(new)
        house.take_over([new])
        house.die(0)
        assert (house.at(unheard), sink(heard).ending) == (new, "worker_died")
        assert (list(states(house)), house.starts()) == ([new], [0, new])

    @pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.DYING, WorkerState.RESTING])
    def test_from_any_state(self, state: WorkerState) -> None:
        house = House()
        if state is not WorkerState.STARTING:
            house.ready()
            house.die(0)
            house.revive(0)
            house.dispatcher.lost(0, "its pipe closed", house.now)
        if state is WorkerState.RESTING:
            house.dispatcher.reaped(0, "killed by signal 9", house.now)
        assert states(house)[0] is state
        house.dismiss(0)
        if state is not WorkerState.RESTING:
            assert house.forgotten() == []
            house.dispatcher.reaped(0, "killed by signal 9", house.now)
        assert house.forgotten() == [0]
        house.dispatcher.tick(house.now + 1000)
        assert house.starts().count(0) == (1 if state is WorkerState.STARTING else 2)

    def test_one_that_does_not_go_is_killed_once(self) -> None:
        house = House()
        house.ready()
        house.dismiss(0)
        house.now += LEAVE_S
        house.dispatcher.tick(house.now)
        assert house.kills() == [0]
        assert house.dispatcher.due_at() == float("inf")

    def test_one_that_stalls_over_its_last_stream_is_killed(self) -> None:
        house = House(first_chunk_timeout_s=1000)
        house.ready()
        house.submit()
        house.dismiss(0)
        house.now += 60
        house.dispatcher.tick(house.now)
        assert house.kills() == [0]

    def test_the_shutdown_ends_it_too(self) -> None:
        house = House()
        house.ready()
        job = house.submit()
        (new,) = house.newcomers()
        house.ready(new)
        house.take_over([new])
        house.dispatcher.shut_down(house.now)
        assert sink(job).ending == "stopping"
        assert set(house.sent_home()) == {0, new}
        assert house.dispatcher.due_at() == float("inf")


class TestInTurn:
    def test_whoever_finds_nobody_waits(self) -> None:
        house = House()
        house.ready()
        house.dispatcher.handing_over = True
        house.dismiss(0)
        assert house.dispatcher.health == "starting"
        job = house.submit()
        new = house.dispatcher.add(Post(0, None, 2, trial=True))
        house.dispatcher.start_one(new, house.now)
        house.ready(new)
        house.dispatcher.commission(new, house.now)
        assert house.at(job) == new

    def test_a_new_one_that_cannot_load_does_not_end_the_line(self) -> None:
        house = House()
        house.ready()
        house.dispatcher.handing_over = True
        house.dismiss(0)
        job = house.submit()
        new = house.dispatcher.add(Post(0, None, 2, trial=True))
        house.dispatcher.start_one(new, house.now)
        house.dispatcher.received(new, LoadFailed("no weights"), house.now)
        assert job.state is JobState.WAITING

    def test_those_that_leave_keep_no_stream_from_those_of_other_slots(self) -> None:
        house = House(workers=2, streams=1)
        house.ready()
        first, second = house.submit(), house.submit()
        house.dismiss(0)
        house.done(second)
        third = house.submit()
        assert (first.state, house.at(third)) == (JobState.RUNNING, 1)


class TestAdjusting:
    def test_a_higher_cap_lets_in_who_waits(self) -> None:
        house = House(max_concurrency=1)
        house.ready()
        _, waiting = house.submit(), house.submit()
        house.adjust(max_concurrency=2)
        assert waiting.state is JobState.RUNNING

    def test_a_lower_one_breaks_nobody(self) -> None:
        house = House(max_concurrency=3)
        house.ready()
        running = [house.submit() for _ in range(3)]
        house.adjust(max_concurrency=1)
        late = house.submit()
        for job in running[:2]:
            house.done(job)
        assert house.at(late) is None
        house.done(running[2])
        assert house.at(late) == 0

    def test_other_patience(self) -> None:
        house = House(max_concurrency=1)
        house.ready()
        _, waiting = house.submit(), house.submit()
        house.adjust(max_concurrency=1, wait_timeout_s=5)
        house.now += 5
        house.dispatcher.tick(house.now)
        assert sink(waiting).ending == "wait_timeout"
