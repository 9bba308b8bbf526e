"""What stands in the way of CUDA, TensorRT and vLLM; packages that cannot be here have stand-ins, looked up as such."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cosyserve.check.acceleration import ESTIMATOR, package_version, tensorrt_findings, torch_findings, vllm_lack
from cosyserve.check.finding import State
from cosyserve.check.remedies import install


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a package where this process and those it starts find it before any other, with a distribution or without."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *sys.path]))
    monkeypatch.syspath_prepend(site)

    def write(name: str, files: dict[str, str], distribution: str = "", version: str = "1.0") -> None:
        # What other tests have imported would be found without looking for it.
        monkeypatch.delitem(sys.modules, name, raising=False)
        folder = site / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
        info = site / f"{(distribution or name).replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {distribution or name}\nVersion: {version}\n")
        importlib.invalidate_caches()

    return write


def fake_torch(cuda: str | None, names: list[str], warning: str = "") -> dict[str, str]:
    """As much of torch as says whether it can use a GPU."""
    code = f"""
import types
class cuda:
    def is_available():
        import warnings
        {f"warnings.warn({warning!r})" if warning else ""}
        return {bool(names)}
    def device_count(): return {len(names)}
    def get_device_name(index): return {names!r}[index]
"""
    return {"__init__.py": code, "version.py": f"cuda: Optional[str] = {cuda!r}\n"}


def test_torch_that_can_use_the_gpus(package: Callable[..., None]) -> None:
    package("torch", fake_torch("13.0", ["NVIDIA L20", "NVIDIA L20"]), version="2.11.0")
    [finding] = torch_findings(gpu=True)
    assert finding.state is State.OK
    assert finding.text == "torch 2.11.0 (built for CUDA 13.0) can use NVIDIA L20, NVIDIA L20"


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_torch_whose_cuda_the_driver_does_not_know(
    package: Callable[..., None], nvidia_smi: Callable[[str], None], device: str
) -> None:
    nvidia_smi("echo 525.85.12")
    package("torch", fake_torch("13.0", [], "The NVIDIA driver on your system is too old"), version="2.11.0")
    [finding] = torch_findings(gpu=True, device=device)
    assert "torch 2.11.0 (built for CUDA 13.0) cannot use the GPU of driver 525.85.12" in finding.text
    assert "The NVIDIA driver on your system is too old" in finding.text
    assert "install a driver that knows CUDA 13.0" in finding.remedy
    assert finding.remedy.endswith('or set model.device to "cpu"')
    assert finding.state is State.PROBLEM
    assert finding.text.startswith("model.device is cuda, and ") == (device == "cuda")


def test_a_gpu_demanded_where_there_is_none(package: Callable[..., None]) -> None:
    package("torch", fake_torch("13.0", []), version="2.11.0")
    [finding] = torch_findings(gpu=False, device="cuda")
    assert finding.stops
    assert finding.text.startswith("model.device is cuda, and torch 2.11.0 (built for CUDA 13.0) has no GPU to use: ")
    assert finding.remedy.endswith('set model.device to "cpu"')


@pytest.mark.parametrize("gpu", [True, False])
def test_a_gpu_that_is_to_be_left_alone(package: Callable[..., None], gpu: bool) -> None:
    package("torch", {**fake_torch("13.0", ["NVIDIA L20"]), "__init__.py": "raise RuntimeError"}, version="2.11.0")
    [finding] = torch_findings(gpu=gpu, device="cpu")
    assert (finding.state, finding.text) == (
        State.NOTE,
        "torch 2.11.0 (built for CUDA 13.0) runs on the CPU: model.device",
    )


def test_torch_that_breaks_says_why(package: Callable[..., None]) -> None:
    broken = {"__init__.py": "raise ImportError('libcudart.so.13: no such file')"}
    package("torch", {**fake_torch("13.0", []), **broken})
    assert "libcudart.so.13: no such file" in torch_findings(gpu=True)[0].text


def test_torch_that_hangs_is_given_up(package: Callable[..., None]) -> None:
    package("torch", {**fake_torch("13.0", []), "__init__.py": "import time; time.sleep(3600)"})
    assert "it gave no answer in 0.2 s" in torch_findings(gpu=True, timeout_s=0.2)[0].text


def test_torch_without_cuda_is_not_asked(package: Callable[..., None], nvidia_smi: Callable[[str], None]) -> None:
    nvidia_smi("echo 580.1")
    package("torch", {**fake_torch(None, []), "__init__.py": "raise RuntimeError"}, version="2.11.0+cpu")
    [finding] = torch_findings(gpu=True)
    assert finding.text == "torch 2.11.0+cpu (a build without CUDA) cannot use the GPU of driver 580.1"
    assert install("native") in finding.remedy
    assert torch_findings(gpu=False)[0].text.endswith("runs on the CPU")


@pytest.mark.parametrize("distribution", ["tensorrt", "tensorrt-cu13", "tensorrt-cu12"])
def test_tensorrt_under_each_of_its_names(package: Callable[..., None], tmp_path: Path, distribution: str) -> None:
    package("tensorrt", {"__init__.py": "raise RuntimeError('imported')"}, distribution, "10.13.3.9")
    (tmp_path / ESTIMATOR).write_bytes(b"network")
    [finding] = tensorrt_findings(tmp_path, "auto", gpu=True)
    assert (finding.state, finding.text.partition(":")[0]) == (State.OK, "TensorRT 10.13.3.9")
    (tmp_path / ESTIMATOR).unlink()
    [finding] = tensorrt_findings(tmp_path, "true", gpu=True)
    assert finding.stops
    assert f"{ESTIMATOR} is missing" in finding.text


def test_tensorrt_that_is_not_there(tmp_path: Path) -> None:
    if package_version("tensorrt"):
        pytest.skip("it is here")
    [finding] = tensorrt_findings(tmp_path, "auto", gpu=True)
    assert not finding.stops
    assert finding.remedy == install("tensorrt")
    assert tensorrt_findings(tmp_path, "true", gpu=True)[0].stops
    assert tensorrt_findings(tmp_path, "false", gpu=True)[0].text.startswith("TensorRT is switched off")


def test_vllm() -> None:
    assert vllm_lack(gpu=True, vllm="0.11") is None
    without = vllm_lack(gpu=True, vllm=None)
    assert without is not None
    assert without.remedy.startswith("pip install vllm")
