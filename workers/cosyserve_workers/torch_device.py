"""Where torch runs: what `model.device` asks for, or one line that says why that cannot be."""

import torch

from cosyserve.check.acceleration import unusable_gpu
from cosyserve.check.nvidia import gpu_is_listed
from cosyserve_workers.engine import LoadError


def find_device(wanted: str) -> torch.device:
    """The GPU that the worker is pinned to, or the CPU.

    wanted: `auto`, `cuda` or `cpu`. Raises LoadError where a GPU is demanded, or listed and not kept from this process,
    and torch cannot use it: a CPU in its place would be a hundred times slower, and nobody would know why.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available() and not gpu_is_listed()):
        return torch.device("cpu")
    why = _why_unusable()
    if why is None:
        return torch.device("cuda", 0)
    unusable = unusable_gpu(why, wanted)
    raise LoadError(f"{unusable.text}: {unusable.remedy}")


def _why_unusable() -> str | None:
    """In torch's words, which may be none; None where the GPU does a sum: one may be too old for any kernel in here."""
    try:
        if not torch.cuda.is_available():
            torch.cuda.init()  # type: ignore[no-untyped-call]
            return ""
        torch.ones(1, device="cuda").add_(1).item()
    except Exception as error:
        return next(iter(str(error).splitlines()), type(error).__name__)
    return None
