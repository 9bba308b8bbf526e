"""A real pool on the test's own event loop, listeners to its streams, and what its engines tell of themselves."""

import asyncio
import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from prometheus_client import Counter

from cosyserve.errors import ServiceError
from cosyserve.pool.job import Job
from cosyserve.pool.pool import Pool
from cosyserve.pool.seam import SpeechPool
from cosyserve.pool.status import WorkerStatus
from cosyserve.protocol import Mode, Prompt
from cosyserve.settings.sections import Settings
from cosyserve.speech.requests import SpeechRequest
from cosyserve.watch.faults import watch_loop
from tests.engines import expected_pcm
from tests.serving import DEADLINE_S, POLL_S, Tables, wait_for

PROMPT = Prompt(np.zeros(16_000, np.float32), 16_000, "a voice")


async def until(condition: Callable[[], object], what: str) -> None:
    """Let the loop run until the condition holds."""
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at, f"waited in vain for {what}"
        await asyncio.sleep(POLL_S)


async def logged(log: Callable[[], str], words: str) -> None:
    """Wait until the log has these words (a thread writes it)."""
    await until(lambda: words in log(), f"{words!r} in the log")


@asynccontextmanager
async def running_pool(
    engine: str = "tests.engines:create", *, ready: bool = True, **sections: dict[str, object]
) -> AsyncIterator[Pool]:
    """A started pool, and an ended one afterwards. ready: wait for every worker first."""
    tables: Tables = {**sections, "model": {"engine": engine, **sections.get("model", {})}}
    pool = Pool(Settings.model_validate(tables))
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    # As the application does; the log is looked through for faults.
    watch_loop(loop, Counter("faults", "Of this pool.", registry=None))
    pool.start()
    try:
        if ready:
            await until(lambda: all_ready(pool), "the workers to be ready")
        yield pool
    finally:
        await pool.close()
        pool.kill()
        loop.set_exception_handler(handler)


def all_ready(pool: Pool) -> bool:
    return all(status.state == "ready" for status in pool.statuses())


def worker(pool: Pool, index: int = 0) -> WorkerStatus:
    return pool.statuses()[index]


def pid_of(pool: Pool, index: int = 0) -> int:
    pid = worker(pool, index).pid
    assert pid is not None
    return pid


async def replaced(pool: Pool, pid: int, index: int = 0) -> None:
    """Wait until another process is ready in this one's place."""
    await until(
        lambda: worker(pool, index).state == "ready" and worker(pool, index).pid != pid, f"a successor of {pid}"
    )


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def freeze(pid: int) -> None:
    """Stop it, and wait until it stands still: a signal needs its time on a busy machine."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, f"{pid} to stand still")


def gone(pid: int) -> bool:
    """Whether it has ended; who should have reaped it does not matter."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Listener:
    """Submits a request and reads its audio as it comes. listens: read from the start, or when told."""

    def __init__(
        self, pool: SpeechPool, text: str, seed: int = 1, *, prompt: Prompt = PROMPT, listens: bool = True
    ) -> None:
        self.text = text
        self.seed = seed
        self.pcm = b""
        self.admitted = pool.submit(SpeechRequest(text, Mode.CROSS_LINGUAL, "", "", prompt, seed=seed))
        self._reading: asyncio.Task[str]
        if listens:
            self.listen()

    def listen(self) -> None:
        """Begin to read."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> str:
        stream = self.admitted.stream
        try:
            while (piece := await stream.take()) is not None:
                self.pcm += piece
        except ServiceError as error:
            return error.code
        finally:
            stream.close()
        return "ok"

    async def outcome(self) -> str:
        """`ok`, or the error's code, at the end."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reading

    async def hears(self) -> None:
        """Wait until something has arrived."""
        await until(lambda: self.pcm, "audio")

    @property
    def deaths(self) -> int:
        """How many workers died under it."""
        job = self.admitted.ticket
        assert isinstance(job, Job)
        return job.deaths

    def leave(self) -> None:
        """Hang up."""
        self.admitted.stream.close()

    def is_whole(self, chunks: int = 3) -> bool:
        """Whether it heard exactly what the script says."""
        return self.pcm == expected_pcm(self.seed, chunks)

    def is_begun(self, chunks: int = 3) -> bool:
        """Whether it heard something, and nothing wrong."""
        return self.pcm != b"" and expected_pcm(self.seed, chunks).startswith(self.pcm)

    def is_cut(self, chunks: int = 3) -> bool:
        """Whether it heard a true beginning and no end."""
        return self.is_begun(chunks) and not self.is_whole(chunks)


class Gate:
    """A file that scripts wait for; `word` goes into their text."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self._path = folder / name
        self.word = f"gate={self._path}"

    def open(self) -> None:
        """Let them go on."""
        self._path.touch()


class Deed(NamedTuple):
    """Something an engine did."""

    event: str
    seed: int
    pid: int


class Journal:
    """The file in which scripts tell what they do; `word` goes into their text."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal"
        self.word = f"events={self._path}"

    def deeds(self, event: str | None = None) -> list[Deed]:
        """Everything, or one kind of it, in order."""
        if not self._path.exists():
            return []
        matches = re.findall(r"^(.*) seed=(\d+) pid=(\d+)$", self._path.read_text(), re.MULTILINE)
        deeds = [Deed(event, int(seed), int(pid)) for event, seed, pid in matches]
        return [deed for deed in deeds if event in {None, deed.event}]

    def starts(self, seed: int) -> list[int]:
        """The pids on which that request was begun, in order."""
        return [deed.pid for deed in self.deeds("start") if deed.seed == seed]

    async def tells(self, event: str, times: int = 1) -> None:
        """Wait until it has happened that often."""
        await until(lambda: len(self.deeds(event)) >= times, f"{times} x {event!r}")


def assert_suspects_ran_apart(deeds: Sequence[Deed]) -> None:
    """A request that has met a death never ran beside one that had met fewer, and on its last try alone."""
    tries: dict[int, int] = defaultdict(int)
    running: dict[int, dict[int, int]] = defaultdict(dict)
    for event, seed, pid in deeds:
        if event == "start":
            tries[seed] += 1
            beside = running[pid]
            assert all(other == tries[seed] for other in beside.values()), (seed, pid, beside)
            assert not (beside and tries[seed] == 3), (seed, pid, beside)
            beside[seed] = tries[seed]
        elif event == "closed":
            running[pid].pop(seed, None)
