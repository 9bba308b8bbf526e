"""Which accelerations to ask the library for, and a folder in which it may leave what it builds for them."""

import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from cosyserve.check.acceleration import ESTIMATOR, SWITCH_OFF, package_version, tensorrt_lack, vllm_lack
from cosyserve.protocol import EngineConfig
from cosyserve_workers.engine import LoadError
from cosyserve_workers.torch_device import find_device

BUILT_PATTERNS = ("*.plan", "vllm")
"""What the library writes into its model folder."""
FLOWS_AT_ONCE = 1
"""TensorRT contexts. Our loop runs one flow at a time, and each context costs memory for the longest input."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to accelerate with. gpu: its name. tensorrt, vllm: their versions. None where there is none."""

    gpu: str | None
    tensorrt: str | None
    vllm: str | None

    @classmethod
    def here(cls, wanted: str = "auto") -> Self:
        """Look at the machine we are on. wanted: model.device. Raises LoadError."""
        gpu = torch.cuda.get_device_name() if find_device(wanted).type == "cuda" else None
        return cls(gpu, package_version("tensorrt"), package_version("vllm"))


@dataclass(frozen=True, slots=True)
class Accelerations:
    """What is asked of the library. note: why TensorRT is off."""

    fp16: bool
    tensorrt: bool
    vllm: bool
    note: str = ""

    def arguments(self) -> dict[str, object]:
        """Keywords for the library's constructor."""
        return {
            "load_trt": self.tensorrt,
            "load_vllm": self.vllm,
            "fp16": self.fp16,
            "trt_concurrent": FLOWS_AT_ONCE,
        }


def choose(config: EngineConfig, machine: Machine) -> Accelerations:
    """Decide by the configuration and by what there is. Raises LoadError where what is demanded is not there."""
    if config.precision not in {"auto", "fp32", "fp16"}:
        raise LoadError(f"model.precision {config.precision!r} is not known here: set it to auto, fp32 or fp16")
    gpu = machine.gpu is not None
    if config.vllm and (lack := vllm_lack(gpu=gpu, vllm=machine.vllm)):
        raise LoadError(f"{lack.text}: {lack.remedy}")
    lack = None
    if config.tensorrt != "false":
        lack = tensorrt_lack(Path(config.model_dir), gpu=gpu, tensorrt=machine.tensorrt)
    if lack and config.tensorrt == "true":
        raise LoadError(f"TensorRT is asked for, but {lack.text}: {lack.remedy}; {SWITCH_OFF}")
    tensorrt = config.tensorrt != "false" and lack is None
    note = f"{lack.text}: {lack.remedy}" if lack else "" if tensorrt else "switched off in the configuration"
    # As the library's own default: half precision has given some users silence.
    return Accelerations(config.precision == "fp16", tensorrt, config.vllm, note)


@contextmanager
def building_folder(model_dir: Path, asked: Accelerations, machine: Machine) -> Iterator[Path]:
    """Give the folder to load from: the model's own or, where something has to be built, one of links to it.

    Plans depend on the GPU, TensorRT's version and the model, and the library names them after none of these; so each
    combination has a folder. The first worker builds, under a lock; the others wait for it. A build that was broken
    off is thrown away. Raises LoadError where there is no place to write.
    """
    if not (asked.tensorrt or asked.vllm):
        yield model_dir
        return
    folder = _writable_folder(model_dir, _key(model_dir, asked, machine))
    finished = folder / ".finished"
    with (folder / ".lock").open("w") as lock:
        # Released by the system, too, if we die.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if finished.exists():
            fcntl.flock(lock, fcntl.LOCK_UN)
        else:
            log.info("building for %s in %s: this takes minutes, once", machine.gpu, folder)
            _discard_built(folder)
            _link(model_dir, folder)
        try:
            yield folder
        except BaseException:
            # What was built may be why.
            finished.unlink(missing_ok=True)
            raise
        finished.touch()


def _writable_folder(model_dir: Path, key: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = [model_dir / ".cosyserve" / key, cache / "cosyserve" / key]
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / ".lock").touch()
        except OSError:
            continue
        return place
    raise LoadError(
        f"TensorRT plans can be kept neither in {places[0].parent} nor in {places[1].parent}: "
        'set XDG_CACHE_HOME to a folder that can be written, or model.tensorrt to "false"'
    )


def _key(model_dir: Path, asked: Accelerations, machine: Machine) -> str:
    sources = [ESTIMATOR] * asked.tensorrt + ["llm.pt"] * asked.vllm
    digest = hashlib.sha256()
    for name in sources:
        with (model_dir / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    parts = [machine.gpu or "cpu"]
    if asked.tensorrt:
        parts.append(f"trt{machine.tensorrt}")
    if asked.vllm:
        parts.append(f"vllm{machine.vllm}")
    return re.sub(r"[^\w.+-]+", "-", "_".join([*parts, digest.hexdigest()[:16]]))


def _discard_built(folder: Path) -> None:
    for pattern in BUILT_PATTERNS:
        for built in folder.glob(pattern):
            if built.is_dir():
                for file in built.iterdir():
                    file.unlink()
                built.rmdir()
            else:
                built.unlink()


def _link(model_dir: Path, folder: Path) -> None:
    for source in model_dir.resolve().iterdir():
        link = folder / source.name
        if source.name.startswith(".") or any(source.match(pattern) for pattern in BUILT_PATTERNS):
            continue
        if link.is_symlink() and link.readlink() != source:
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(source)
