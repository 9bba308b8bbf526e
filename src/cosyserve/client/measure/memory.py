"""How much memory is taken while it is measured: by the processes that were started here, and on the GPUs."""

import asyncio
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from cosyserve.check.nvidia import NoGpuError, query_gpus
from cosyserve.client.measure.record import MemorySample

PERIOD_S = 1.0
MIB = 2**20


class MemoryWatch:
    """Looks once in a while. pids: the front end's, then the workers'; none where they are not ours."""

    def __init__(self) -> None:
        self.pids: Sequence[int] = ()
        self.samples: list[MemorySample] = []
        self._began_at = time.monotonic()
        self._asks_gpus = shutil.which("nvidia-smi") is not None

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD_S)

    async def look(self) -> None:
        """Once, where there is anything to see."""
        gpus = await asyncio.to_thread(gpu_bytes) if self._asks_gpus else None
        front_end, *workers = [resident(pid) for pid in self.pids] or [None]
        sample = MemorySample(
            at_s=time.monotonic() - self._began_at, front_end=front_end, workers=_sum(workers), gpus=gpus
        )
        if (sample.front_end, sample.workers, sample.gpus) != (None, None, None):
            self.samples.append(sample)

    def peaks(self) -> dict[str, int]:
        """The most of each that was seen."""
        columns = {
            "front end": [sample.front_end for sample in self.samples],
            "workers together": [sample.workers for sample in self.samples],
            "GPUs together": [sample.gpus for sample in self.samples],
        }
        return {name: max(filter(None, column)) for name, column in columns.items() if any(column)}


def resident(pid: int) -> int | None:
    """Bytes; None where the process has gone."""
    try:
        with Path(f"/proc/{pid}/status").open(encoding="utf-8") as status:
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:")), None)
    except OSError:
        return None


def gpu_bytes() -> int | None:
    """What is taken on all GPUs, by whomever; None where nobody says."""
    try:
        taken = [row[0].partition(" ")[0] for row in query_gpus("memory.used")]
    except NoGpuError:
        return None
    return sum(int(word) * MIB for word in taken if word.isdecimal()) or None


def _sum(sizes: Iterable[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None
