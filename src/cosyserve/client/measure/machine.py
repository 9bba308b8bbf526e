"""The machine that this runs on, as a reader of figures wants to know it."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from cosyserve.check.nvidia import VISIBLE, NoGpuError, described_gpus
from cosyserve.check.quota import cpu_quota, total_memory

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx2", "asimd")
"""What decides over a CPU's speed at products of matrices."""
GIB = 2**30


def facts() -> dict[str, str]:
    """What it is, what of it this process may use, and how busy it is."""
    quota = cpu_quota()
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    return {
        "processor": _processor(),
        "instructions": ", ".join(_instructions()) or "not known",
        "cores": f"{os.cpu_count()} in the machine, {len(os.sched_getaffinity(0))} of them for this process (affinity)",
        "CPU quota of the container": f"{quota:g} cores" if quota else "none",
        "memory that it may fill": f"{total_memory() / GIB:.1f} GiB",
        **_gpus(),
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "load before the first request": f"{load} (1, 5, 15 minutes)",
    }


def _processor() -> str:
    lines = CPUINFO.read_text("utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _instructions() -> list[str]:
    lines = CPUINFO.read_text("utf-8", errors="replace").splitlines()
    line = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return [name for name in INSTRUCTIONS if name in line.split()]


def _gpus(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    try:
        found = described_gpus()
    except NoGpuError as error:
        return {"GPU": f"none: {error}"}
    seen = {VISIBLE: environ[VISIBLE] or "(empty: none)"} if VISIBLE in environ else {}
    return {f"GPU {index}": told for index, told in found.items()} | seen
