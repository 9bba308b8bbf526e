"""One worker process and the parent's ends of its pipes."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path

from cosyserve.pool import launch
from cosyserve.pool.results import Results
from cosyserve.protocol import FromWorker, ToWorker
from cosyserve.wire.queues import Outbox
from cosyserve.wire.worker_spec import GROUP_SIGNALS, WorkerSpec

QUEUED_MESSAGES = 256
"""Per direction. Jobs are bounded by the engine's streams, so only a worker that has stopped reading reaches it."""
PIPE_END_S = 2.0
"""How long the pipes of an ended process are waited for."""
ABORTED_S = 5.0
"""How long a process that was killed at its birth is waited for."""
LOOK_S = 1.0
"""How often an end is looked for that its pipe does not tell: a grandchild that inherited it keeps it open."""
LONGEST_LOG_LINE = 64 * 1024

_spawn = multiprocessing.get_context("spawn")


class WorkerProcess:
    """Spawned when made, on the event loop; where that fails half-way, nothing is left of it.

    on_message: a message came, told on the loop; the others are told on this object's threads. on_output: a line that
    the process printed. on_lost: its pipe has closed, and its end is waited for, so whoever has not told it to go kills
    it now. on_gone: how it ended; comes last, and once.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        on_message: Callable[[FromWorker], None],
        on_output: Callable[[bytes], None],
        on_lost: Callable[[], None],
        on_gone: "Callable[[WorkerProcess, str], None]",
    ) -> None:
        self._name = f"cosyserve-worker-{spec.index}"
        self._on_lost = on_lost
        self._on_gone = on_gone
        self._reaped = False
        self._loop = asyncio.get_running_loop()
        self._no_more = threading.Event()
        """Its pipe has closed, and every message was handled."""
        self._pipe_threads: list[Outbox | threading.Thread] = []
        with contextlib.ExitStack() as half_born:
            jobs_reader, self._jobs = _pipe(half_born)
            self._results, results_writer = _pipe(half_born)
            self._printed, output_writer = _pipe(half_born)
            childs_ends = (jobs_reader, results_writer, output_writer)
            # Daemonic: should the parent end without `close`, multiprocessing must not wait for it at exit.
            self._process = _spawn.Process(target=launch.run, args=(spec, *childs_ends), name=self._name, daemon=True)
            _stand_on_ground()
            with _group_signals_blocked():
                self._process.start()
            assert self._process.pid is not None
            self.pid: int = self._process.pid
            half_born.callback(self._abort)
            for end in childs_ends:
                # With the child the only holder, its death closes the pipe.
                end.close()
            self._outbox = Outbox(self._jobs, QUEUED_MESSAGES, f"{self._name}-jobs")
            self._pipe_threads.append(self._outbox)
            half_born.callback(self._outbox.close)
            output = threading.Thread(
                target=_read_lines, args=(self._printed, on_output), name=f"{self._name}-output", daemon=True
            )
            output.start()
            self._pipe_threads.append(output)
            self._messages = Results(self._results, self._loop, on_message, self._no_more.set)
            half_born.callback(self._messages.close)
            # The last one: from here on its end is seen.
            threading.Thread(target=self._see_off, name=f"{self._name}-end", daemon=True).start()
            half_born.pop_all()

    def send(self, message: ToWorker) -> None:
        """Queue a message. Raises QueueFull, QueueClosed."""
        self._outbox.put_nowait(message)

    def close(self) -> None:
        """Close the job pipe once what was queued is sent: the worker leaves."""
        self._outbox.close()

    def kill(self) -> None:
        """SIGKILL, to the processes that it has started too."""
        if self._reaped:
            return
        # The group is there as soon as the process has made it.
        for send in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                send(self.pid, signal.SIGKILL)

    def _see_off(self) -> None:
        """Wait for the pipe's end, or for the process's where that comes without it."""
        while not self._no_more.wait(LOOK_S):
            if self._has_ended():
                self._finish()
                break
        self._on_lost()
        try:
            ending = self._reap()
        except Exception as error:
            # Whatever it was: the slot goes to the next process.
            ending = f"its end was not seen: {error}"
        self._on_gone(self, ending)

    def _has_ended(self) -> bool:
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        except ChildProcessError:
            return True

    def _finish(self) -> None:
        """Have handled what is still in the pipe. After the loop has closed there is nobody left to tell."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._messages.finish)
            self._no_more.wait(PIPE_END_S)

    def _reap(self) -> str:
        """Wait for the process's end, then for its pipes'. Returns how it ended."""
        with contextlib.suppress(ChildProcessError):
            # While it is not reaped, its number is no other process's, and no other group's.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
        self._reaped = True
        self._process.join()
        code = self._process.exitcode
        self._outbox.close()
        self._join_pipe_threads()
        self._close()
        if code is None:
            return "ended"
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    def _close(self) -> None:
        """Its descriptors would wait for the garbage collector."""
        with contextlib.suppress(ValueError):
            self._process.close()

    def _abort(self) -> None:
        """It was born, and cannot be looked after."""
        self.kill()
        self._process.join(ABORTED_S)
        self._join_pipe_threads()
        self._close()

    def _join_pipe_threads(self) -> None:
        """Wait until each has closed its end.

        Were it closed here at the same time, the second to do so might close a descriptor that is somebody else's.
        """
        for pipe_thread in self._pipe_threads:
            pipe_thread.join(timeout=PIPE_END_S)


def _pipe(half_born: contextlib.ExitStack) -> tuple[Connection, Connection]:
    """Read end and write end, both closed where its process is not born whole."""
    reader, writer = _spawn.Pipe(duplex=False)
    for end in (reader, writer):
        half_born.callback(end.close)
    return reader, writer


def _stand_on_ground() -> None:
    """A process cannot be spawned from a working directory that has been deleted: then it is the root's."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir("/")


@contextlib.contextmanager
def _group_signals_blocked() -> Iterator[None]:
    # Started by the first spawn otherwise, and that unblocks them.
    resource_tracker.ensure_running()
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)


def _read_lines(connection: Connection, on_output: Callable[[bytes], None]) -> None:
    with connection, os.fdopen(os.dup(connection.fileno()), "rb") as lines:
        while line := lines.readline(LONGEST_LOG_LINE):
            on_output(line)
