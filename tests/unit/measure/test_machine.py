"""This machine, and the memory of processes on it."""

import asyncio
import os

import pytest

from cosyserve.client.measure import machine
from cosyserve.client.measure.memory import MemoryWatch, resident


def test_this_machine() -> None:
    facts = machine.facts()
    assert str(len(os.sched_getaffinity(0))) in facts["cores"]
    assert "GiB" in facts["memory that it may fill"]
    assert all(facts.values())


def test_memory_of_processes_as_long_as_they_are_there() -> None:
    watch = MemoryWatch()
    watch.pids = [os.getpid(), os.getpid(), 2**22 + 1]
    asyncio.run(watch.look())
    (sample,) = watch.samples
    mine = resident(os.getpid())
    assert mine
    assert sample.front_end == pytest.approx(mine, rel=0.5)
    assert watch.peaks() == {"front end": sample.front_end, "workers together": sample.workers}


def test_memory_of_nobody() -> None:
    watch = MemoryWatch()
    asyncio.run(watch.look())
    assert "front end" not in watch.peaks()
