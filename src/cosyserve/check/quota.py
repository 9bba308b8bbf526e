"""How much of the machine this process may have: by its affinity and by its container's limits, cgroup v1 and v2."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
MEMBERSHIP = "proc/self/cgroup"
MOUNT = "sys/fs/cgroup"


def cores(root: Path = ROOT) -> int:
    """Processors, one at least. A quota is rounded down: threads over it would all wait for its next period."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, int(min([allowed, *_cpu_quotas(root)])))


def cpu_quota(root: Path = ROOT) -> float | None:
    """What the container may use, in processors; None where nothing limits it."""
    return min(_cpu_quotas(root), default=None)


def available_memory(root: Path = ROOT) -> int:
    """Bytes of main memory that can be had; 0 where nothing tells."""
    left = (limit - used for limit, used in _memory_limits(root))
    return max(0, min([*_machine(root, "MemAvailable"), *left], default=0))


def total_memory(root: Path = ROOT) -> int:
    """Bytes of main memory that this process and its like may fill in all; 0 where nothing tells."""
    return min([*_machine(root, "MemTotal"), *(limit for limit, _ in _memory_limits(root))], default=0)


def _machine(root: Path, name: str) -> list[int]:
    return [int(line.split()[1]) * 1024 for line in _lines(root / "proc/meminfo") if line.startswith(f"{name}:")]


def _cpu_quotas(root: Path) -> Iterator[float]:
    """In processors, of each group that this process is in."""
    for folder in _groups(root, ""):
        quota, _, period = _word(folder / "cpu.max").partition(" ")
        yield from _ratio(quota, period)
    for folder in _groups(root, "cpu"):
        yield from _ratio(_word(folder / "cpu.cfs_quota_us"), _word(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> Iterator[float]:
    """Nothing where there is no limit: `max`, -1, or no such file."""
    if quota.isdecimal() and period.isdecimal() and int(period):
        yield int(quota) / int(period)


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Of each group, and what it uses: files that are cached and not read are given up on demand, and do not count."""
    for controller, limit, used, unread in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in _groups(root, controller):
            most, now = _word(folder / limit), _word(folder / used)
            if most.isdecimal() and now.isdecimal():
                cached = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.split()[0] == unread]
                yield int(most), int(now) - sum(cached)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's own group and of those around it; in version 2 the controller has no name."""
    mount = root / MOUNT
    for line in _lines(root / MEMBERSHIP):
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            top = mount / (controllers if (mount / controllers).is_dir() else controller)
            own = top / path.lstrip("/")
            # In a container without a namespace of its own the path is the host's, which is not there.
            yield from (folder for folder in [own, *own.parents] if folder.is_relative_to(top) and folder.is_dir())


def _word(path: Path) -> str:
    return "".join(_lines(path)[:1]).strip()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
