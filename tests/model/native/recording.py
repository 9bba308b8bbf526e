"""CUDA graphs without a GPU: a step is recorded as the list of its operations, with the tensors that they read and
write, so that a replay sees what lies in those tensors and nothing else, as a CUDA graph does."""

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from cosyserve_workers.native.cuda_graphs import Step
from cosyserve_workers.native.kernels import paged
from cosyserve_workers.native.kernels.add_norm import add_norm
from cosyserve_workers.native.kernels.choice import Kernels
from cosyserve_workers.native.kernels.paged import Pages


class Recorder:
    """Records steps as operations."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0

    def __call__(self, step: Step) -> Step:
        self.recorded += 1
        operations = make_fx(step)()
        results: tuple[Tensor, ...] = operations()

        def replay() -> tuple[Tensor, ...]:
            self.replayed += 1
            for result, now in zip(results, operations(), strict=True):
                result.copy_(now)
            return results

        return replay


class Repeater(Recorder):
    """Records nothing: a step, which reads and writes the same tensors, is run again."""

    def __call__(self, step: Step) -> Step:
        self.recorded += 1

        def again() -> tuple[Tensor, ...]:
            self.replayed += 1
            return step()

        return again


@torch.library.custom_op("cosyserve_tests::attend", mutates_args={"keys_values"})
def attend_op(  # noqa: PLR0917 - operations have no others
    qkv: Tensor, keys_values: Tensor, numbers: list[Tensor], layer: int, heads: int, bias: Tensor | None
) -> Tensor:
    """One operation, as a kernel is, that reads its tensors each time it is replayed."""
    return paged.attend(qkv, Pages(keys_values, *numbers), layer, heads, bias)


def attend(qkv: Tensor, pages: Pages, layer: int, heads: int, bias: Tensor | None = None) -> Tensor:
    """As `paged.attend`."""
    result: Tensor = attend_op(qkv, pages.keys_values, list(pages.numbers), layer, heads, bias)
    return result


KERNELS = Kernels(attend, add_norm)
"""The plain ones where a GPU has its own: the flow's solves are then in rows over pages."""
