"""From a configuration to a loaded model; whatever goes wrong on the way is one line that names the remedy."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cosyserve.check.engines import model_folder_problems
from cosyserve.check.model_folder import model_in
from cosyserve.protocol import EngineConfig
from cosyserve_workers.cosyvoice.accelerations import Accelerations, Machine, building_folder, choose
from cosyserve_workers.cosyvoice.blame import Suspects
from cosyserve_workers.cosyvoice.library import Library, check_generation, open_for, takes_path
from cosyserve_workers.engine import LoadError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The library's object for a model, and what we know of it.

    prompts_as_paths: whether its front end takes prompts as paths. details: for /model_info.
    """

    cosyvoice: Any
    prompts_as_paths: bool
    details: dict[str, str]


def load(config: EngineConfig, machine: Machine) -> Loaded:
    """Load the model folder of the configuration with the library. Raises LoadError."""
    folder = Path(config.model_dir)
    problems = model_folder_problems(folder)
    if problems:
        raise LoadError(problems[0])
    if config.language_model_file != "llm.pt":
        raise LoadError(
            f"the CosyVoice library reads llm.pt, not {config.language_model_file}: set model.language_model_file to "
            "llm.pt, or model.engine to native"
        )
    model = model_in(folder)
    assert model is not None  # a folder without problems holds one
    asked = choose(config, machine)
    library = open_for(model, folder, config.source_dir)
    constructor = library.constructor(model)
    try:
        cosyvoice, asked = _construct(constructor, folder, asked, machine, may_fall_back=config.tensorrt == "auto")
    except LoadError:
        raise
    except Exception as error:
        Suspects(library, model, folder).accuse(error)
        raise
    if type(cosyvoice).__name__ != model.name:
        raise LoadError(f"{folder} was loaded as {type(cosyvoice).__name__}: remove the other model's yaml from it")
    check_generation(library, cosyvoice.model)
    as_paths = takes_path(cosyvoice.frontend)
    return Loaded(cosyvoice, as_paths, _details(cosyvoice, library, asked, as_paths=as_paths))


def _construct(
    constructor: Callable[..., Any], folder: Path, asked: Accelerations, machine: Machine, *, may_fall_back: bool
) -> tuple[Any, Accelerations]:
    """Call the library's constructor; without TensorRT where it was only wished for, and stands in the way."""
    try:
        with building_folder(folder, asked, machine) as source:
            return constructor(model_dir=str(source), **asked.arguments()), asked
    except LoadError:
        raise
    except Exception:
        if not (asked.tensorrt and may_fall_back):
            raise
        log.exception("loading with TensorRT failed; loading without it")
    without = replace(asked, tensorrt=False, note="it failed to load, see the log")
    return _construct(constructor, folder, without, machine, may_fall_back=False)


def _details(cosyvoice: Any, library: Library, asked: Accelerations, *, as_paths: bool) -> dict[str, str]:
    """What is really on, read from the loaded model: without CUDA the library turns things off by itself."""
    model = cosyvoice.model
    tensorrt = not isinstance(model.flow.decoder.estimator, torch.nn.Module)
    vllm = hasattr(model.llm, "vllm")
    return {
        "library": f"{library.folder} ({'path' if as_paths else 'tensor'} prompts)",
        "device": str(model.device),
        "precision": "fp16" if model.fp16 else "fp32",
        "tensorrt": "on" if tensorrt else f"off: {asked.note or 'the library has not taken it on'}",
        "vllm": "on" if vllm else "off",
        "seed": "not honoured: vLLM draws by itself" if vllm else "honoured",
    }
