"""How `cosyserve reload` finds a running server on this machine and talks with it: a socket of the kernel's own names.

Such a name needs no file, so nothing is left behind and a read-only disk is no matter. One line asks; lines of JSON
answer: `{"says": TEXT}` each, the last with `"taken": true` or false.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

RELOAD = b"reload\n"
SOCKETS = Path("/proc/net/unix")
"""The kernel's list; a name of its own has @ for the null in front."""
_PREFIX = "cosyserve"


class Control(NamedTuple):
    """Where a server is told to reload. pid: its process. port: that it listens on."""

    pid: int
    port: int

    @property
    def address(self) -> str:
        """The socket's name."""
        return f"\0{_PREFIX}/{self.pid}/{self.port}"


def running(sockets: Path = SOCKETS) -> list[Control]:
    """Those of the servers that run here, in this network namespace. Raises OSError."""
    return sorted(set(_controls(sockets.read_text(errors="replace").splitlines())))


def _controls(lines: list[str]) -> Iterator[Control]:
    for line in lines:
        name = line.rpartition(" ")[2]
        prefix, *numbers = name.split("/")
        if prefix == f"@{_PREFIX}" and len(numbers) == 2 and all(number.isdecimal() for number in numbers):
            yield Control(int(numbers[0]), int(numbers[1]))


def line(says: str, taken: bool | None = None) -> bytes:
    """One of the answer's. taken: the verdict, which ends it."""
    verdict = {} if taken is None else {"taken": taken}
    return json.dumps({"says": says, **verdict}).encode() + b"\n"
