"""Jobs for helpers that misbehave; see `cosyserve.wire.helper`.

A recording may say behind its sound what its decoding does first, as WORD=VALUE:

hold=PATH   tell PATH.pid its process, and wait for PATH
abort=1     abort, as a decoder does that has found its own memory damaged
spin=1      go on for ever, with the interpreter's lock held
hog=MIB     take so much memory
babble=1    print on stdout and stderr what is no JSON
"""

import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cosyserve.voices import decoding

POLL_S = 0.005
WORD = re.compile(rb"([a-z]+)=([^ =]+)\Z")


def decode(audio: bytes) -> tuple[bytearray, int, str] | str:
    """What the service's own job does, after what the recording says."""
    if found := WORD.search(audio[-300:]):
        ACTS[found[1].decode()](found[2].decode())
    return decoding.decode(audio)


def echo(*values: object) -> list[object]:
    return list(values)


def size(value: bytes) -> int:
    return len(value)


def pid() -> int:
    return os.getpid()


def environment() -> tuple[dict[str, str], str, list[str]]:
    return dict(os.environ), str(Path.cwd()), sys.path


def hold(path: str) -> int:
    Path(f"{path}.pid.part").write_text(str(os.getpid()))
    Path(f"{path}.pid.part").rename(f"{path}.pid")
    while not Path(path).exists():
        time.sleep(POLL_S)
    return os.getpid()


def abort(_: str = "") -> None:
    os.abort()


def spin(_: str = "") -> None:
    ctypes.PyDLL(None).pause()


def hog(mib: str) -> int:
    return len(bytes(int(mib) << 20))


def fail() -> None:
    raise ValueError("a bug in a job")


def babble(_: str = "") -> int:
    print("no JSON on stdout", flush=True)
    print("no JSON on stderr: \xff", file=sys.stderr, flush=True)
    return os.getpid()


def leave() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Trap:
    """Would be imported, and called, where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.putenv, ("COSYSERVE_TRAPPED", "1")  # type: ignore[return-value]


def trap() -> Trap:
    return Trap()


ACTS: dict[str, Callable[[str], object]] = {
    "hold": hold, "abort": abort, "spin": spin, "hog": hog, "babble": babble
}  # fmt: skip
