"""The largest number that each layer of the engine's networks makes: what half precision has to have room for.

python -m benchmarks.activations --model-dir DIR --given MADE    # what benchmarks.fidelity_side has written
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.fidelity_made import Made
from benchmarks.fidelity_side import CPU, Native, run_flow, run_language_model, run_vocoder
from cosyserve_workers.native.precision import Precision

_SLOTS = "__slots__"


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Listens, while it is entered, to every operation of a network on this thread.

    network: an object that holds its weights, at any depth; they name the layers. What an operation without weights
    makes is put down to the layer that had the last one with.

    by_layer: the largest magnitude of each layer, in the order of their calls; infinite where one was no number.
    """

    def __init__(self, network: object) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_layer: dict[str, float] = {}
        self._names = {id(tensor): _layer(path) for path, tensor in _tensors(network, "", set())}
        self._now = "input"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        named = [self._names[id(arg)] for arg in args if id(arg) in self._names]
        self._now = named[-1] if named else self._now
        # Views make nothing, and memory that nobody has written to holds anything.
        if not _is_view(func) and "empty" not in func.name():
            for tensor in result if isinstance(result, tuple | list) else [result]:
                self._see(tensor)
        return result

    def _see(self, tensor: Any) -> None:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.numel() == 0:
            return
        largest = float(tensor.abs().amax())
        if largest == math.inf and _is_mask(tensor):
            return
        largest = torch.inf if math.isnan(largest) else largest
        self.by_layer[self._now] = max(self.by_layer.get(self._now, 0.0), largest)


def largest_activations(model_dir: Path, made: Made) -> Mapping[str, Mapping[str, float]]:
    """Run our networks in float32 on the CPU, on what a reference made: network -> layer -> largest magnitude."""
    side = Native(model_dir, CPU, Precision("fp32"))
    tokens = made.said
    segment = made.segment()
    lm = side.language_model(segment.rows + len(tokens))
    with torch.inference_mode(), Largest(lm) as of_lm:
        run_language_model(lm, segment, tokens.tolist())
    del lm
    flow = side.flow()
    with torch.inference_mode(), Largest(flow) as of_flow:
        run_flow(flow, made.voice, tokens)
    del flow
    hift = side.vocoder()
    with torch.inference_mode(), Largest(hift) as of_hift:
        run_vocoder(hift, made.mel, made.source)
    return {"language model": of_lm.by_layer, "flow": of_flow.by_layer, "vocoder": of_hift.by_layer}


def _is_mask(tensor: Tensor) -> bool:
    """Whether it is what attention adds to hide: nought and minus infinity, which overflow nothing."""
    return bool(((tensor == -torch.inf) | (tensor == 0)).all())


def _is_view(func: Any) -> bool:
    returns = func._schema.returns  # noqa: SLF001 - it has no other name
    return bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)


def _tensors(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """All weights within an object, each by its path of attributes and places."""
    if isinstance(thing, Tensor):
        yield path, thing
        return
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | type):
        return
    seen.add(id(thing))
    for name, part in _parts(thing):
        yield from _tensors(part, f"{path}.{name}", seen)


def _parts(thing: Any) -> list[tuple[Any, Any]]:
    if hasattr(thing, "_asdict"):
        return list(thing._asdict().items())
    if isinstance(thing, list | tuple):
        return list(enumerate(thing))
    if not type(thing).__module__.startswith("cosyserve_workers"):
        return []
    names = [*vars(thing)] if hasattr(thing, "__dict__") else getattr(thing, _SLOTS, ())
    return [(name, getattr(thing, name)) for name in names]


def _layer(path: str) -> str:
    """`layers.3`, of `._weights.layers.3.down._weight`: to the last place in a list, or the attribute's own name."""
    names = [name.lstrip("_") for name in path.split(".") if name and name.strip("_") not in {"weights", "weight"}]
    places = [index for index, name in enumerate(names) if name.isdecimal()]
    return ".".join(names[: places[-1] + 1] if places else names[:-1] or names)
