"""What the engine's memory goes to: settled at load, and told in the log and in `/model_info`."""

from dataclasses import dataclass
from pathlib import Path

import torch

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.precision import Precision

GIB = 2**30
FILLED = 0.9
"""Of all memory; the rest is the driver's, other programs' and what falls between allocations."""
WORK = 2 * GIB
"""What steps take while they run: the most that was seen, 1.6 GiB, was ten streams in float32."""
GRAPHS = 2 * GIB
"""Of CUDA graphs, between their steps' beginnings and ends, and of the libraries' workspaces. An estimate: what 128
rows have of the encoder's distances takes 0.7 GiB."""
MOST_STATE_ON_CPU = 12 * GIB
"""A stream's second takes 0.23 GB there: more would seldom be used, and others need memory too."""
WHOLE = ("hift.pt",)


@dataclass(frozen=True, slots=True)
class Room:
    """What a worker may fill. free: bytes that nobody uses; total: bytes in all; workers: how many share them."""

    device: torch.device
    free: int
    total: int
    workers: int = 1

    @property
    def share(self) -> int:
        """Bytes for this worker, whichever of them comes first."""
        return min(self.free, int(self.total * FILLED) // self.workers)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes for each purpose. state: what voices and streams carry in the flow. share: what they are parts of."""

    weights: int
    keys_values: int
    state: int
    graphs: int
    work: int
    share: int
    workers: int

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "keys and values": self.keys_values,
            "the flow's state": self.state,
            "CUDA graphs": self.graphs,
            "work": self.work,
        }
        told = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items() if size)
        shared = f", a part for each of {self.workers} workers" if self.workers > 1 else ""
        return f"{told}; of {self.share / GIB:.1f} GiB{shared}"


def plan_memory(room: Room, weights: int, keys_values: int, wanted_state: int = 0) -> MemoryPlan:
    """Share out a worker's memory. wanted_state: bytes, 0 for what is left. Raises LoadError where the model has none.

    keys_values: of the language model, for all streams.
    """
    if weights + keys_values > room.share:
        raise LoadError(
            f"weights and the streams' keys and values take {(weights + keys_values) / GIB:.1f} GiB, and there are "
            f"{room.share / GIB:.1f} for this worker{f' of {room.workers}' if room.workers > 1 else ''}: lower "
            "model.streams or workers.count, or set model.precision to bf16"
        )
    on_gpu = room.device.type == "cuda"
    graphs = GRAPHS if on_gpu else 0
    left = max(room.share - weights - keys_values - graphs - WORK, 0)
    own_choice = left if on_gpu else min(left // 2, MOST_STATE_ON_CPU)
    return MemoryPlan(weights, keys_values, wanted_state or own_choice, graphs, WORK, room.share, room.workers)


def weights_bytes(folder: Path, dtype: torch.dtype, language_model: str = "llm.pt", flow_kept: float = 1.0) -> int:
    """What a model folder's weights will take, by the size of their files.

    language_model: the file of that network. flow_kept: the share of the flow's file that stays in memory.
    """

    def size(name: str) -> int:
        return (folder / name).stat().st_size if (folder / name).is_file() else 0

    # These two come as float32, and are of the chosen precision in memory.
    halved = size(language_model) + int(size("flow.pt") * flow_kept)
    return halved * dtype.itemsize // torch.float32.itemsize + sum(map(size, WHOLE))


def spare_bytes(folder: Path, precision: Precision) -> int:
    """What the flow takes once more where it is solved in fp16: in bf16, as large."""
    flow = folder / "flow.pt"
    return flow.stat().st_size // 2 if precision.flow == torch.float16 and flow.is_file() else 0
