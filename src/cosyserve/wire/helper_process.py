"""A helper's process as the front end sees it: its socket, its life, what it prints."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from cosyserve.wire.channel import Channel
from cosyserve.wire.helper_main import BEGUN, OUT_OF_MEMORY, RAISED, READY

START_S = 60.0
"""How long a process may take to be ready, or to take a job."""
END_S = 5.0
"""How long a process that was killed is waited for."""
MAX_REPLY_BYTES = 64 << 20
LONGEST_LOG_LINE = 64 * 1024
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_output_log = logging.getLogger("cosyserve.helper.output")


class HelperFailed(Exception):
    """A process was lost over this job. The message says how."""


class HelperDied(HelperFailed):
    """It crashed, or was killed."""


class HelperTimedOut(HelperFailed):
    """It was killed, for the job took too long."""


class HelperOutOfMemory(HelperFailed):
    """The job wanted more memory than there is for it."""


class HelperRaised(Exception):
    """The job's function raised, which is a bug of ours. The message is the trace."""


class NotBegun(Exception):
    """The process has gone, or does not listen: the job is as it was."""


class HelperProcess:
    """A process, and the front end's end of its socket. jobs: how many it was given."""

    def __init__(
        self, output: int, memory_bytes: int, modules: tuple[str, ...], on_end: "Callable[[HelperProcess], None]"
    ) -> None:
        self.jobs = 0
        self._on_end = on_end
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as half_born:
            half_born.callback(ours.close)
            self._popen = _spawn(theirs.fileno(), output, str(memory_bytes), *modules)
            half_born.pop_all()
        self._channel = Channel(ours, plain=True, most_bytes=MAX_REPLY_BYTES)

    def await_ready(self) -> None:
        """Wait until its modules are imported. Raises TimeoutError, EOFError and others."""
        if self._channel.receive(START_S) != READY:
            raise EOFError("it said something else than that it is ready")

    def perform(self, name: str, args: tuple[Any, ...], timeout_s: float) -> Any:
        """What the function returns. Raises NotBegun, HelperFailed, HelperRaised."""
        self.jobs += 1
        self._begin(name, args)
        how, result = self._result(timeout_s)
        if how == OUT_OF_MEMORY:
            raise HelperOutOfMemory("it wanted more memory than there is for it")
        if how == RAISED:
            raise HelperRaised(result)
        return result

    def kill(self) -> None:
        """SIGKILL, to the processes that it has started too."""
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def end(self) -> str:
        """Kill it where it lives, and wait. Returns how it ended."""
        self._channel.close()
        self.kill()
        self._on_end(self)
        try:
            code = self._popen.wait(END_S)
        except subprocess.TimeoutExpired:
            return "it was killed, and is still there"
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    def _begin(self, name: str, args: tuple[Any, ...]) -> None:
        try:
            self._channel.send((name, args), START_S)
        except OSError as error:
            raise NotBegun from error
        if not self._has_begun():
            raise NotBegun

    def _has_begun(self) -> bool:
        try:
            return bool(self._channel.receive(START_S) == BEGUN)
        except Exception:
            return False

    def _result(self, timeout_s: float) -> tuple[str, Any]:
        try:
            how, result = self._channel.receive(timeout_s)
        except TimeoutError as error:
            raise HelperTimedOut(f"it took longer than {timeout_s:g} s") from error
        except (OSError, EOFError) as error:
            raise HelperDied("it died") from error
        except Exception as error:
            # A process that a stranger's bytes have taken over could send anything.
            raise HelperDied("its answer cannot be read") from error
        return how, result


class HelperOutput:
    """Where the processes' stdout and stderr go: into the log at level debug, line by line.

    Libraries print there what they think of strangers' bytes, which is nobody's concern; a death has a record of its
    own.
    """

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        self._thread = threading.Thread(target=self._relay, name="cosyserve-helper-output", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            os.close(self._reader)
            os.close(self.writer)
            raise

    def close(self) -> None:
        """What was printed is still relayed."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1
            self._thread.join(END_S)

    def _relay(self) -> None:
        with os.fdopen(self._reader, "rb") as lines:
            while line := lines.readline(LONGEST_LOG_LINE):
                if text := line.decode("utf-8", "replace").rstrip():
                    _output_log.debug("%s", text)


def _spawn(end: int, output: int, *arguments: str) -> subprocess.Popen[bytes]:
    """end: of the socket, for the process. output: where it prints."""
    return subprocess.Popen(
        # -P: its folder is not one to import from.
        [sys.executable, "-P", "-m", "cosyserve.wire.helper_main", str(end), str(os.getpid()), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=[end],
        cwd="/",
        env=_environment(),
        process_group=0,
    )


def _environment() -> dict[str, str]:
    """One thread a library, this process's modules, and none of the service's settings: keys may be among them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COSYSERVE_")}
    threads = dict.fromkeys(THREAD_VARIABLES, "1")
    return {**kept, **threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
