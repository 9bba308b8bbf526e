"""Which devices the kernels run on."""

from importlib.util import find_spec

import torch

OLDEST = (8, 0)
"""Compute capability. On cards before it the kernels spill registers: they run the plain twins, as a CPU does. And they
only imitate bf16."""


def has_kernels(device: torch.device) -> bool:
    """Whether a device runs Triton's kernels."""
    return device.type == "cuda" and find_spec("triton") is not None and is_new(device)


def is_new(gpu: torch.device) -> bool:
    """Whether a GPU is none of the old ones. One that is only imagined, where there is none, is taken for new."""
    return not torch.cuda.is_available() or torch.cuda.get_device_capability(gpu) >= OLDEST
