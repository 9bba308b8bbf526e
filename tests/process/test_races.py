"""Death, Cancel, retry and shutdown at the same moment."""

import asyncio
import contextlib
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from cosyserve.errors import Stopping
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


async def test_a_death_while_the_service_stops_is_made_good(journal: Journal, gate: Gate) -> None:
    async with running_pool() as pool:
        victim = pid_of(pool)
        unsent = Listener(pool, f"{gate.word} at=0 {journal.word}", 1)
        await journal.tells("gate")
        pool.stop()
        with pytest.raises(Stopping):
            Listener(pool, journal.word, 2)
        drained = asyncio.create_task(pool.drained())
        kill(victim)
        await replaced(pool, victim)
        assert pool.health == "stopping"
        assert not drained.done()
        gate.open()

        assert await unsent.outcome() == "ok"
        assert unsent.is_whole()
        await drained


async def test_what_runs_and_waits_when_the_pool_closes_is_told_so(journal: Journal, gate: Gate) -> None:
    async with running_pool(model={"streams": 2}) as pool:
        sounding = Listener(pool, f"{gate.word} at=1 {journal.word}", 1)
        unsent = Listener(pool, f"{gate.word} at=0 {journal.word}", 2)
        waiting = Listener(pool, journal.word, 3)
        await sounding.hears()
        await journal.tells("gate", 2)
        await pool.close()

        assert [await listener.outcome() for listener in (sounding, unsent, waiting)] == ["stopping"] * 3
        assert sounding.is_cut()
        assert unsent.pcm == waiting.pcm == b""
        assert journal.starts(3) == []
        assert (pool.state.running, pool.state.waiting, pool.state.buffered_bytes) == (0, 0, 0)
        await pool.close()


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10, 20])
async def test_a_pool_that_closes_while_its_workers_die_starts_no_more(
    turns: int, log: Callable[[], str], journal: Journal, gate: Gate
) -> None:
    async with running_pool(workers={"count": 2}) as pool:
        listeners = [Listener(pool, f"{gate.word} at=0 {journal.word}", seed) for seed in range(4)]
        await journal.tells("gate", 4)
        for index in (0, 1):
            kill(pid_of(pool, index))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        await pool.close()

        assert {await listener.outcome() for listener in listeners} == {"stopping"}
        assert [(worker(pool, index).state, worker(pool, index).pid) for index in (0, 1)] == [("stopped", None)] * 2
        # Whatever was under way on the loop when the pool closed.
        for _ in range(20):
            await asyncio.sleep(0.001)
        await until(
            lambda: log().count("worker starting") == log().count("worker process ended") >= 2,
            "an end in the log for each start",
        )
        assert pool._crew._processes == {}


async def test_a_cancel_that_crosses_the_last_message(journal: Journal, gate: Gate) -> None:
    """The worker has ended the job before it reads of the Cancel: the next job on the stream is not hit by it."""
    async with running_pool(model={"streams": 1}) as pool:
        for seed in range(0, 20, 2):
            leaving = Listener(pool, f"chunks=1 {journal.word}", seed)
            following = Listener(pool, f"chunks=2 {journal.word}", seed + 1)
            # Without a turn of the event loop the Done stays unread.
            pid = pid_of(pool)
            while ("closed", seed, pid) not in journal.deeds():
                pass
            leaving.leave()
            assert await following.outcome() == "ok"
            assert following.is_whole(2)
        assert (pool.state.running, pool.state.waiting) == (0, 0)
        assert worker(pool).restarts == 0


async def test_no_descriptors_left_is_a_death_at_birth_that_heals(log: Callable[[], str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with running_pool(workers={"count": 2}) as pool:
        before = psutil.Process().num_fds()
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        try:
            kill(pid_of(pool, 0))
            await until(lambda: "Too many open files" in worker(pool).reason, "the spawn to fail")
            assert pool.health == "ok"
            assert await Listener(pool, "").outcome() == "ok"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: all_ready(pool), "the worker to be back")
        assert psutil.Process().num_fds() == before
    await logged(log, "cannot spawn a process")


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("thread", ["jobs", "output", "end"])
async def test_no_thread_for_a_process_is_a_death_at_birth_that_heals(
    thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system answers where no memory is left for a thread's stack.

    A descriptor takes its time to close: what two threads close at once is closed twice, and tells.
    """
    start, failing = threading.Thread.start, True
    close = Connection._close  # type: ignore[attr-defined]

    def refuse(self: threading.Thread) -> None:
        if failing and self.name == f"cosyserve-worker-0-{thread}":
            raise RuntimeError("can't start new thread")
        start(self)

    def close_slowly(self: Connection) -> None:
        time.sleep(0.01)
        close(self)

    parent = psutil.Process()
    async with running_pool() as pool:
        before, family = (parent.num_fds(), parent.num_threads()), len(parent.children())
        monkeypatch.setattr(threading.Thread, "start", refuse)
        monkeypatch.setattr(Connection, "_close", close_slowly)
        kill(pid_of(pool))
        await until(lambda: worker(pool).restarts >= 3, "births to fail")
        assert "can't start new thread" in worker(pool).reason
        failing = False
        await until(lambda: all_ready(pool), "the worker to be back")
        await until(lambda: (parent.num_fds(), parent.num_threads()) == before, "what the half-born held")
        assert len(parent.children()) == family
        assert await Listener(pool, "").outcome() == "ok"


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_left_of_a_wild_mixture(seed: int, tmp_path: Path, journal: Journal) -> None:
    """Requests, hang-ups, kills and stops in random order: every listener hears the truth, and nothing stays."""
    dice = random.Random(seed)
    listeners: list[Listener] = []
    left: set[Listener] = set()
    async with running_pool(workers={"count": 2, "stall_timeout_s": 1.0}, limits={"max_concurrency": 6}) as pool:
        for step in range(150):
            match dice.choices(["submit", "leave", "kill", "stop", "turn"], [40, 20, 3, 1, 30])[0]:
                case "submit" if pool.health == "ok":
                    listeners.append(Listener(pool, f"chunks={dice.randint(1, 9)} {journal.word}", step))
                case "leave" if listeners:
                    listener = dice.choice(listeners)
                    listener.leave()
                    left.add(listener)
                case "kill" | "stop" as how if (pid := worker(pool, dice.randrange(2)).pid) is not None:
                    # One that is stopped while it starts is missed only after the start timeout.
                    # It may have been reaped since its status was read.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP if how == "stop" and all_ready(pool) else signal.SIGKILL)
                case _:
                    await asyncio.sleep(dice.random() * 0.02)
        for listener in listeners:
            chunks = int(listener.text.split()[0].removeprefix("chunks="))
            outcome = await listener.outcome()
            if listener in left:
                assert listener.is_begun(chunks) or listener.pcm == b""
            elif outcome == "ok":
                assert listener.is_whole(chunks)
            else:
                assert outcome in {"worker_died", "no_worker"}
                # Even with all of its audio: a death before Done leaves open whether there was more.
                assert listener.is_begun(chunks) or listener.deaths == 3
        await until(lambda: all_ready(pool), "both workers to be back")
        await until(lambda: pool.state.running == 0, "the last Cancels to be answered")
        assert (pool.state.waiting, pool.state.buffered_bytes, len(pool._open_streams)) == (0, 0, 0)
        for number in range(10):
            listener = Listener(pool, "", number)
            assert await listener.outcome() == "ok"
            assert listener.is_whole()
