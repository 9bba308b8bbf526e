"""A helper's process: one job at a time, each within its memory, until the front end is gone.

A job is a function by name (`module:function`) and its arguments; what it returns is plain values. Nothing here or
above here in the import chain may load numpy: the modules of the jobs are imported when they are named.
"""

import contextlib
import ctypes
import faulthandler
import importlib
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cosyserve.wire.channel import Channel

READY, BEGUN = "ready", "begun"
RETURNED, RAISED, OUT_OF_MEMORY = "returned", "raised", "out of memory"
_PR_SET_PDEATHSIG = 1


def main(number: str, parent: str, memory_bytes: str, *modules: str) -> None:
    """number: of the socket's descriptor. parent: the front end's process. modules: imported ahead of the first job."""
    _end_with(int(parent))
    faulthandler.enable()
    # A crash is the upload's own affair: no image of this process on the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel = Channel(socket.socket(fileno=int(number)))
    for module in modules:
        importlib.import_module(module)
    channel.send(READY)
    with contextlib.suppress(EOFError):
        while True:
            name, args = channel.receive()
            channel.send(BEGUN)
            channel.send(_perform(name, args, memory_bytes=int(memory_bytes)))


def _end_with(parent: int) -> None:
    """The kernel kills this process when the thread that started it ends, whatever a C library is doing then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def _perform(name: str, args: tuple[Any, ...], *, memory_bytes: int) -> tuple[str, Any]:
    """How it ended, and what it returned or its trace."""
    try:
        module, _, function = name.partition(":")
        with _memory_within(memory_bytes):
            return RETURNED, getattr(importlib.import_module(module), function)(*args)
    except MemoryError:
        return OUT_OF_MEMORY, None
    except Exception:
        return RAISED, traceback.format_exc()


@contextlib.contextmanager
def _memory_within(more_bytes: int) -> Iterator[None]:
    """Let the process grow by so much and no further."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _address_space() + more_bytes
    if before != resource.RLIM_INFINITY:
        most = min(most, before)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def _address_space() -> int:
    """Bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main(*sys.argv[1:])
