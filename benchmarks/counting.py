"""Counts what a program asks of a GPU: operations that launch something, and waits of the host; what each works on.

PyTorch's dispatcher is listened at below autograd, where composite operations have come apart. Views and bare
allocations are free. Everything else that touches the device counts one, a launch of a Triton kernel too: it is a count
of operations, and some of PyTorch's take several kernels.

The host waits where it asks for a number, or for a shape that numbers decide; and where it copies to or from the device
without `non_blocking`: PyTorch then waits until all that was launched before is done. And it waits for events.
"""

import collections
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from cosyserve_workers.native.kernels.paged import Pages

aten = torch.ops.aten
_PRODUCTS = 4
"""Operations of attention for a query, a key and a channel: two products, each of a multiplication and an addition."""
_UNSAFE_VIEWS = {aten._unsafe_view.default}  # noqa: SLF001
"""Views that do not say so."""
_ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_"}
_ASKING = {"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_consecutive", "bincount"}
_PART_READ = 10
_TAKES = {"index", "index_select", "embedding", "gather", "searchsorted"}
_PUTS = {"index_put_": 2, "index_copy_": 3}
"""Both touch a part of what they are given: as much as they return, or as this argument has."""


class Operation(NamedTuple):
    """What one launch works on. moved: bytes read and written. operations: of products; all else is bound by memory."""

    dtype: str
    moved: int
    operations: int
    graphed: bool
    """Whether a CUDA graph starts it."""


@dataclass
class Count:
    """Of some stretch of a program."""

    launches: int = 0
    waits: int = 0
    work: collections.Counter[Operation] = field(default_factory=collections.Counter)
    asked: collections.Counter[str] = field(default_factory=collections.Counter)
    """What the host waited for, by the operation's name."""
    graphs: int = 0
    """How many CUDA graphs were started."""

    def since(self, before: "Count") -> "Count":
        """What came after an earlier copy of it."""
        return Count(
            self.launches - before.launches,
            self.waits - before.waits,
            self.work - before.work,
            self.asked - before.asked,
            self.graphs - before.graphs,
        )

    def copy(self) -> "Count":
        """As it is now."""
        return Count(self.launches, self.waits, self.work.copy(), self.asked.copy(), self.graphs)


class Counter(TorchDispatchMode):
    """Counts what is done on `device_type` while it is entered."""

    def __init__(self, device_type: str = "cuda") -> None:
        super().__init__()
        self.count = Count()
        self.behind = 0
        """How many pages a row's attention reads: no shape tells that."""
        self._device_type = device_type
        self._graphed = False

    @contextlib.contextmanager
    def in_a_graph(self) -> Iterator[None]:
        """What is launched meanwhile is launched by a CUDA graph."""
        self.count.graphs += 1
        before, self._graphed = self._graphed, True
        try:
            yield
        finally:
            self._graphed = before

    def wait(self, asked: str) -> None:
        """The host waited for this."""
        self.count.waits += 1
        self.count.asked[asked] += 1

    def triton_launch(self, arguments: Sequence[Any]) -> None:
        """A Triton kernel was launched with these.

        What is much larger than all else holds all streams' keys or values, of which it reads some positions: taken for
        ten times as much as the largest of the others.
        """
        ours = {id(one): one for one in _tensors(arguments) if self._is_ours(one)}
        sizes = {key: one.numel() * one.element_size() for key, one in ours.items()}
        most = max(sizes.values(), default=0)
        usual = max((size for size in sizes.values() if _PART_READ * size < most), default=most)
        whole = [one for key, one in ours.items() if sizes[key] <= _PART_READ * usual]
        self._launch(whole, 0, _PART_READ * usual * (len(ours) - len(whole)))

    def paged_launch(self, qkv: Tensor, pages: Pages, out: Tensor) -> None:
        """Attention over pages was launched: each row reads as many as lie behind it, and its own frames."""
        _, _, _, guidance, size, inner = pages.keys_values.shape
        lines = guidance * pages.past.shape[0] * size
        behind = 2 * lines * self.behind * inner * qkv.element_size()
        written = 2 * lines * inner * qkv.element_size()
        operations = _PRODUCTS * lines * (self.behind + 1) * size * inner
        self._launch([qkv, out], operations, behind + written)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation, and do it."""
        kwargs = kwargs or {}
        if func.namespace != "aten" or not self._touches(args, kwargs):
            return self.answer(func, args, kwargs)
        if self._waits(func, args, kwargs):
            self.wait(func.overloadpacket.__name__)
        made = self.answer(func, args, kwargs)
        tensors = _tensors((args, kwargs, made))
        if not _is_free(func) and any(self._is_ours(tensor) for tensor in tensors):
            self._launch(_worked_on(func, args, tensors, made), _operations(func, args, kwargs, made))
        return made

    def answer(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Do an operation."""
        return func(*args, **kwargs)

    def _launch(self, tensors: Sequence[Tensor], operations: int, besides: int = 0) -> None:
        """besides: bytes moved of what is not worked on as a whole."""
        ours = [tensor for tensor in tensors if self._is_ours(tensor)]
        widest = max((tensor.dtype for tensor in ours), key=lambda dtype: dtype.itemsize, default=torch.float32)
        moved = besides + sum(tensor.numel() * tensor.element_size() for tensor in ours)
        self.count.launches += 1
        self.count.work[Operation(str(widest).removeprefix("torch."), moved, operations, self._graphed)] += 1

    def _is_ours(self, tensor: Tensor) -> bool:
        return tensor.device.type == self._device_type

    def _touches(self, args: Any, kwargs: Any) -> bool:
        """Whether a tensor of the device goes in, or may come out."""
        return any(map(self._is_ours, _tensors((args, kwargs)))) or self._made_there(kwargs)

    def _made_there(self, kwargs: Any) -> bool:
        return kwargs.get("device") is not None and torch.device(kwargs["device"]).type == self._device_type

    def _waits(self, func: Any, args: Any, kwargs: Any) -> bool:
        name = func.overloadpacket.__name__
        if name == "_to_copy":
            moves = kwargs.get("device") is not None and torch.device(kwargs["device"]).type != args[0].device.type
            # What comes back comes to memory that is not pinned: that waits whatever is said.
            return moves and (self._is_ours(args[0]) or not kwargs.get("non_blocking"))
        if name == "copy_":
            between = args[0].device.type != args[1].device.type
            return between and not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        if name in {"index", "index_put_"} and any(_is_mask(index) for index in args[1]):
            # A number put at a mask's places is a plain `masked_fill`.
            return name == "index" or args[2].numel() > 1
        return name in _ASKING


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in {torch.bool, torch.uint8}


def _is_free(func: Any) -> bool:
    return func.is_view or func in _UNSAFE_VIEWS or func.overloadpacket.__name__ in _ALLOCATIONS


def _worked_on(func: Any, args: Any, tensors: Sequence[Tensor], made: Any) -> Sequence[Tensor]:
    name = func.overloadpacket.__name__
    if name in _TAKES:
        return [made, made]
    return [args[_PUTS[name]]] * 2 if name in _PUTS else tensors


def _operations(func: Any, args: Any, kwargs: Any, made: Any) -> int:
    """Of a product, as PyTorch counts them: a multiplication with its addition is two."""
    count = flop_registry.get(func.overloadpacket)
    return int(count(*args, **kwargs, out_val=made)) if count else 0


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]
