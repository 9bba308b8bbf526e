"""Read the files that `torch.save` wrote: tensors by name, and nothing that could run."""

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict. Where the format allows, tensors are mapped: what nobody uses is never read.

    Copy what is kept: a mapped tensor breaks when its file is replaced. Raises LoadError where the file is missing,
    truncated or something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError as error:
        raise LoadError(f"{path} is missing: `cosyserve check` says how to get it") from error
    except Exception as error:  # a damaged pickle may raise anything
        reason = str(error).partition("\n")[0].strip() or type(error).__name__
        raise LoadError(f"{path} cannot be read, it may be truncated ({reason}): download it again") from error
    # Those that come from training count epochs and steps besides.
    entries = state.items() if isinstance(state, dict) else ()
    tensors = {name: value for name, value in entries if isinstance(value, Tensor)}
    if not tensors:
        raise LoadError(f"{path} holds no state dict, tensors by name: download it again")
    return tensors
