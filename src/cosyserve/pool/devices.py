"""Which GPU each worker is pinned to, found out without CUDA: the front end never loads it."""

from collections.abc import Callable, Sequence

from cosyserve.settings.sections import Settings, SettingsError


def assign_devices(settings: Settings, visible: Sequence[str]) -> list[str | None]:
    """One entry a worker: its device, or None to leave what it inherits.

    Configured indices count within `visible`; ids stand for themselves. With nothing configured, several visible
    devices are dealt in turn. Raises SettingsError.
    """
    count, configured = settings.workers.count, settings.workers.devices
    if configured and settings.model.device == "cpu":
        raise SettingsError("workers.devices names GPUs, and model.device is cpu: take one of the two out")
    if settings.model.device == "cpu":
        return [None] * count
    if configured:
        devices = [_resolve(entry, visible) for entry in configured]
    elif len(visible) > 1:
        devices = list(visible)
    else:
        return [None] * count
    return [devices[index % len(devices)] for index in range(count)]


def left_idle(settings: Settings, visible: Callable[[], Sequence[str]]) -> list[str]:
    """Visible devices that no worker has, where nobody chose so: each would need a worker of its own.

    visible: asked where it matters alone, since a driver may take its time.
    """
    if settings.workers.devices or settings.model.device == "cpu" or settings.model.engine == "demo":
        return []
    return list(visible())[settings.workers.count :]


def _resolve(entry: str, visible: Sequence[str]) -> str:
    if not entry.isdecimal():
        return entry
    if int(entry) >= len(visible):
        seen = f"only {len(visible)} are visible" if visible else "no GPU is visible"
        raise SettingsError(f"workers.devices has {entry!r}, but {seen}; see `cosyserve check`")
    return visible[int(entry)]
