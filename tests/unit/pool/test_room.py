"""Whether a second set of workers has room."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosyserve.pool.room import lacks_room, resident_bytes
from cosyserve.settings.sections import Settings
from tests.serving import wait_for

MIB = 2**20
NATIVE = Settings.model_validate({"model": {"engine": "native"}})
# It and a child of its own, with so much memory each, until its standard input ends.
HOLDING = """\
import os, sys
held = b"x" * (40 * 2**20)
if child := os.fork():
    print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def group() -> Iterator[int]:
    """The leader of a process group that has 80 MiB and more."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    ) as leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == b"holding\n"
        yield leader.pid


def test_a_workers_memory_is_its_groups(group: int) -> None:
    wait_for(lambda: resident_bytes([group]) > 80 * MIB, "both to be counted")
    assert resident_bytes([]) == 0


def test_main_memory(group: int) -> None:
    cpu = Settings.model_validate({"model": {"device": "cpu"}})
    assert lacks_room(cpu, [group], 1) == ""
    assert lacks_room(cpu, [group], 1e6).startswith("main memory: the old workers take ")


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, *rows: str) -> None:
    """A machine with these GPUs: index, used, free."""
    program = folder / "nvidia-smi"
    lists = "\n".join(row.partition(",")[0] for row in rows)
    asked = f'case "$*" in *memory*) printf "%s\\n" "{chr(10).join(rows)}";; *) printf "%s\\n" "{lists}";; esac'
    program.write_text(f"#!/bin/sh\n{asked}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_memory_of_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, monkeypatch, "0, 9000 MiB, 15000 MiB", "1, 9000 MiB, 15000 MiB")
    assert lacks_room(NATIVE, [], 1) == ""
    assert lacks_room(NATIVE, [], 2) == "memory of GPU 0: 9000 MiB are in use, and 15000 MiB are free"
    smi(tmp_path, monkeypatch, "0, 9000 MiB, 15000 MiB", "1, 14000 MiB, 10000 MiB")
    assert "GPU 1" in lacks_room(NATIVE, [], 1)
    for settings in ({"model": {"engine": "native", "device": "cpu"}}, {"model": {"engine": "demo"}}):
        assert lacks_room(Settings.model_validate(settings), [], 1) == ""


def test_what_the_driver_does_not_tell_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of MIG's slices: to be wrong would cost streams."""
    smi(tmp_path, monkeypatch, "0, [N/A], [N/A]")
    assert "does not tell" in lacks_room(NATIVE, [], 1)
