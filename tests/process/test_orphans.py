"""The server killed outright: whatever it had started goes with it."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.process.pools import gone
from tests.serving import ROOT, Script, Server, Tables, wait_for


def family(server: Server, workers: int) -> list[int]:
    """The workers, what they have started, the helpers, and multiprocessing's resource tracker."""
    pids = [child.pid for child in psutil.Process(server.pid).children(recursive=True)]
    assert len(pids) >= workers + 1
    return pids


def kill_and_wait(server: Server, pids: list[int]) -> None:
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait_exit() == -signal.SIGKILL
    wait_for(lambda: all(gone(pid) for pid in pids), "the whole family to be gone")


def test_idle_workers_go(tmp_path: Path) -> None:
    with Server(tmp_path, {"workers": {"count": 2}}) as server:
        kill_and_wait(server, family(server, 2))


def test_busy_workers_go(tmp_path: Path) -> None:
    """Whatever state their engines are in, and with what those have started."""
    settings: Tables = {"workers": {"count": 2}, "model": {"engine": "tests.process.hostile:create"}}
    with Server(tmp_path, settings) as server, ExitStack() as streams:
        for word in ("hang=1", "hang=1", "deaf=1", "deaf=1", "child=0", "fork=0", "shout=1", "chunks=1000"):
            script = Script(tmp_path, word, at=2)
            streams.enter_context(server.stream(text=f"{script.text} {word}"))
        kill_and_wait(server, family(server, 2 + 2))


def test_what_an_engine_has_started_while_it_loads_goes(tmp_path: Path) -> None:
    settings: Tables = {"workers": {"count": 2}, "model": {"engine": "tests.process.hostile:child_at_start"}}
    with Server(tmp_path, settings, await_health="starting") as server:
        # Two workers, a grandchild each, a helper, and the tracker.
        wait_for(lambda: len(psutil.Process(server.pid).children(recursive=True)) == 6, "both engines to be loading")
        kill_and_wait(server, family(server, 2))


@pytest.mark.parametrize("mib", [0, 16, *(pytest.param(size, marks=pytest.mark.full) for size in (8, 24))])
def test_workers_that_are_being_born_go(mib: int) -> None:
    """There is no moment between the spawn and Ready at which one would stay."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.process.born", str(mib)], cwd=ROOT, stdout=subprocess.PIPE, check=False
    )
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in done.stdout.decode().partition("pids ")[2].split()]
    assert len(pids) == 3
    wait_for(lambda: all(gone(pid) for pid in pids), "the whole family to be gone")
