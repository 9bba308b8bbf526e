"""Read `flow.pt`: named tensors, each taken once with the shape it must have."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.linear import Linear
from cosyserve_workers.native.state_dicts import read_state_dict


class Norm(NamedTuple):
    """A layer norm's scale and shift, both [width]."""

    weight: Tensor
    bias: Tensor


def outer_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """What the ends of a flow compute in whose products are of `dtype`, and what is added to: on a CPU float32.

    There it costs some 3 % of a step, and takes a third of what mel is off by in bf16 (docs/performance.md).
    """
    return torch.float32 if device.type == "cpu" else dtype


class Weights:
    """A state dict under a name prefix. What is taken is remembered, so that `finish` can name what nobody wanted.

    model: whose flow it should be, for messages. Every method raises LoadError, naming the file and the tensor, where
    one is missing or has another shape.
    """

    def __init__(
        self, path: Path, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype, model: str
    ) -> None:
        self._path = path
        self._model = model
        self._tensors = tensors
        self._device = device
        self.dtype = dtype
        """Of the model; the file may have another."""
        self._prefix = ""
        self._taken: set[str] = set()
        self._not_ours = f"not the flow of a {model} model"

    @classmethod
    def read(cls, path: Path, device: torch.device, dtype: torch.dtype, model: str) -> "Weights":
        """Open a file that `torch.save` wrote."""
        return cls(path, read_state_dict(path), device, dtype, model)

    def under(self, prefix: str) -> "Weights":
        """The same file seen from `prefix`, a name without its last dot."""
        return self._child(f"{self._prefix}{prefix}.", self.dtype)

    def exact(self) -> "Weights":
        """The same in float32, whatever the model's dtype."""
        return self._child(self._prefix, torch.float32)

    def outer(self) -> "Weights":
        """The same for the layers at the network's ends, and for what lies between products: see `outer_dtype`."""
        return self._child(self._prefix, outer_dtype(self._device, self.dtype))

    def _child(self, prefix: str, dtype: torch.dtype) -> "Weights":
        child = Weights(self._path, self._tensors, self._device, dtype, self._model)
        child._prefix = prefix
        child._taken = self._taken
        return child

    def count(self, prefix: str) -> int:
        """How many layers `prefix.0`, `prefix.1`, ... there are."""
        pattern = re.compile(re.escape(f"{self._prefix}{prefix}.") + r"(\d+)\.")
        found = {int(match[1]) for match in map(pattern.match, self._tensors) if match}
        if found != set(range(len(found))) or not found:
            raise LoadError(f"{self._path} lacks {self._prefix}{prefix}.{len(found)}: {self._not_ours}")
        return len(found)

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor, which must have that many dimensions."""
        tensor = self._find(name)
        if tensor.dim() != dimensions:
            raise LoadError(
                f"{self._path}: {self._prefix}{name} has {tensor.dim()} dimensions where {dimensions} are expected"
            )
        return tuple(tensor.shape)

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor of exactly this shape, on the device, in the model's dtype."""
        tensor = self._find(name)
        if tuple(tensor.shape) != shape:
            raise LoadError(
                f"{self._path}: {self._prefix}{name} has shape {list(tensor.shape)} where {list(shape)} is expected"
            )
        self._taken.add(self._prefix + name)
        return tensor.to(device=self._device, dtype=self.dtype, copy=True)

    def linear(self, name: str, outputs: int, inputs: int) -> Linear:
        """A linear layer."""
        return Linear(self.take(f"{name}.weight", outputs, inputs), self.take(f"{name}.bias", outputs))

    def convolution(self, name: str, outputs: int, inputs: int, width: int) -> Linear:
        """A convolution as the linear layer over its window, frames outermost."""
        kernel = self.take_kernel(name, outputs, inputs, width)
        return Linear(kernel.flatten(1), self.take(f"{name}.bias", outputs))

    def take_kernel(self, name: str, outputs: int, inputs: int, width: int) -> Tensor:
        """A convolution's weight, frame by frame: [out, width, in]."""
        return self.take(f"{name}.weight", outputs, inputs, width).transpose(1, 2).contiguous()

    def norm(self, name: str, width: int) -> Norm:
        """A layer norm."""
        return Norm(self.take(f"{name}.weight", width), self.take(f"{name}.bias", width))

    def holds(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return self._prefix + name in self._tensors

    def finish(self) -> None:
        """Raise LoadError if the file has tensors that nobody took: it is then another network than ours."""
        left = sorted(self._tensors.keys() - self._taken)
        if left:
            raise LoadError(
                f"{self._path} has {len(left)} tensors that we do not know, {left[0]} among them: {self._not_ours}"
            )

    def _find(self, name: str) -> Tensor:
        full = self._prefix + name
        if full not in self._tensors:
            raise LoadError(f"{self._path} lacks {full}: {self._not_ours}")
        return self._tensors[full]
