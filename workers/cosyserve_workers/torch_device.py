"""Where torch runs: what `model.device` asks for, or one line that says why that cannot be."""

import logging

import torch

from cosyserve.check.acceleration import unusable_gpu
from cosyserve.check.nvidia import gpu_is_listed
from cosyserve_workers.engine import LoadError

log = logging.getLogger(__name__)


def find_device(wanted: str) -> torch.device:
    """The GPU that the worker is pinned to, or the CPU.

    wanted: `auto`, `cuda` or `cpu`. A GPU that torch cannot use is a LoadError where one is demanded, else a warning.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if wanted == "cuda" or gpu_is_listed():
        unusable = unusable_gpu(_reason())
        if wanted == "cuda":
            raise LoadError(f"model.device is cuda, and {unusable.text}: {unusable.remedy}")
        log.warning("the CPU speaks, slowly: %s: %s", unusable.text, unusable.remedy)
    return torch.device("cpu")


def _reason() -> str:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:
        return next(iter(str(error).splitlines()), type(error).__name__)
    return ""
