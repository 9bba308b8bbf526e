"""`model.device` on a machine whose GPU torch cannot use: each case in a process of its own, for torch looks once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cosyserve_workers.native.loading import Machine
from cosyserve_workers.native.memory_plan import GIB

NOBODYS_GPU = "GPU-00000000-0000-0000-0000-000000000000"
LOOK = """
import logging, sys
from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.loading import Machine
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
try:
    print("runs on", Machine.here(sys.argv[1]).name)
except LoadError as error:
    print("LoadError", error)
"""


@pytest.fixture
def path_with_a_gpu(tmp_path: Path) -> str:
    """Where nvidia-smi lists one, with an old driver."""
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\ncase "$*" in *driver*) echo 525.85.12 ;; *) echo 0 ;; esac\n')
    program.chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


def look(wanted: str, path: str) -> str:
    environment = {**os.environ, "PATH": path, "CUDA_VISIBLE_DEVICES": NOBODYS_GPU}
    command = [sys.executable, "-c", LOOK, wanted]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.full
def test_a_gpu_that_is_demanded(path_with_a_gpu: str) -> None:
    said = look("cuda", path_with_a_gpu)
    assert said.startswith("LoadError model.device is cuda, and torch 2.")
    assert "cannot use the GPU of driver 525.85.12" in said
    assert "built for CUDA" in said or "a build without CUDA" in said
    assert said.count("\n") == 1


@pytest.mark.full
def test_a_gpu_that_is_there_for_nothing(path_with_a_gpu: str) -> None:
    said = look("auto", path_with_a_gpu)
    assert said.startswith("LoadError torch 2.")
    assert "cannot use the GPU of driver 525.85.12" in said
    assert said.rstrip().endswith('or set model.device to "cpu"')


@pytest.mark.full
def test_a_gpu_that_is_to_be_left_alone(path_with_a_gpu: str) -> None:
    assert look("cpu", path_with_a_gpu).startswith("runs on cpu, ")


@pytest.mark.full
def test_no_gpu_at_all(tmp_path: Path) -> None:
    assert look("auto", str(tmp_path)).startswith("runs on cpu, ")
    assert "has no GPU to use: nvidia-smi is not installed" in look("cuda", str(tmp_path))


@pytest.fixture
def a_usable_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As far as torch says: what it would do is none of this test's affair."""
    monkeypatch.setattr("cosyserve_workers.native.loading.find_device", lambda _: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (70 * GIB, 80 * GIB))
    yield
    torch.backends.cuda.enable_cudnn_sdp(True)


@pytest.mark.usefixtures("a_usable_gpu")
def test_attention_makes_no_plan_for_each_shape() -> None:
    assert torch.backends.cuda.cudnn_sdp_enabled()
    machine = Machine.here("auto", workers=2)
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert (machine.name, machine.room.share) == ("NVIDIA H100", 36 * GIB)
