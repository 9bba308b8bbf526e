"""Whether new workers find memory beside the old ones: as much as the old ones take, by what the system tells."""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from cosyserve.check.nvidia import NoGpuError, gpu_is_listed, query_gpus
from cosyserve.check.quota import available_memory
from cosyserve.settings.sections import Settings

PROCESSES = Path("/proc")
RESERVE = 1.1
"""What is asked for, beside what the old ones take: two loads are never alike."""


def lacks_room(settings: Settings, pids: Collection[int], proportion: float) -> str:
    """Why there is no room beside, "" where there is. May take its time.

    pids: the old workers'. proportion: how many new ones come for each of them.
    """
    return _lacks_main_memory(pids, proportion) or _lacks_gpu_memory(settings, proportion)


def _lacks_main_memory(pids: Collection[int], proportion: float) -> str:
    needed, left = resident_bytes(pids) * proportion * RESERVE, available_memory()
    if needed <= left:
        return ""
    return f"main memory: the old workers take {_gib(needed / RESERVE)}, and {_gib(left)} are left"


def _lacks_gpu_memory(settings: Settings, proportion: float) -> str:
    """Of any GPU that there is: which one a worker has, its driver's numbers may not tell."""
    if settings.model.device == "cpu" or settings.model.engine == "demo" or not gpu_is_listed():
        return ""
    try:
        for index, used, free in query_gpus("index", "memory.used", "memory.free"):
            if float(free.split()[0]) < float(used.split()[0]) * proportion * RESERVE:
                return f"memory of GPU {index}: {used} are in use, and {free} are free"
    except (NoGpuError, ValueError, IndexError) as error:
        return f"memory of the GPUs: nvidia-smi does not tell it ({error})"
    return ""


def resident_bytes(pids: Collection[int]) -> int:
    """What the processes take, with those that they have started: a worker leads a group of its own."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(pages * page for group, pages in _resident_pages() if group in pids)


def _resident_pages() -> Iterator[tuple[int, int]]:
    """Of each process: its group and its pages."""
    for folder in PROCESSES.glob("[0-9]*"):
        # It may end meanwhile.
        with suppress(OSError, ValueError, IndexError):
            # A name may have blanks and brackets; nothing behind it has.
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            yield int(fields[2]), int(fields[21])


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
