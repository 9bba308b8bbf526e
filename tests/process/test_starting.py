"""Workers that do not get ready, or turn out useless when they are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cosyserve.errors import NoWorker
from cosyserve.pool.worker import CRASH_LOOP_DEATHS
from tests.process.pools import (
    Gate,
    Journal,
    Listener,
    all_ready,
    kill,
    logged,
    pid_of,
    replaced,
    running_pool,
    until,
    worker,
)

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("no_backoff")
async def test_a_worker_that_exits_at_start_is_a_crash_loop_after_five_deaths(
    log: Callable[[], str],
) -> None:
    async with running_pool("tests.engines:exits_at_start", ready=False) as pool:
        assert pool.health == "starting"
        await until(lambda: pool.health == "unavailable", "the crash loop to be noticed")
        assert worker(pool).restarts == CRASH_LOOP_DEATHS == 5
        assert "exit status 3" in worker(pool).reason
        with pytest.raises(NoWorker, match="no worker can start"):
            Listener(pool, "")
    await logged(log, "worker keeps dying before it is ready")
    await until(lambda: log().count("last words of a worker") >= CRASH_LOOP_DEATHS, "everyone's last words")


@pytest.mark.usefixtures("no_backoff")
async def test_who_waits_is_told_when_no_worker_can_come_back(tmp_path: Path, journal: Journal, gate: Gate) -> None:
    healed = tmp_path / "healed"
    healed.touch()
    # Five deaths, and the rests between them, may take a busy machine longer than the line is patient by default.
    limits: dict[str, object] = {"wait_timeout_s": 300}
    model: dict[str, object] = {"dir": str(tmp_path), "streams": 1}
    async with running_pool("tests.engines:exits_once", model=model, limits=limits) as pool:
        dying = Listener(pool, f"{gate.word} at=0 {journal.word}", 1)
        waiting = Listener(pool, journal.word, 2)
        await journal.tells("gate")
        healed.unlink()
        victim = pid_of(pool)
        kill(victim)

        assert await dying.outcome() == await waiting.outcome() == "no_worker"
        assert pool.health == "unavailable"
        assert (pool.state.running, pool.state.waiting) == (0, 0)

        healed.touch()
        await until(lambda: pool.health == "ok", "the service to heal")
        assert worker(pool).reason == ""
        listener = Listener(pool, journal.word, 3)
        assert await listener.outcome() == "ok"
        assert listener.is_whole()


@pytest.mark.usefixtures("no_backoff")
async def test_one_worker_in_a_crash_loop_leaves_the_service_up(tmp_path: Path) -> None:
    (tmp_path / "healed").touch()
    async with running_pool("tests.engines:exits_once", workers={"count": 2}, model={"dir": str(tmp_path)}) as pool:
        (tmp_path / "healed").unlink()
        kill(pid_of(pool, 0))
        await until(lambda: worker(pool, 0).restarts > CRASH_LOOP_DEATHS, "the crash loop")
        assert pool.health == "ok"
        assert await Listener(pool, "").outcome() == "ok"


async def test_a_worker_that_is_not_ready_in_time_is_killed(log: Callable[[], str]) -> None:
    async with running_pool(
        "tests.engines:hangs_at_start", ready=False, workers={"start_timeout_s": 1, "count": 1}
    ) as pool:
        victim = pid_of(pool)
        await until(lambda: worker(pool).pid not in {None, victim}, "the next attempt")
        assert pool.health == "starting"
        assert "not ready within 1 s (workers.start_timeout_s) (killed by signal 9)" in worker(pool).reason
    await logged(log, "not ready within 1 s")


async def test_a_library_that_hangs_while_it_loads_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosyserve.pool.pool.LEAVE_S", 0.2)
    async with running_pool(
        "tests.process.hostile:freezes_at_start", ready=False, workers={"start_timeout_s": 1}
    ) as pool:
        victim = pid_of(pool)
        await until(lambda: worker(pool).pid not in {None, victim}, "the next attempt")


@pytest.mark.usefixtures("no_backoff")
async def test_an_engine_that_cannot_load_is_not_tried_again(log: Callable[[], str]) -> None:
    async with running_pool("tests.engines:cannot_load", ready=False, workers={"count": 2}) as pool:
        await until(lambda: pool.health == "unavailable", "both to give up")
        await until(lambda: not pool._crew._processes, "both processes to be gone")
        for index in (0, 1):
            status = worker(pool, index)
            assert (status.state, status.restarts, status.pid) == ("unfit", 0, None)
            assert status.reason == "the weights are missing: get them with `make model`"
        with pytest.raises(NoWorker, match="no worker can start"):
            Listener(pool, "")
    await logged(log, "the weights are missing: get them with `make model`")
    assert log().count("worker starting") == 2
    assert "Traceback" not in log()


async def test_a_bug_in_a_factory_is_in_the_log_with_its_trace(log: Callable[[], str]) -> None:
    async with running_pool("tests.engines:raises_at_start", ready=False) as pool:
        await until(lambda: worker(pool).restarts, "a death")
        assert "exit status 1" in worker(pool).reason
    await logged(log, "Traceback (most recent call last)")
    await logged(log, "ValueError: a bug in the factory")
    await logged(log, "in raises_at_start")


async def test_an_engine_that_fails_every_job_must_prove_itself(log: Callable[[], str]) -> None:
    async with running_pool("tests.engines:FailsEveryJob", workers={"count": 1}) as pool:
        victim = pid_of(pool)
        for _ in range(3):
            assert await Listener(pool, "").outcome() == "synthesis_failed"
        await replaced(pool, victim)
        assert worker(pool).restarts == 1
    await logged(log, "the engine fails its self-test")
    await logged(log, "RuntimeError: this engine fails every job")


async def test_failures_of_requests_leave_the_worker_and_its_neighbours_alone(journal: Journal, gate: Gate) -> None:
    async with running_pool() as pool:
        pid = pid_of(pool)
        neighbour = Listener(pool, f"{gate.word} at=1 {journal.word}", 1)
        await journal.tells("gate")
        for script, code in [("fail=0", "synthesis_failed"), ("refuse=0", "unspeakable_text")] * 4:
            failing = Listener(pool, script, 2)
            assert await failing.outcome() == code
            assert failing.pcm == b""
        sounding = Listener(pool, "fail=2", 3)
        assert await sounding.outcome() == "synthesis_failed"
        assert sounding.is_cut()
        gate.open()
        assert await neighbour.outcome() == "ok"
        assert neighbour.is_whole()
        assert (pid_of(pool), worker(pool).restarts) == (pid, 0)


async def test_an_engine_past_use_ends_its_worker_and_the_job_is_tried_again(
    tmp_path: Path, journal: Journal, log: Callable[[], str]
) -> None:
    async with running_pool() as pool:
        victim = pid_of(pool)
        listener = Listener(pool, f"broken=0 once={tmp_path}/once {journal.word}")
        assert await listener.outcome() == "ok"
        assert listener.is_whole()
        await until(lambda: all_ready(pool), "the successor")
        assert journal.starts(1) == [victim, pid_of(pool)]
    await logged(log, "the engine is past use: told to break")
