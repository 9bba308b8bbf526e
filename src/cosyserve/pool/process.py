"""One worker process and the parent's ends of its pipes."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

from cosyserve.pool import launch
from cosyserve.protocol import FromWorker, ToWorker
from cosyserve.wire.queues import Inbox, Outbox

QUEUED_MESSAGES = 256
"""Per direction. Jobs are bounded by the engine's streams, so only a worker that has stopped reading reaches it."""
PIPE_END_S = 2.0
"""How long the pipes of an ended process are waited for."""
LONGEST_LOG_LINE = 64 * 1024

_spawn = multiprocessing.get_context("spawn")


class WorkerProcess:
    """Spawned when made. The callbacks run on this object's threads, `on_lost` last and once.

    on_message: a message came. on_output: a line that the process printed. on_lost: its pipe has closed.
    """

    def __init__(
        self,
        spec: launch.WorkerSpec,
        on_message: Callable[[FromWorker], None],
        on_output: Callable[[bytes], None],
        on_lost: Callable[[], None],
    ) -> None:
        name = f"cosyserve-worker-{spec.index}"
        jobs_reader, jobs_writer = _spawn.Pipe(duplex=False)
        results_reader, results_writer = _spawn.Pipe(duplex=False)
        output_reader, output_writer = _spawn.Pipe(duplex=False)
        childs_ends = (jobs_reader, results_writer, output_writer)
        # Daemonic: should the parent end without `close`, multiprocessing must not wait for it at exit.
        self._process = _spawn.Process(target=launch.run, args=(spec, *childs_ends), name=name, daemon=True)
        with _group_signals_blocked():
            self._process.start()
        for end in childs_ends:
            # With the child the only holder, its death closes the pipe.
            end.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self._reaped = False
        self._outbox = Outbox(jobs_writer, QUEUED_MESSAGES, f"{name}-jobs")
        self._inbox = Inbox(results_reader, on_message, on_lost, f"{name}-results", self._process.is_alive)
        self._output = threading.Thread(
            target=_read_lines, args=(output_reader, on_output), name=f"{name}-output", daemon=True
        )
        self._output.start()

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

    def join(self) -> str:
        """Wait for the process's end, then for its pipes'. Blocks. Returns how it ended."""
        with contextlib.suppress(ChildProcessError):
            # While it is not reaped, its number is no other process's, and no other group's.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
        self._reaped = True
        self._process.join()
        code = self._process.exitcode
        self._outbox.close()
        for pipe_thread in (self._outbox, self._inbox, self._output):
            pipe_thread.join(timeout=PIPE_END_S)
        with contextlib.suppress(ValueError):
            # Its descriptors would wait for the garbage collector.
            self._process.close()
        if code is None:
            return "ended"
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


@contextlib.contextmanager
def _group_signals_blocked() -> Iterator[None]:
    # Started by the first spawn otherwise, and that unblocks them.
    resource_tracker.ensure_running()
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, launch.GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)


def _read_lines(connection: Connection, on_output: Callable[[bytes], None]) -> None:
    with connection, os.fdopen(os.dup(connection.fileno()), "rb") as lines:
        while line := lines.readline(LONGEST_LOG_LINE):
            on_output(line)
