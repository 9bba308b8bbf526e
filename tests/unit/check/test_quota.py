"""What a container leaves of the machine, read from files as the kernel writes them."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from cosyserve.check.quota import available_memory, cores, cpu_quota, total_memory

GIB = 2**30
MEMINFO = f"MemTotal: {64 * GIB // 1024} kB\nMemFree: 100 kB\nMemAvailable: {40 * GIB // 1024} kB\n"
UNLIMITED = 9223372036854771712
"""What version 1 says where there is no limit."""


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def machine(root: Path, membership: str, files: Mapping[str, object]) -> Path:
    """A root folder with these files in it."""
    for name, text in {"proc/meminfo": MEMINFO, "proc/self/cgroup": membership, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def test_none(tmp_path: Path) -> None:
    assert cores(tmp_path) == 64
    assert available_memory(tmp_path) == total_memory(tmp_path) == 0
    root = machine(tmp_path, "0::/", {})
    assert (cores(root), available_memory(root), total_memory(root)) == (64, 40 * GIB, 64 * GIB)
    assert cpu_quota(root) is None


@pytest.mark.parametrize(
    ("quota", "allowed"), [("400000 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", 64)]
)
def test_processors_in_version_2(tmp_path: Path, quota: str, allowed: int) -> None:
    assert cores(machine(tmp_path, "0::/", {"sys/fs/cgroup/cpu.max": quota})) == allowed


def test_a_quota_as_it_is_set(tmp_path: Path) -> None:
    assert cpu_quota(machine(tmp_path, "0::/", {"sys/fs/cgroup/cpu.max": "150000 100000"})) == 1.5


@pytest.mark.parametrize(("quota", "allowed"), [(300_000, 3), (-1, 64)])
@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
@pytest.mark.parametrize("shown", ["docker/abc", ""], ids=["the host's path", "the container's own"])
def test_processors_in_version_1(tmp_path: Path, quota: int, allowed: int, folder: str, shown: str) -> None:
    group = Path("sys/fs/cgroup", folder, shown)
    files = {f"{group}/cpu.cfs_quota_us": quota, f"{group}/cpu.cfs_period_us": 100_000}
    root = machine(tmp_path, "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/", files)
    assert cores(root) == allowed


def test_the_groups_around_it_count(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/pod/cpu.max": "200000 100000",
        "sys/fs/cgroup/pod/serve/cpu.max": "max 100000",
        "sys/fs/cgroup/pod/memory.max": 8 * GIB,
        "sys/fs/cgroup/pod/memory.current": 5 * GIB,
        "sys/fs/cgroup/pod/serve/memory.max": "max",
        "sys/fs/cgroup/pod/serve/memory.current": GIB,
    }
    root = machine(tmp_path, "0::/pod/serve", files)
    assert (cores(root), available_memory(root), total_memory(root)) == (2, 3 * GIB, 8 * GIB)


def test_cached_files_are_given_up_on_demand(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory.max": 8 * GIB,
        "sys/fs/cgroup/memory.current": 7 * GIB,
        "sys/fs/cgroup/memory.stat": f"anon 1\nactive_file {GIB}\ninactive_file {3 * GIB}",
    }
    assert available_memory(machine(tmp_path, "0::/", files)) == 4 * GIB


@pytest.mark.parametrize(("limit", "left", "total"), [(6 * GIB, 4 * GIB, 6 * GIB), (UNLIMITED, 40 * GIB, 64 * GIB)])
def test_memory_in_version_1(tmp_path: Path, limit: int, left: int, total: int) -> None:
    group = "sys/fs/cgroup/memory/docker/abc"
    files = {f"{group}/memory.limit_in_bytes": limit, f"{group}/memory.usage_in_bytes": 2 * GIB}
    root = machine(tmp_path, "4:memory:/docker/abc", files)
    assert (available_memory(root), total_memory(root)) == (left, total)


def test_here() -> None:
    assert 1 <= cores() <= 64
    assert GIB // 4 < available_memory() <= total_memory()
