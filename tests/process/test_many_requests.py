"""A long day's work leaves nothing behind: no thread, process, descriptor, job or memory."""

import contextlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tests import sounds
from tests.engines import expected_pcm
from tests.http.wire import connect, receive_until, reset_on_close, speech
from tests.serving import Script, Server, wait_for

WARM_UP = 50
AT_ONCE = 16
WORKERS = 2
HELPERS = 2
SPARE_THREADS = 3
"""For what is asked of a thread while another still waits; a leak would be one a request."""
MIB = 2**20
GROWTH_MIB = 24
"""What a process may grow by: more than its allocator's moods, less than a leak of one stream's audio a request."""


class Figures(NamedTuple):
    """What one process holds. descriptors: without sockets, which go a while after their clients."""

    threads: int
    descriptors: int
    children: int
    mib: float

    @classmethod
    def of(cls, pid: int) -> "Figures":
        process = psutil.Process(pid)
        descriptors = sum(not link.startswith("socket:") for link in links(pid))
        mib = process.memory_full_info().uss / MIB
        return cls(process.num_threads(), descriptors, len(process.children(recursive=True)), mib)

    def is_within(self, baseline: "Figures") -> bool:
        """Whether it holds no more than before; threads that wait for work come and go."""
        most = baseline._replace(threads=baseline.threads + SPARE_THREADS)
        return all(now <= before for now, before in zip(self[:3], most[:3], strict=True))


def links(pid: int) -> Iterator[str]:
    """What its descriptors stand for."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(entry.readlink())


@pytest.mark.parametrize("requests", [100, pytest.param(2000, marks=[pytest.mark.full, pytest.mark.timeout(1200)])])
def test_many_requests_leave_nothing_behind(requests: int, tmp_path: Path) -> None:
    """One in five goes away: before its first chunk, between chunks, politely or with a reset."""
    dice = random.Random(requests)
    with Server(tmp_path, {"workers": {"count": WORKERS}}) as server:
        warm_up(server, dice, tmp_path)
        server.await_idle()
        pids = [server.pid, *server.worker_pids()]
        before = {pid: Figures.of(pid) for pid in pids}

        for number in range(WARM_UP, WARM_UP + requests):
            request(server, dice, tmp_path, number)

        server.await_idle()
        wait_for(lambda: len(psutil.Process(server.pid).net_connections()) == 1, "every connection to be closed")
        wait_for(lambda: all(Figures.of(pid).is_within(before[pid]) for pid in pids), f"no more than {before}")
        after = {pid: Figures.of(pid) for pid in pids}
        info = server.model_info()
        assert (info["running"], info["waiting"], info["buffered_bytes"]) == (0, 0, 0)
        assert [worker["pid"] for worker in info["workers"]] == pids[1:]
        for pid in pids:
            print(
                f"{requests} requests, {'front end' if pid == server.pid else 'worker'}: {before[pid]} -> {after[pid]}"
            )
            assert after[pid].mib - before[pid].mib < GROWTH_MIB
        assert '"level": "error"' not in server.output()


def warm_up(server: Server, dice: random.Random, folder: Path) -> None:
    """Until there is all that is made when it is first needed: both helpers, and threads for many at once."""
    for number in range(WARM_UP):
        request(server, dice, folder, number)
    with ThreadPoolExecutor(AT_ONCE) as clients:
        while helpers(server) < HELPERS:
            prompts = [sounds.prompt(2, hertz=100 + number) for number in range(AT_ONCE)]
            list(clients.map(lambda prompt: server.speak(text="chunks=1", prompt_wav=prompt), prompts))


def helpers(server: Server) -> int:
    """How many processes decode recordings."""
    return sum("cosyserve.wire.helper_main" in child.cmdline() for child in psutil.Process(server.pid).children())


def request(server: Server, dice: random.Random, folder: Path, number: int) -> None:
    if number % 5 == 0:
        leave_early(server, dice, Script(folder, f"script{number}", at=dice.randrange(4), chunks=8), number)
        return
    chunks, length = dice.randint(1, 10), dice.choice([240, 2400, 24_000])
    upload: dict[str, Any] = {"prompt_wav": sounds.prompt(1 + dice.random())} if number % 7 == 0 else {}
    answer = server.speak(text=f"chunks={chunks} length={length}", seed=number, **upload)
    assert answer.content == expected_pcm(number, chunks, length)


def leave_early(server: Server, dice: random.Random, script: Script, number: int) -> None:
    with connect(server) as connection:
        connection.sendall(speech(script.text, seed=number))
        moment = dice.choice(["at once", "at the gate", "with some audio"])
        if moment != "at once":
            script.await_event("gate")
        if moment == "with some audio" and "chunk 0" in script.events():
            receive_until(connection, expected_pcm(number, 1)[:1000])
        if dice.random() < 0.5:
            reset_on_close(connection)
