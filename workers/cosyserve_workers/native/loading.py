"""From a configuration to a loaded engine; whatever goes wrong on the way is one line that names the remedy."""

from dataclasses import dataclass
from pathlib import Path

import torch

from cosyserve.protocol import DEFAULT_STREAMS, EngineConfig
from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.engine import NativeEngine
from cosyserve_workers.native.features.voice import FeatureExtractor
from cosyserve_workers.native.lanes import on_a_passing_thread
from cosyserve_workers.native.networks import Draws, Networks, Plan
from cosyserve_workers.native.script import ScriptWriter
from cosyserve_workers.torch_device import find_device

GIB = 2**30
WORKING_BYTES = 2 * GIB
"""Left free beside the state: what a step needs while it runs."""
MOST_STATE = 12 * GIB
"""On a CPU, where a stream's second takes 0.23 GB: more would seldom be used, and others need memory too."""
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
YAML = "cosyvoice2.yaml"
MEMORY = Path("/proc/meminfo")
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
CONTAINER_USE = Path("/sys/fs/cgroup/memory.current")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the engine runs on. free_bytes: memory that nobody uses, before anything is loaded."""

    device: torch.device
    name: str
    free_bytes: int

    @classmethod
    def here(cls, wanted: str = "auto") -> "Machine":
        """The GPU that the worker is pinned to, or the CPU. wanted: the setting. Raises LoadError."""
        device = find_device(wanted)
        if device.type == "cuda":
            return cls(device, torch.cuda.get_device_name(0), torch.cuda.mem_get_info(0)[0])
        return cls(device, f"cpu, {torch.get_num_threads()} threads", _available_memory())


def _available_memory() -> int:
    """Bytes of main memory that can be had, by the machine and by the container's limit."""
    available = [int(line.split()[1]) * 1024 for line in _lines(MEMORY) if line.startswith("MemAvailable:")]
    limits = [line for line in _lines(CONTAINER_LIMIT) if line.isdecimal()]
    available += [int(limit) - sum(map(int, _lines(CONTAINER_USE))) for limit in limits]
    return min(available, default=0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def create(config: EngineConfig, machine: Machine | None = None, draws: Draws | None = None) -> NativeEngine:
    """Load an official CosyVoice2 folder.

    machine: where to, `Machine.here` if None. draws: in place of the sampler, for measurements. Raises LoadError.
    """
    machine = machine or Machine.here(config.device)
    folder = Path(config.model_dir)
    _check_folder(folder)
    precision = _precision(config, machine)
    writer = ScriptWriter(folder)
    extractor = FeatureExtractor.load(folder, machine.device)
    plan = _plan(config, machine, folder)
    networks = on_a_passing_thread(lambda: Networks.load(folder, machine.device, PRECISIONS[precision], plan, draws))
    if writer.vocabulary > networks.text_vocabulary:
        raise LoadError(
            f"{folder}: its tokenizer has {writer.vocabulary} ids, its language model {networks.text_vocabulary}: "
            "both must be of one model; download the folder again"
        )
    details = {
        "device": machine.name,
        "precision": precision,
        "state_budget": f"{plan.state_budget / GIB:.1f} GiB",
    }
    return NativeEngine(writer, extractor, networks, plan, details)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise LoadError(f"there is no model folder {folder}: set model.dir, or get the weights with `make model`")
    if not (folder / YAML).is_file():
        raise LoadError(f"{folder} has no {YAML}: the engine native runs CosyVoice2; for CosyVoice3 use cosyvoice")


def _precision(config: EngineConfig, machine: Machine) -> str:
    if config.precision == "auto":
        return "bf16" if machine.device.type == "cuda" else "fp32"
    if config.precision not in PRECISIONS:
        raise LoadError(
            f"model.precision {config.precision!r} is not known here: set it to auto, {', '.join(PRECISIONS)}"
        )
    return config.precision


def _plan(config: EngineConfig, machine: Machine, folder: Path) -> Plan:
    weights = sum(path.stat().st_size for path in folder.glob("*.pt"))
    left = max(machine.free_bytes - weights - WORKING_BYTES, 0)
    budget = round(config.state_budget_gib * GIB)
    # What is our own choice is taken as needed: workers beside this one chose alike, from the same free memory.
    reserved = budget > 0
    slots = config.streams or DEFAULT_STREAMS
    if machine.device.type == "cuda":
        # A step's cost is in starting its kernels: more in one is nearly free.
        return Plan(slots, budget or int(left * 0.8), reserved, chunk_tokens=100, solve_width=slots, prefill_rows=4096)
    # A step's cost is in its arithmetic: a chunk for each core at a time brings the first sound soonest.
    cores = torch.get_num_threads()
    memory = budget or min(left // 2, MOST_STATE)
    return Plan(slots, memory, reserved, chunk_tokens=25, solve_width=cores, prefill_rows=512, lanes=cores)
