"""A GPU that is not there: the engine's programs run on it whole, with shapes, types and a device, but no numbers.

What the engine does on a GPU it does here, its CUDA graphs step by step. Numbers that the host asks for are nought, and
a mask is taken to be true everywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from benchmarks.counting import Counter
from benchmarks.native_trace import replaced
from cosyserve_workers.native.cuda_graphs import Graphs
from cosyserve_workers.native.flow.solver import Solver
from cosyserve_workers.native.kernels.paged import Pages
from cosyserve_workers.native.memory_plan import Room
from cosyserve_workers.native.models import ModelFolder
from cosyserve_workers.native.networks import Networks, Plan
from cosyserve_workers.native.precision import DTYPES, Precision
from cosyserve_workers.native.transfers import Fetched
from cosyserve_workers.native.vocoder.program import Program

ENDLESS = 2**60
GPU = torch.device("cuda", 0)
aten = torch.ops.aten


class NoNumbers(Counter):
    """Counts, and answers what needs numbers."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As `Counter`; a device is told at once, which saves half of the time."""
        if func is torch.ops.prim.device.default:
            return args[0].fake_device
        if func is aten.detach.default and not isinstance(args[0], FakeTensor):
            with unset_fake_temporarily():
                return args[0].detach()
        return super().__torch_dispatch__(func, types, args, kwargs)

    def answer(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """As `Counter`."""
        first: Any = args[0] if args else None
        if func is aten._local_scalar_dense.default:  # noqa: SLF001
            return False if first.dtype is torch.bool else 0
        if func is aten.equal.default:
            return False
        if func is aten._to_copy.default and _comes_back(kwargs):  # noqa: SLF001
            with unset_fake_temporarily():
                return torch.zeros(first.shape, dtype=kwargs.get("dtype") or first.dtype)
        if func in {aten.nonzero.default, aten.masked_select.default}:
            shape = (first.numel(), first.dim()) if func is aten.nonzero.default else (first.numel(),)
            return torch.empty(shape, dtype=torch.int64 if len(shape) == 2 else first.dtype, device=first.device)
        if func is aten.index.Tensor:
            args = (first, [place for index in args[1] for place in _places(index)])
        return func(*args, **kwargs)


def _comes_back(kwargs: Any) -> bool:
    return kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"


def _places(index: Tensor | None) -> list[Tensor | None]:
    """An index by itself; a mask as one for each of its axes."""
    if index is None or index.dtype is not torch.bool:
        return [index]
    return [torch.zeros(index.numel(), dtype=torch.int64, device=index.device)] * index.dim()


class _Attention(TorchFunctionMode):
    """Attention as a GPU has it, in one kernel. Without one PyTorch would take it apart."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not scaled_dot_product_attention or args[0].device.type == "cpu":
            return func(*args, **kwargs)
        query, key, value = args[:3]
        mask = kwargs.get("attn_mask")
        if mask is None and query.dtype.itemsize == 2:
            return aten._scaled_dot_product_flash_attention(query, key, value)[0]  # noqa: SLF001
        bias = None
        if mask is not None:
            # PyTorch makes numbers of a mask, each time.
            bias = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), -torch.inf)
            bias = bias.expand(*query.shape[:3], key.shape[2])
        return aten._scaled_dot_product_efficient_attention(query, key, value, bias, False)[0]  # noqa: SLF001


@contextmanager
def nowhere() -> Iterator[Counter]:
    """Have all that is computed meanwhile computed without numbers, and count it.

    Inference mode is left out: in it, composite operations would count as one, and hide that they wait.
    """
    counter = NoNumbers(GPU.type)

    placed: dict[Any, Any] = {}

    def replay(_: Callable[..., Any], graphs: Any, shape: Any, step: Callable[[], Any]) -> Any:
        del graphs, shape
        with counter.in_a_graph():
            return step()

    def call(_: Callable[..., Any], graphs: Any, shape: Any, given: Sequence[Tensor], program: Any) -> Any:
        last, placed[graphs, shape] = placed.get((graphs, shape), [None] * len(given)), given
        for before, tensor in zip(last, given, strict=True):
            if tensor is not before:
                torch.empty_like(tensor).copy_(tensor)
        with counter.in_a_graph():
            return program(given)

    around: dict[tuple[Any, str], Callable[..., Any]] = {
        (torch.inference_mode, "__enter__"): lambda _, mode: mode.__dict__.setdefault(
            "grad", torch.no_grad()
        ).__enter__(),
        (torch.inference_mode, "__exit__"): lambda _, mode, *how: mode.__dict__.pop("grad").__exit__(*how),
        (FakeTensor, "tolist"): lambda run, tensor: run(tensor) if tensor.is_cpu else tensor.cpu().tolist(),
        (torch.cuda, "graph_pool_handle"): lambda _: (0, 0),
        (torch.cuda.Event, "record"): lambda *_: None,
        (torch.cuda.Event, "synchronize"): lambda *_: counter.wait("event"),
        (Graphs, "make"): lambda *_: None,
        (Solver, "rehearse"): lambda *_: None,
        (Program, "rehearse"): lambda *_: None,
        (Fetched, "tensor"): _noughts,
        (Graphs, "replay"): replay,
        (Graphs, "places"): lambda _, graphs, shape: placed.get((graphs, shape)),
        (Graphs, "call"): call,
    }
    if find_spec("triton"):
        around |= _triton(counter)
    with ExitStack() as stack:
        for (owner, name), wrapper in around.items():
            stack.enter_context(replaced(owner, name, wrapper))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(counter)
        stack.enter_context(_Attention())
        yield counter


def _noughts(fetch: Callable[..., Tensor], fetched: Fetched) -> Tensor:
    """Numbers on the host are real."""
    values = fetch(fetched)
    if not isinstance(values, FakeTensor):
        return values
    with unset_fake_temporarily():
        return torch.zeros(values.shape, dtype=values.dtype)


def _triton(counter: Counter) -> dict[tuple[Any, str], Callable[..., Any]]:
    """What stands between a kernel and the GPU."""
    from triton.runtime.jit import JITFunction

    from cosyserve_workers.native.kernels import paged_triton

    def launch(_: Callable[..., Any], kernel: Any, *args: Any, **kwargs: Any) -> None:
        del kernel
        counter.triton_launch([args, kwargs])

    def attend(_: Callable[..., Any], qkv: Tensor, pages: Pages, layer: int, heads: int, bias: Any = None) -> Tensor:
        del layer, heads, bias
        out = qkv.new_empty(*qkv.shape[:2], pages.keys_values.shape[5])
        counter.paged_launch(qkv, pages, out)
        return out

    return {(JITFunction, "run"): launch, (paged_triton, "attend"): attend}


def load(folder: Path, plan: Plan, dtype: torch.dtype) -> Networks:
    """The networks of a model folder, `nowhere`: their weights are not read."""
    name = next(name for name, one in DTYPES.items() if one == dtype)
    return Networks.load(ModelFolder.at(folder), Room(GPU, free=ENDLESS, total=2 * ENDLESS), Precision(name), plan)
