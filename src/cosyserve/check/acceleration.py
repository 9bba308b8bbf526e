"""What the engine `cosyvoice` can be accelerated with: CUDA through torch, TensorRT, vLLM.

None is imported to find out: where torch itself has to be asked, it is asked in a process of its own.
"""

import json
import re
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from cosyserve.check.finding import Finding, State
from cosyserve.check.nvidia import NoGpuError, query_gpus
from cosyserve.check.remedies import install

ESTIMATOR = "flow.decoder.estimator.fp32.onnx"
"""What TensorRT plans are built from."""
PROBE = """
import json, torch
usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps([usable, ", ".join(torch.cuda.get_device_name(index) for index in range(usable))]))
"""
ON_A_CPU = 'or set model.device to "cpu"'
SWITCH_OFF = 'or set model.tensorrt to "auto" or "false"'


def package_version(package: str) -> str | None:
    """A package's version, whichever CUDA its distribution is for; None where it cannot be imported."""
    try:
        if find_spec(package) is None:
            return None
    except (ImportError, ValueError):
        return None
    for distribution in (package, f"{package}-cu13", f"{package}-cu12"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def tensorrt_lack(model_dir: Path, *, gpu: bool, tensorrt: str | None) -> Finding | None:
    """The first thing that TensorRT needs and that is not there. tensorrt: its version, or None."""
    if not gpu:
        remedy = "see that nvidia-smi lists one and that torch is a CUDA build"
        return Finding(State.PROBLEM, "there is no CUDA GPU", remedy)
    if tensorrt is None:
        return Finding(State.MISSING, "the package tensorrt is not there", install("tensorrt"))
    if not (model_dir / ESTIMATOR).is_file():
        return Finding(State.MISSING, f"{model_dir / ESTIMATOR} is missing", "download the model folder again")
    return None


def vllm_lack(*, gpu: bool, vllm: str | None) -> Finding | None:
    """The same for vLLM."""
    if gpu and vllm:
        return None
    what, remedy = ("the package", "pip install vllm") if gpu else ("a CUDA GPU", "see to the driver")
    return Finding(State.MISSING, f"vllm needs {what}, which is not there", f"{remedy}, or set model.vllm to false")


def tensorrt_findings(model_dir: Path, wanted: str, *, gpu: bool) -> list[Finding]:
    """Whether TensorRT will be used, or what it lacks. wanted: the setting."""
    version = package_version("tensorrt")
    if wanted == "false":
        return [Finding(State.NOTE, "TensorRT is switched off: model.tensorrt")]
    lack = tensorrt_lack(model_dir, gpu=gpu, tensorrt=version)
    if lack is None:
        return [Finding(State.OK, f"TensorRT {version}: plans are built at the first start, which takes minutes")]
    if wanted == "true":
        return [Finding(lack.state, f"TensorRT is asked for, but {lack.text}", f"{lack.remedy}; {SWITCH_OFF}")]
    return [Finding(State.NOTE, f"without TensorRT: {lack.text}", lack.remedy)]


def torch_findings(*, gpu: bool, device: str = "auto", timeout_s: float = 120) -> list[Finding]:
    """Which torch there is, and whether it can use the GPUs. Where it cannot, nobody is to wait for a CPU unawares.

    gpu: whether the driver lists any. device: model.device.
    """
    if package_version("torch") is None:
        return []
    if device == "cpu" or (not gpu and device == "auto"):
        return [Finding(State.NOTE, f"{_built()} runs on the CPU{': model.device' if device == 'cpu' else ''}")]
    names, why = _ask_torch(timeout_s) if gpu and _cuda_of_torch() else ("", "")
    if names:
        return [Finding(State.OK, f"{_built()} can use {names}")]
    return [unusable_gpu(why, device)]


def unusable_gpu(why: str, device: str) -> Finding:
    """Say that torch cannot use the GPU, on which driver, and what to do.

    why: in torch's words, where it has any. device: model.device.
    """
    cuda, quoted = _cuda_of_torch(), why and f" ({why})"
    torch = f"{'model.device is cuda, and ' if device == 'cuda' else ''}{_built()}"
    try:
        ((driver, *_), *_) = query_gpus("driver_version")
    except NoGpuError as error:
        return Finding(State.PROBLEM, f"{torch} has no GPU to use: {error}{quoted}", f"see to the driver, {ON_A_CPU}")
    remedy = f"install a driver that knows CUDA {cuda}, or a torch that driver {driver} and its GPU know"
    if not cuda:
        remedy = f"pip uninstall -y torch torchaudio && {install('native')}, from PyPI's own wheels"
    text = f"{torch} cannot use the GPU of driver {driver}{quoted}"
    return Finding(State.PROBLEM, text, f"{remedy}, {ON_A_CPU}")


def _built() -> str:
    cuda = _cuda_of_torch()
    return f"torch {package_version('torch')} ({f'built for CUDA {cuda}' if cuda else 'a build without CUDA'})"


def _cuda_of_torch() -> str:
    """The CUDA that torch was built for; empty for a build without. Read from the file that says so."""
    spec = find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "version.py"
        if file.is_file() and (match := re.search(r"^cuda\b.*=\s*'([\d.]+)'", file.read_text(), re.MULTILINE)):
            return match[1]
    return ""


def _ask_torch(timeout_s: float) -> tuple[str, str]:
    """The names of the GPUs that it can use; if none, why."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return "", f"it gave no answer in {timeout_s:g} s"
    said = [line.strip() for line in asked.stderr.splitlines() if line.strip()]
    try:
        _, names = json.loads(asked.stdout.splitlines()[-1])
    except (ValueError, LookupError):
        return "", said[-1] if said else "it said nothing"
    # A driver that is too old is warned of, not raised about.
    return names, next((line for line in said if "driver" in line.lower()), "")
