"""CUDA graphs without a GPU: a step is recorded as the list of its operations, with the tensors that they read and
write, so that a replay sees what lies in those tensors and nothing else, as a CUDA graph does."""

from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from cosyserve_workers.native.cuda_graphs import Step


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
