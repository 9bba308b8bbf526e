"""Helpers: what a job may do to its process, and what that costs others."""

import asyncio
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from cosyserve.errors import HelpersBusy, NoHelper, Stopping
from cosyserve.wire import helper
from cosyserve.wire.helper import Helpers
from cosyserve.wire.helper_process import HelperDied, HelperOutOfMemory, HelperRaised, HelperTimedOut
from tests.process.pools import gone
from tests.serving import DEADLINE_S, ROOT, wait_for

pytestmark = pytest.mark.anyio
JOBS = "tests.jobs"


@pytest.fixture
def helpers() -> Iterator[Helpers]:
    with running() as made:
        yield made


@pytest.fixture
def one() -> Iterator[Helpers]:
    """A single process."""
    with running(count=1) as made:
        yield made


@contextmanager
def running(**how: Any) -> Iterator[Helpers]:
    made = Helpers(JOBS, **how)
    try:
        yield made
    finally:
        made.close()


def call(helpers: Helpers, name: str, *args: object, timeout_s: float = DEADLINE_S) -> Any:
    return helpers.call(f"{JOBS}:{name}", *args, timeout_s=timeout_s)


class Held:
    """A job that waits to be let go. pid: the process that it is in."""

    def __init__(self, helpers: Helpers, folder: Path, name: str = "gate", timeout_s: float = DEADLINE_S) -> None:
        self._gate = folder / name
        self._thread = ThreadPoolExecutor(1)
        self._job = self._thread.submit(call, helpers, "hold", str(self._gate), timeout_s=timeout_s)
        wait_for(Path(f"{self._gate}.pid").exists, "the job to be under way")
        self.pid = int(Path(f"{self._gate}.pid").read_text())

    def let_go(self) -> None:
        self._gate.touch()

    def outcome(self) -> Any:
        try:
            return self._job.result(DEADLINE_S)
        finally:
            self._thread.shutdown()


def waits(helpers: Helpers, jobs: int) -> None:
    wait_for(lambda: len(helpers._waiting) == jobs, f"{jobs} jobs in line")


def load() -> tuple[int, int, int]:
    """Processes, threads and descriptors of this one."""
    process = psutil.Process()
    return len(process.children(recursive=True)), threading.active_count(), process.num_fds()


class TestJobs:
    def test_values_go_there_and_back(self, helpers: Helpers) -> None:
        values = [None, True, 1, 2.5, "text", b"bytes", bytearray(b"more"), [1], {"a": (1, 2)}]
        assert call(helpers, "echo", *values) == values

    def test_large_ones_too(self, helpers: Helpers) -> None:
        large = os.urandom(16 << 20)
        assert call(helpers, "echo", large) == [large]

    async def test_coroutines_have_theirs(self, helpers: Helpers) -> None:
        jobs = [helpers.run(f"{JOBS}:echo", number, timeout_s=DEADLINE_S) for number in range(50)]
        assert await asyncio.gather(*jobs) == [[number] for number in range(50)]

    def test_they_run_side_by_side(self, helpers: Helpers, tmp_path: Path) -> None:
        first, second = Held(helpers, tmp_path, "first"), Held(helpers, tmp_path, "second")
        for job in (first, second):
            job.let_go()
        assert first.outcome() != second.outcome()

    def test_an_exception_is_a_bug_and_harms_nobody(self, one: Helpers) -> None:
        before = call(one, "pid")
        with pytest.raises(HelperRaised, match="ValueError: a bug in a job"):
            call(one, "fail")
        assert call(one, "pid") == before

    def test_the_process_knows_no_secrets_and_stands_in_no_folder(
        self, one: Helpers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COSYSERVE_SERVER__API_KEYS", '["sk-1234"]')
        environment, folder, path = call(one, "environment")
        assert "sk-1234" not in str(environment)
        assert folder == "/"
        assert "/" not in path

    def test_a_hundred_leave_nothing_behind(self, helpers: Helpers) -> None:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: call(helpers, "pid"), range(10)))
            before = load()
            list(threads.map(lambda _: call(helpers, "pid"), range(100)))
            assert load() == before

    def test_a_process_is_retired_in_time(self, one: Helpers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(helper, "RETIRED_AFTER", 3)
        pids = [call(one, "pid") for _ in range(9)]
        assert len(set(pids)) == 3
        assert pids == sorted(pids, key=pids.index)


class TestLosses:
    def test_killed_in_the_middle_of_a_job_which_alone_is_lost(self, one: Helpers, tmp_path: Path) -> None:
        held = Held(one, tmp_path)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(call, one, "pid")
            waits(one, 1)
            os.kill(held.pid, signal.SIGKILL)
            with pytest.raises(HelperDied):
                held.outcome()
            assert waiting.result() != held.pid

    @pytest.mark.parametrize("name", ["abort", "leave"])
    def test_a_crash(self, one: Helpers, name: str) -> None:
        before = call(one, "pid")
        with pytest.raises(HelperDied):
            call(one, name)
        assert call(one, "pid") != before
        assert gone(before)

    def test_a_job_over_its_time(self, one: Helpers, tmp_path: Path) -> None:
        """Whatever it holds on to."""
        before = call(one, "pid")
        with pytest.raises(HelperTimedOut, match=r"longer than 0\.1 s"):
            call(one, "spin", timeout_s=0.1)
        assert call(one, "pid") != before
        with pytest.raises(HelperTimedOut):
            Held(one, tmp_path, timeout_s=0.1).outcome()

    def test_a_job_over_its_memory(self, tmp_path: Path) -> None:
        with running(count=1, memory_bytes=64 << 20) as helpers:
            before = call(helpers, "pid")
            assert call(helpers, "hog", "48") == 48 << 20
            with pytest.raises(HelperOutOfMemory):
                call(helpers, "hog", "80")
            assert call(helpers, "pid") != before
            assert call(helpers, "size", bytes(80 << 20)) == 80 << 20

    def test_killed_between_jobs_costs_none(self, one: Helpers) -> None:
        before = call(one, "pid")
        os.kill(before, signal.SIGKILL)
        assert call(one, "pid") != before

    def test_signals_to_the_group_are_not_for_it(self, one: Helpers) -> None:
        before = call(one, "pid")
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(before, number)
        assert call(one, "pid") == before

    def test_what_it_sends_chooses_no_code_here(self, one: Helpers) -> None:
        with pytest.raises(HelperDied, match="cannot be read"):
            call(one, "trap")
        assert call(one, "echo", 1) == [1]

    def test_what_it_sends_is_bounded(self, one: Helpers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cosyserve.wire.helper_process.MAX_REPLY_BYTES", 1 << 20)
        with pytest.raises(HelperDied, match="cannot be read"):
            call(one, "echo", bytes(1 << 20))
        assert call(one, "echo", 1) == [1]

    def test_what_it_prints_is_for_those_who_ask(self, one: Helpers, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG, "cosyserve.helper.output"):
            call(one, "babble")
            wait_for(lambda: len(caplog.records) == 2, "both lines")
        assert {record.levelno for record in caplog.records} == {logging.DEBUG}
        assert caplog.records[0].getMessage() == "no JSON on stdout"

    def test_deaths_are_in_the_log(self, one: Helpers, log: Callable[[], str]) -> None:
        with pytest.raises(HelperDied):
            call(one, "abort")
        wait_for(lambda: "killed by signal 6" in log(), "the line")
        assert "Fatal Python error" not in log()

    def test_losses_leave_nothing_behind(self, one: Helpers) -> None:
        call(one, "pid")
        before = load()
        for _ in range(5):
            with pytest.raises(HelperDied):
                call(one, "leave")
        call(one, "pid")
        assert load() == before


class TestLine:
    def test_is_bounded(self, one: Helpers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(helper, "QUEUED_JOBS", 2)
        held = Held(one, tmp_path)
        with ThreadPoolExecutor(2) as threads:
            waiting = [threads.submit(call, one, "pid") for _ in range(2)]
            waits(one, 2)
            with pytest.raises(HelpersBusy):
                call(one, "pid")
            held.let_go()
            assert [job.result() for job in waiting] == [held.outcome()] * 2

    def test_nobody_waits_for_ever(self, one: Helpers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        held = Held(one, tmp_path)
        monkeypatch.setattr(helper, "LINE_S", 0)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(call, one, "pid")
            waits(one, 1)
            held.let_go()
            with pytest.raises(HelpersBusy):
                waiting.result()
        held.outcome()

    async def test_who_has_gone_is_passed_over(self, one: Helpers, tmp_path: Path) -> None:
        held = await asyncio.to_thread(Held, one, tmp_path)
        gone_away = asyncio.create_task(one.run(f"{JOBS}:abort", timeout_s=DEADLINE_S))
        await asyncio.to_thread(waits, one, 1)
        gone_away.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone_away
        held.let_go()
        assert await one.run(f"{JOBS}:pid", timeout_s=DEADLINE_S) == held.pid == held.outcome()

    async def test_the_end_tells_everyone(self, tmp_path: Path) -> None:
        helpers = Helpers(JOBS, count=1)
        held = await asyncio.to_thread(Held, helpers, tmp_path)
        waiting = asyncio.create_task(helpers.run(f"{JOBS}:pid", timeout_s=DEADLINE_S))
        await asyncio.to_thread(waits, helpers, 1)
        await asyncio.to_thread(helpers.close)
        with pytest.raises(Stopping):
            await waiting
        with pytest.raises(Stopping):
            held.outcome()
        with pytest.raises(Stopping):
            call(helpers, "pid")
        assert gone(held.pid)


class TestStarting:
    def test_one_process_is_there_ahead_of_the_first_job(self, helpers: Helpers) -> None:
        helpers.start()
        helpers.start()
        # Before it is ready, a job would have another one made.
        wait_for(lambda: helpers._idle, "a process that waits")
        (process,) = helpers._processes
        assert call(helpers, "pid") == process._popen.pid

    def test_without_descriptors_a_job_is_refused_and_later_ones_are_not(self, one: Helpers) -> None:
        victim = call(one, "pid")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (psutil.Process().num_fds() + 1, hard))
        try:
            os.kill(victim, signal.SIGKILL)
            for _ in range(3):
                with pytest.raises(NoHelper):
                    call(one, "pid")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert call(one, "pid") != victim

    def test_a_process_that_never_gets_ready_is_a_refusal(self) -> None:
        helpers = Helpers("tests.no_such_module", count=1)
        for _ in range(2):
            with pytest.raises(NoHelper):
                call(helpers, "pid")
        helpers.close()

    def test_it_goes_with_the_front_end_whatever_it_is_doing(self, tmp_path: Path) -> None:
        code = (
            "import os, signal, sys, threading\n"
            "from cosyserve.wire.helper import Helpers\n"
            "helpers = Helpers('tests.jobs')\n"
            "threading.Thread(target=helpers.call, args=('tests.jobs:hold', sys.argv[1]), kwargs={'timeout_s': 60},\n"
            "                 daemon=True).start()\n"
            "print(helpers.call('tests.jobs:pid', timeout_s=60), flush=True)\n"
            "while not os.path.exists(sys.argv[1] + '.pid'): pass\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "gate")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        pids = {int(done.stdout), int((tmp_path / "gate.pid").read_text())}
        wait_for(lambda: all(gone(pid) for pid in pids), "them to be gone")
