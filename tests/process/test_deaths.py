"""Workers that die under their jobs, at every moment: what listeners hear of it."""

import os
import random
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from cosyserve.protocol import Prompt
from tests.process.pools import (
    Gate,
    Journal,
    Listener,
    all_ready,
    assert_suspects_ran_apart,
    freeze,
    kill,
    pid_of,
    replaced,
    running_pool,
    until,
    worker,
)

pytestmark = pytest.mark.anyio
CHUNK_BYTES = 4800


async def test_a_kill_among_ten_streams_breaks_only_what_had_begun_to_sound(journal: Journal, gate: Gate) -> None:
    async with running_pool(workers={"count": 2}) as pool:
        victim, other = pid_of(pool, 0), pid_of(pool, 1)
        unsent = [Listener(pool, f"chunks=6 {gate.word} at=0 {journal.word}", seed) for seed in range(4)]
        sounding = [Listener(pool, f"chunks=6 {gate.word} at=3 {journal.word}", seed) for seed in range(4, 10)]
        await journal.tells("gate", 10)
        for listener in sounding:
            await listener.hears()

        kill(victim)
        await replaced(pool, victim)
        gate.open()
        outcomes = {listener.seed: await listener.outcome() for listener in unsent + sounding}

    by_pid = {pid: {deed.seed for deed in journal.deeds("start") if deed.pid == pid} for pid in (victim, other)}
    assert len(by_pid[victim]) == len(by_pid[other]) == 5
    broken = by_pid[victim] & {listener.seed for listener in sounding}
    assert broken
    assert outcomes == {seed: "worker_died" if seed in broken else "ok" for seed in range(10)}
    for listener in unsent + sounding:
        assert listener.is_cut(6) if listener.seed in broken else listener.is_whole(6)
    retried = [seed for seed in range(10) if len(journal.starts(seed)) == 2]
    assert retried == sorted(by_pid[victim] - broken) != []


async def test_an_only_worker_s_successor_runs_what_was_unsent(journal: Journal, gate: Gate) -> None:
    health: list[str] = []

    def back() -> bool:
        if health[-1:] != [pool.health]:
            health.append(pool.health)
        return worker(pool).pid != victim and pool.health == "ok"

    async with running_pool() as pool:
        victim = pid_of(pool)
        unsent = [Listener(pool, f"{gate.word} at=0 {journal.word}", seed) for seed in range(9)]
        sounding = Listener(pool, f"{gate.word} at=1 {journal.word}", 9)
        waiting = [Listener(pool, journal.word, seed) for seed in range(10, 15)]
        await journal.tells("gate", 10)
        await sounding.hears()
        assert not back()

        kill(victim)
        await until(back, "the successor")
        status = worker(pool)
        gate.open()

        assert await sounding.outcome() == "worker_died"
        assert sounding.is_cut()
        for listener in unsent + waiting:
            assert await listener.outcome() == "ok"
            assert listener.is_whole()
    assert health == ["ok", "starting", "ok"]
    assert (status.restarts, status.reason) == (1, "")
    assert all(len(journal.starts(listener.seed)) == 2 for listener in unsent)
    assert_suspects_ran_apart(journal.deeds())


async def test_what_nobody_has_taken_is_made_again(journal: Journal, gate: Gate) -> None:
    async with running_pool() as pool:
        listener = Listener(pool, f"{gate.word} at=2 {journal.word}", listens=False)
        await until(lambda: pool.state.buffered_bytes == 2 * CHUNK_BYTES, "two chunks in the buffer")
        victim = pid_of(pool)
        kill(victim)
        await replaced(pool, victim)
        listener.listen()
        gate.open()

        assert await listener.outcome() == "ok"
        assert listener.is_whole()


async def test_a_listener_who_leaves_while_the_worker_dies_is_not_tried_again(journal: Journal, gate: Gate) -> None:
    async with running_pool() as pool:
        victim = pid_of(pool)
        leaving = Listener(pool, f"{gate.word} at=0 {journal.word}", 1)
        lost = Listener(pool, f"{gate.word} at=0 {journal.word}", 2)
        await journal.tells("gate", 2)
        # The worker is stopped, so that it cannot answer the Cancel; the other one leaves the line.
        freeze(victim)
        leaving.leave()
        kill(victim)
        await until(lambda: pool.state.waiting == 1, "the retry to stand in line")
        lost.leave()
        await replaced(pool, victim)
        gate.open()
        after = Listener(pool, journal.word, 3)

        assert await after.outcome() == "ok"
        assert (pool.state.running, pool.state.waiting) == (0, 0)
    assert len(journal.starts(1)) == len(journal.starts(2)) == 1


BYTES = (0, 1, 2, 3, 4, 5, 100, 2400, -100, -1)
"""How much of a message's frame is sent: its length (4 bytes), then the pickle; negative counts from its end."""


async def test_a_death_at_any_byte_of_a_first_chunk(tmp_path: Path, journal: Journal) -> None:
    async with running_pool() as pool:
        for k in BYTES:
            pid = pid_of(pool)
            listener = Listener(pool, f"tear={k} torn=0 once={tmp_path}/{k} {journal.word}", seed=500 + k)
            assert await listener.outcome() == "ok", k
            assert listener.is_whole(), k
            await replaced(pool, pid)
            assert journal.starts(500 + k) == [pid, pid_of(pool)]


@pytest.mark.usefixtures("no_backoff")
async def test_a_death_at_any_byte_of_a_later_chunk(tmp_path: Path) -> None:
    async with running_pool() as pool:
        for k in BYTES:
            pid, gate = pid_of(pool), Gate(tmp_path, f"gate{k}")
            listener = Listener(pool, f"tear={k} {gate.word} at=1")
            await listener.hears()
            gate.open()
            assert await listener.outcome() == "worker_died", k
            assert listener.is_cut(), k
            assert len(listener.pcm) == CHUNK_BYTES
            await replaced(pool, pid)


@pytest.mark.parametrize("kib_read", [0, 1, 60, 70, 1000, 5000])
async def test_a_death_while_the_job_with_its_prompt_is_being_read(kib_read: int, journal: Journal, gate: Gate) -> None:
    """30 s at 48 kHz are 5.6 MiB on the pipe."""
    samples = np.random.default_rng(1).uniform(-1, 1, 30 * 48_000).astype(np.float32)
    async with running_pool() as pool:
        victim = psutil.Process(pid_of(pool))
        before = victim.io_counters().read_chars
        listener = Listener(pool, f"{gate.word} at=0 {journal.word}", prompt=Prompt(samples, 48_000, "large"))
        # Watched without giving the event loop a turn: it must not notice before the kill.
        while victim.io_counters().read_chars - before < kib_read * 1024:
            pass
        victim.kill()
        await replaced(pool, victim.pid)
        await journal.tells("gate")
        gate.open()

        assert await listener.outcome() == "ok"
        assert listener.is_whole()


async def test_a_death_while_idle(journal: Journal) -> None:
    async with running_pool() as pool:
        for restarts in (1, 2, 3):
            pid = pid_of(pool)
            kill(pid)
            await replaced(pool, pid)
            assert worker(pool).restarts == restarts
            listener = Listener(pool, journal.word)
            assert await listener.outcome() == "ok"
            assert listener.is_whole()


async def test_a_death_while_starting() -> None:
    async with running_pool(ready=False) as pool:
        victim = pid_of(pool)
        kill(victim)
        await replaced(pool, victim)

        assert worker(pool).restarts == 1
        assert await Listener(pool, "").outcome() == "ok"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_a_terminal_or_a_service_manager_sends_the_group_leaves_workers_alone(number: int) -> None:
    async with running_pool(ready=False) as pool:
        pid = pid_of(pool)
        os.kill(pid, number)  # Hardly born: not a line of Python has run in it.
        await until(lambda: all_ready(pool), "a ready worker")
        os.kill(pid, number)

        assert await Listener(pool, "").outcome() == "ok"
        assert (worker(pool).pid, worker(pool).restarts) == (pid, 0)


async def test_a_request_that_kills_every_worker_it_meets(journal: Journal, gate: Gate) -> None:
    async with running_pool(workers={"count": 2}) as pool:
        victim, other = pid_of(pool, 0), pid_of(pool, 1)
        held = f"{gate.word} at=0 {journal.word}"
        neighbours = [Listener(pool, held, seed) for seed in (10, 20, 11, 21)]
        await journal.tells("gate", 4)
        poison = Listener(pool, f"die=0 {journal.word}", 99)
        await journal.tells("die", 2)
        fresh = [Listener(pool, journal.word, seed) for seed in (30, 31)]
        gate.open()

        assert await poison.outcome() == "worker_died"
        assert poison.pcm == b""
        for listener in neighbours + fresh:
            assert await listener.outcome() == "ok"
            assert listener.is_whole()
        await until(lambda: all_ready(pool), "both workers to be back")

    assert len(journal.starts(99)) == len(set(journal.starts(99))) == 3
    assert journal.starts(99)[0] == victim
    for seed in (20, 21):
        assert journal.starts(seed) == [other]
    assert_suspects_ran_apart(journal.deeds())


@pytest.mark.usefixtures("no_backoff")
async def test_poisonous_requests_in_a_crowd(journal: Journal) -> None:
    """Whatever the mixture: a harmless request ends whole, or broken after it had begun to sound, never unsent."""
    dice = random.Random(5)
    chunks = {seed: dice.randint(1, 9) for seed in range(40)}
    poisonous = {3, 13, 14, 33}
    async with running_pool(workers={"count": 2}) as pool:
        crowd = [
            Listener(pool, f"{'die=0' if seed in poisonous else ''} chunks={chunks[seed]} {journal.word}", seed)
            for seed in chunks
        ]
        for listener in crowd:
            outcome, seed = await listener.outcome(), listener.seed
            if seed in poisonous:
                assert (outcome, listener.pcm) == ("worker_died", b"")
                assert 1 <= len(journal.starts(seed)) <= 3
            elif outcome == "ok":
                assert listener.is_whole(chunks[seed])
            else:
                assert (outcome, listener.is_begun(chunks[seed])) == ("worker_died", True), seed
        await until(lambda: all_ready(pool), "both workers to be back")
        assert (pool.state.running, pool.state.waiting, pool.state.buffered_bytes) == (0, 0, 0)
