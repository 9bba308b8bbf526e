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

ESTIMATOR = "flow.decoder.estimator.fp32.onnx"
"""What TensorRT plans are built from."""
PROBE = """
import json, torch
usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps([usable, ", ".join(torch.cuda.get_device_name(index) for index in range(usable))]))
"""
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
        remedy = "pip install 'cosyserve[tensorrt]'"
        return Finding(State.MISSING, "the package tensorrt is not there", remedy)
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


def torch_findings(*, gpu: bool, timeout_s: float = 120) -> list[Finding]:
    """Which torch there is, and whether it can use the GPUs: it stops no engine, which runs on the CPU too, if slowly.

    gpu: whether the driver lists any.
    """
    version = package_version("torch")
    if version is None:
        return []
    cuda = _cuda_of_torch()
    built = f"torch {version} ({f'built for CUDA {cuda}' if cuda else 'a build without CUDA'})"
    if not gpu:
        return [Finding(State.NOTE, f"{built} runs on the CPU")]
    if not cuda:
        remedy = "pip uninstall -y torch torchaudio && pip install 'cosyserve[cosyvoice]', from PyPI's own wheels"
        return [Finding(State.NOTE, f"{built} cannot use the GPU", remedy)]
    names, why = _ask_torch(timeout_s)
    if names:
        return [Finding(State.OK, f"{built} can use {names}")]
    remedy = f"install a driver that knows CUDA {cuda}, or a torch that the driver knows"
    return [Finding(State.NOTE, f"{built} cannot use the GPU{why and f': {why}'}", remedy)]


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
