"""From a configuration to a loaded engine; whatever goes wrong on the way is one line that names the remedy."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cosyserve.check.quota import available_memory, total_memory
from cosyserve.protocol import DEFAULT_STREAMS, EngineConfig
from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.engine import NativeEngine
from cosyserve_workers.native.features.voice import FeatureExtractor
from cosyserve_workers.native.lanes import on_a_passing_thread
from cosyserve_workers.native.lm.program import PREFILL_BUCKETS
from cosyserve_workers.native.memory_plan import GIB, Room
from cosyserve_workers.native.models import ModelFolder
from cosyserve_workers.native.networks import Around, Networks, Plan
from cosyserve_workers.native.precision import Processor, choose
from cosyserve_workers.native.script import ScriptWriter
from cosyserve_workers.torch_device import find_device

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the engine runs on, before anything is loaded. room: memory for it. processor: what its CPU can do."""

    name: str
    room: Room
    processor: Processor = field(default_factory=Processor.here)

    @property
    def device(self) -> torch.device:
        """The GPU that the worker is pinned to, or the CPU."""
        return self.room.device

    @classmethod
    def here(cls, wanted: str = "auto", workers: int = 1) -> "Machine":
        """What is here. wanted: the setting. workers: how many share the device's memory. Raises LoadError."""
        device = find_device(wanted)
        if device.type == "cuda":
            # Its plans are for one shape each, and ours change with every chunk: each new one waited for half a second.
            torch.backends.cuda.enable_cudnn_sdp(False)
            return cls(torch.cuda.get_device_name(0), Room(device, *torch.cuda.mem_get_info(0), workers))
        memory = Room(device, available_memory(), total_memory(), workers)
        return cls(f"cpu, {torch.get_num_threads()} threads", memory)


def create(config: EngineConfig, machine: Machine | None = None, around: Around | None = None) -> NativeEngine:
    """Load an official CosyVoice2 or CosyVoice3 folder.

    machine: where to, `Machine.here` if None. around: for the sampler, of a measurement. Raises LoadError.
    """
    machine = machine or Machine.here(config.device, config.sharing)
    folder = Path(config.model_dir)
    of_model = ModelFolder.at(folder, config.language_model_file)
    precision = choose(config.precision, config.language_model, machine.device, machine.processor, of_model.model)
    writer = ScriptWriter(folder, of_model.model, marks=config.model_marks, text=config.text)
    extractor = FeatureExtractor.load(folder, machine.device, of_model.model)
    plan = _plan(config, machine)
    networks = _with_helpers(lambda: Networks.load(of_model, machine.room, precision, plan, around), machine)
    if writer.vocabulary > networks.text_vocabulary:
        raise LoadError(
            f"{folder}: its tokenizer has {writer.vocabulary} ids, its language model {networks.text_vocabulary}: "
            "both must be of one model; download the folder again"
        )
    if machine.device.type == "cuda":
        networks.tune()
    memory = networks.memory
    log.info("memory: %s", memory)
    found = {"language_model": "int8" if precision.int8 else precision.name, **networks.found}
    log.info("networks: %s", "; ".join(f"{name}: {how}" for name, how in found.items()))
    details = {
        "device": machine.name,
        "precision": precision.name,
        **found,
        "speech_tokenizer": extractor.runs_on,
        "memory": str(memory),
        "state_budget": f"{memory.state / GIB:.1f} GiB",
    }
    return NativeEngine(writer, extractor, networks, details)


def _with_helpers(load: Callable[[], Networks], machine: Machine) -> Networks:
    try:
        return on_a_passing_thread(load)
    except torch.OutOfMemoryError as error:
        raise LoadError(
            f"{machine.name} has too little memory free ({str(error).partition('. ')[0]}): end what else uses it, or "
            "lower model.streams, model.state_budget_gib or workers.count"
        ) from error


def _plan(config: EngineConfig, machine: Machine) -> Plan:
    wanted = round(config.state_budget_gib * GIB)
    slots = config.streams or DEFAULT_STREAMS
    if machine.device.type == "cuda":
        # A step's cost is in starting its kernels: as many in one as pay.
        rows = PREFILL_BUCKETS[-1]
        return Plan(slots, wanted, chunk_tokens=100, solve_width=slots, prefill_rows=rows, steps_behind=1, tracks=2)
    # A step's cost is in its arithmetic: a chunk for each core at a time brings the first sound soonest.
    cores = torch.get_num_threads()
    return Plan(slots, wanted, chunk_tokens=25, solve_width=cores, prefill_rows=512, lanes=cores)
