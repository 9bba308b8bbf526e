"""Which GPU each worker is pinned to, found out without CUDA: the front end never loads it."""

import os
from collections.abc import Mapping, Sequence

from cosyserve.check.nvidia import NoGpuError, query_gpus
from cosyserve.settings.sections import SettingsError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_devices(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The devices that a process started now would see: indices, UUIDs or MIG ids; empty where there are none."""
    if VISIBLE in environ:
        # CUDA stops at the first entry that is none.
        devices = [entry.strip() for entry in environ[VISIBLE].split(",")]
        return devices[: devices.index("-1")] if "-1" in devices else [entry for entry in devices if entry]
    try:
        return [index for (index,) in query_gpus("index")]
    except NoGpuError:
        return []


def assign_devices(count: int, configured: Sequence[str], visible: Sequence[str]) -> list[str | None]:
    """One entry a worker: its device, or None to leave what it inherits.

    Configured indices count within `visible`; ids stand for themselves. With nothing configured, several visible
    devices are dealt in turn. Raises SettingsError.
    """
    if configured:
        devices = [_resolve(entry, visible) for entry in configured]
    elif len(visible) > 1:
        devices = list(visible)
    else:
        return [None] * count
    return [devices[index % len(devices)] for index in range(count)]


def _resolve(entry: str, visible: Sequence[str]) -> str:
    if not entry.isdecimal():
        return entry
    if int(entry) >= len(visible):
        seen = f"only {len(visible)} are visible" if visible else "no GPU is visible"
        raise SettingsError(f"workers.devices has {entry!r}, but {seen}; see `cosyserve check`")
    return visible[int(entry)]
