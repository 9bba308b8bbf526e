"""Which devices the kernels run on."""

from importlib.util import find_spec

import torch

OLDEST = (8, 0)
"""Compute capability. On cards before it the kernels spill registers: they run the plain twins, as a CPU does."""


def has_kernels(device: torch.device) -> bool:
    """Whether a device runs Triton's kernels. A GPU that is only imagined, where there is none, is taken for new."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    return not torch.cuda.is_available() or torch.cuda.get_device_capability(device) >= OLDEST
