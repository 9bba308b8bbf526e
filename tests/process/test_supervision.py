"""A server whose machine runs out of things: it loses no slot, and it ends when it is told to."""

import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from tests.engines import expected_pcm
from tests.process.pools import gone, kill
from tests.serving import Script, Server, Tables, wait_for

MIB = 2**20


@contextlib.contextmanager
def short_of(server: Server, what: int, limit: int) -> Iterator[None]:
    """The front end alone has so little of a resource; the workers that run already have what they had."""
    before = resource.prlimit(server.pid, what)
    resource.prlimit(server.pid, what, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, what, before)


def kin(server: Server) -> set[int]:
    return {child.pid for child in psutil.Process(server.pid).children(recursive=True)}


def heals(server: Server, victim: int, family: int) -> None:
    """The only worker is replaced, nobody unowned is left, and it speaks."""

    def replaced() -> bool:
        (worker,) = server.model_info()["workers"]
        return (worker["state"], worker["pid"] == victim) == ("ready", False)

    wait_for(replaced, "the replacement")
    assert len(kin(server)) == family
    answer = server.speak(text="chunks=2", seed=5)
    assert answer.content == expected_pcm(5, 2), answer.text


def test_a_worker_that_dies_while_there_is_no_memory(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        # Whatever a worker dies of, which inherits the limit.
        server.announce("")
        (victim,), family = server.worker_pids(), len(kin(server))
        # What the front end itself needs meanwhile is less.
        with short_of(server, resource.RLIMIT_AS, psutil.Process(server.pid).memory_info().vms + 4 * MIB):
            kill(victim)
            wait_for(lambda: len(server.logs("worker lost")) >= 2, "a birth that fails", poll_s=0.1)
        heals(server, victim, family)
        assert not server.logs("internal error")


def test_a_worker_that_dies_while_there_are_no_descriptors(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        (victim,), family = server.worker_pids(), len(kin(server))
        with short_of(server, resource.RLIMIT_NOFILE, 5):
            kill(victim)
            wait_for(lambda: len(server.logs("worker process ended")) == 1, "its burial")
            wait_for(lambda: len(server.logs("worker lost")) >= 2, "a birth that fails")
        heals(server, victim, family)


def test_a_worker_that_dies_after_the_working_directory(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    with Server(tmp_path, cwd=here) as server:
        (victim,), family = server.worker_pids(), len(kin(server))
        here.rmdir()
        kill(victim)
        heals(server, victim, family)


def test_a_front_end_that_was_stopped_holds_nobody_to_be_overdue(tmp_path: Path) -> None:
    """What came meanwhile is read first: the worker has beaten all the time."""
    script = Script(tmp_path, at=1, chunks=3)
    with Server(tmp_path, {"workers": {"stall_timeout_s": 1}}) as server:
        with server.stream(text=script.text, seed=3) as answer:
            script.await_event("gate")
            server.signal(signal.SIGSTOP)
            # The time itself is what the test is about.
            time.sleep(3)
            server.signal(signal.SIGCONT)
            wait_for(lambda: server.health() == "ok", "it to go on")
            script.open_gate()
            assert answer.read() == expected_pcm(3, 3)
        assert not server.logs("worker lost")


class HalfRead(Server):
    """Its log goes through a pipe that is read until `stop_reading`."""

    def __init__(self, tmp_path: Path, settings: Tables) -> None:
        super().__init__(tmp_path, settings)
        self.stop_reading = threading.Event()

    def open_log(self) -> IO[bytes]:
        """The pipe."""
        reader, writer = os.pipe()
        threading.Thread(target=self._copy, args=(reader,), daemon=True).start()
        return os.fdopen(writer, "wb")

    def _copy(self, reader: int) -> None:
        with super().open_log() as log:
            while not self.stop_reading.is_set() and (piece := os.read(reader, 4096)):
                log.write(piece)
                log.flush()
        # Open still: it is full, not broken.
        self._kept = reader


@pytest.mark.parametrize("words", ["chunks=3", "chunks=3 shout=1"], ids=["a few lines", "more than are kept"])
def test_whoever_reads_the_log_stops_reading(tmp_path: Path, words: str) -> None:
    with HalfRead(tmp_path, {"model": {"engine": "tests.process.hostile:create"}}) as server:
        family = kin(server)
        server.stop_reading.set()
        # The first to be answered may still be read of; by the second nobody reads.
        for seed in (1, 2):
            assert server.speak(text=words, seed=seed).content == expected_pcm(seed, 3)
        if "shout" in words:
            wait_for(lambda: metric(server, "cosyserve_log_records_dropped_total"), "lines to be dropped, and counted")
        server.terminate()
        assert server.wait_exit() == 0
        wait_for(lambda: all(map(gone, family)), "its processes to be gone")


def metric(server: Server, name: str) -> float:
    lines = server.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name))
