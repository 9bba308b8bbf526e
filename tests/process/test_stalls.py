"""Workers that live and do not move."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.pools import (
    Gate,
    Journal,
    Listener,
    all_ready,
    freeze,
    logged,
    pid_of,
    replaced,
    running_pool,
    until,
    worker,
)

pytestmark = pytest.mark.anyio
IMPATIENT: dict[str, object] = {"stall_timeout_s": 1.5}


@pytest.mark.parametrize("how", ["hang", "freeze"])
async def test_a_hang_costs_the_worker_its_life_and_the_job_is_tried_again(
    how: str, tmp_path: Path, journal: Journal, log: Callable[[], str]
) -> None:
    async with running_pool("tests.process.hostile:create", workers=IMPATIENT) as pool:
        victim = pid_of(pool)
        listener = Listener(pool, f"{how}=0 once={tmp_path}/once {journal.word}")
        assert await listener.outcome() == "ok"
        assert listener.is_whole()
        assert journal.starts(1) == [victim, pid_of(pool)]
        assert worker(pool).restarts == 1
    await logged(log, "no sign of life for 1.5 s while it had work (workers.stall_timeout_s)")


async def test_a_hang_after_the_first_chunk_breaks_the_stream(journal: Journal) -> None:
    async with running_pool(workers=IMPATIENT) as pool:
        victim = pid_of(pool)
        listener = Listener(pool, f"hang=1 {journal.word}")
        assert await listener.outcome() == "worker_died"
        assert listener.is_cut()
        await replaced(pool, victim)
        assert journal.starts(1) == [victim]


async def test_a_worker_that_was_stopped_counts_as_hung(journal: Journal, gate: Gate) -> None:
    async with running_pool(workers=IMPATIENT) as pool:
        victim = pid_of(pool)
        freeze(victim)
        listener = Listener(pool, journal.word)
        assert await listener.outcome() == "ok"
        assert listener.is_whole()
        assert victim not in journal.starts(1)


async def test_steps_without_audio_are_signs_of_life(journal: Journal, gate: Gate) -> None:
    async with running_pool(workers=IMPATIENT) as pool:
        slow = Listener(pool, f"{gate.word} at=0 {journal.word}", 1)
        await journal.tells("gate")
        # As long as it takes another worker's stall to be noticed, this one is asked nothing and only beats.
        heard: set[float] = set()

        def beats() -> int:
            heard.add(pool._dispatcher.workers[0]._heard_at)
            return len(heard)

        await until(lambda: beats() >= 6, "heartbeats over twice the stall timeout")
        gate.open()
        assert await slow.outcome() == "ok"
        assert worker(pool).restarts == 0


async def test_an_unanswered_cancel_is_a_stall_though_others_beat(journal: Journal, gate: Gate, tmp_path: Path) -> None:
    async with running_pool(workers=IMPATIENT) as pool:
        victim = pid_of(pool)
        beating = Listener(pool, f"{gate.word} at=0 {journal.word}", 1)
        deaf = Listener(pool, f"{gate.word} at=0 deaf=0 {journal.word}", 2)
        await journal.tells("gate", 2)
        deaf.leave()
        await replaced(pool, victim)
        gate.open()

        assert await beating.outcome() == "ok"
        assert beating.is_whole()
        assert len(journal.starts(2)) == 1
        assert (pool.state.running, pool.state.waiting) == (0, 0)


async def test_a_cancelled_job_s_stream_is_free_again_only_when_the_engine_has_let_go(
    journal: Journal, gate: Gate
) -> None:
    async with running_pool(model={"streams": 1}) as pool:
        deaf = Listener(pool, f"{gate.word} at=0 deaf=0 {journal.word}", 1)
        await journal.tells("gate")
        deaf.leave()
        following = Listener(pool, journal.word, 2)
        assert (pool.state.running, pool.state.waiting) == (1, 1)
        gate.open()

        assert await following.outcome() == "ok"
        events = [(deed.event, deed.seed) for deed in journal.deeds()]
        assert events.index(("closed", 1)) < events.index(("start", 2))
        assert pid_of(pool) == journal.starts(2)[0]
        assert all_ready(pool)
