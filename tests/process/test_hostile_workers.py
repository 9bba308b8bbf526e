"""Workers that leave things behind, hold things open, say too much, or will not go."""

import asyncio
import threading
from pathlib import Path

import psutil
import pytest

from cosyserve.pool.pool import Pool
from tests.process.hostile import SHOUTED_LINES
from tests.process.pools import (
    Gate,
    Journal,
    Listener,
    gone,
    kill,
    pid_of,
    replaced,
    running_pool,
    until,
    worker,
)

pytestmark = pytest.mark.anyio
HOSTILE = "tests.process.hostile:create"


def grandchild(journal: Journal) -> int:
    return next(int(deed.event.split()[1]) for deed in journal.deeds() if deed.event.startswith("grandchild"))


def pipe_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("cosyserve-worker"))


@pytest.mark.parametrize("kind", ["child", "fork"])
@pytest.mark.parametrize("end", ["", "tear=100"], ids=["between messages", "within a message"])
async def test_what_a_dead_worker_had_started_holds_nothing_up(
    kind: str, end: str, tmp_path: Path, journal: Journal, gate: Gate
) -> None:
    async with running_pool(HOSTILE) as pool:
        threads, victim = pipe_threads(), pid_of(pool)
        script = f"{kind}=0 {end} {gate.word} at=1 once={tmp_path}/once {journal.word}"
        listener = Listener(pool, script)
        await listener.hears()
        assert not gone(grandchild(journal))
        if end:
            gate.open()
        else:
            kill(victim)
        assert await listener.outcome() == "worker_died"
        await replaced(pool, victim)

        await until(lambda: gone(grandchild(journal)), "the grandchild's end")
        await until(lambda: pipe_threads() == threads, "the threads of the dead to end")
        assert await Listener(pool, "").outcome() == "ok"


@pytest.mark.parametrize("kind", ["child", "fork"])
async def test_what_a_worker_had_started_ends_with_it_at_shutdown(kind: str, journal: Journal) -> None:
    async with running_pool(HOSTILE) as pool:
        assert await Listener(pool, f"{kind}=0 {journal.word}").outcome() == "ok"
        assert not gone(grandchild(journal))
    await until(lambda: gone(grandchild(journal)), "the grandchild's end")
    await until(lambda: not pipe_threads(), "its threads' end")


async def test_a_worker_that_closes_its_pipe_and_lives_on_is_replaced(
    tmp_path: Path, journal: Journal, gate: Gate
) -> None:
    async with running_pool(HOSTILE) as pool:
        victim = pid_of(pool)
        beside = Listener(pool, f"{gate.word} at=0 {journal.word}", 2)
        await journal.tells("gate")
        mute = Listener(pool, f"mute=0 once={tmp_path}/once {journal.word}", 1)
        await journal.tells("mute")
        await replaced(pool, victim)
        gate.open()

        for listener in (mute, beside):
            assert await listener.outcome() == "ok"
            assert listener.is_whole()
        assert gone(victim)


async def test_a_flood_of_output_drowns_no_stream(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    async with running_pool(HOSTILE) as pool:
        shouting = Listener(pool, f"shout=1 {journal.word}", 1)
        beside = [Listener(pool, "chunks=30", seed) for seed in range(2, 8)]
        for listener in beside:
            assert await listener.outcome() == "ok"
            assert listener.is_whole(30)
        assert await shouting.outcome() == "ok"
        assert shouting.is_whole()
        await until(lambda: f"shouting {SHOUTED_LINES - 1}" in caplog.messages, "the last line")
        assert worker(pool).restarts == 0


async def test_output_that_looks_like_a_log_line_and_is_none(caplog: pytest.LogCaptureFixture) -> None:
    async with running_pool(HOSTILE) as pool:
        assert await Listener(pool, "babble=0").outcome() == "ok"
        await until(lambda: "after the babble" in caplog.messages, "the line after it")
        assert worker(pool).restarts == 0


@pytest.mark.usefixtures("no_backoff")
async def test_deaths_leave_no_thread_and_no_descriptor() -> None:
    parent = psutil.Process()
    async with running_pool(workers={"count": 3}) as pool:
        await die_all(pool)
        descriptors, threads = parent.num_fds(), pipe_threads()
        for _ in range(3):
            await die_all(pool)

        assert parent.num_fds() <= descriptors
        await until(lambda: pipe_threads() == threads, "the threads of the dead to end")
        assert len(pool._crew._processes) == 3
        assert [status.restarts for status in pool.statuses()] == [4] * 3


async def die_all(pool: Pool) -> None:
    pids = [pid_of(pool, index) for index in range(3)]
    for pid in pids:
        kill(pid)
    for index, pid in enumerate(pids):
        await replaced(pool, pid, index)


async def test_a_worker_that_gets_ready_while_the_pool_closes(tmp_path: Path) -> None:
    """Its Ready comes after Shutdown was sent: it stays dismissed, and nobody takes its place."""
    engine = "tests.process.hostile:ReadyAtTheLastMoment"
    async with running_pool(engine, ready=False, model={"dir": str(tmp_path)}) as pool:
        await until((tmp_path / "asked").exists, "the worker to be nearly ready")
        pid = pid_of(pool)
        closing = asyncio.create_task(pool.close())
        await until(lambda: worker(pool).state == "stopped", "the farewell")
        (tmp_path / "gate").touch()
        await closing

        assert gone(pid)
        assert (worker(pool).state, worker(pool).restarts, worker(pool).pid) == ("stopped", 0, None)


async def test_a_worker_that_will_not_go_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosyserve.pool.pool.LEAVE_S", 0.2)
    async with running_pool("tests.process.hostile:DoesNotClose", workers={"count": 2}) as pool:
        pids = [pid_of(pool, 0), pid_of(pool, 1)]
        await pool.close()

        assert all(gone(pid) for pid in pids)
        assert [worker(pool, index).pid for index in (0, 1)] == [None, None]


async def test_what_an_engine_says_of_itself_crosses_as_text() -> None:
    async with running_pool("tests.process.hostile:OddDetails") as pool:
        assert worker(pool).details == {"dtype": "float16"}


async def test_what_is_no_message_costs_its_worker_and_nobody_else(
    announced: list[str], gate: Gate, tmp_path: Path
) -> None:
    """A fault of the service in a callback of the event loop: told once, and what follows it happens all the same."""
    announced.append("AssertionError: Expected code to be unreachable, but got: 'what is no message'")
    async with running_pool(workers={"count": 2}) as pool:
        victim = pid_of(pool, 0)
        stray = Listener(pool, f"stray=0 once={tmp_path}/once", 1)
        beside = Listener(pool, f"{gate.word} at=0", 2)
        await replaced(pool, victim)
        gate.open()
        assert [await listener.outcome() for listener in (stray, beside)] == ["ok", "ok"]
        assert stray.is_whole()
        assert beside.is_whole()
        assert [status.restarts for status in pool.statuses()] == [1, 0]
