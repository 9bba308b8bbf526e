"""Model folders with random weights, and the CosyVoice library that is the measure of all model code."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def library_path() -> Path:
    """The folder with the packages `cosyvoice` and `matcha`, importable from now on: a snapshot inside xinference."""
    folder = Path(str(importlib.metadata.distribution("xinference").locate_file("xinference/thirdparty")))
    sys.path.append(str(folder))
    return folder


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CosyVoice2 folder with random weights."""
    return _build("small", tmp_path_factory)


@pytest.fixture(scope="session")
def full_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of the published model's size: 4.5 GB."""
    return _build("full", tmp_path_factory)


def _build(size: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / size
    # In a process of its own: the library's imports change more than they should.
    subprocess.run([sys.executable, "-m", "tests.checkpoint", "--size", size, "--out", folder], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="session")
def cosyvoice(small_checkpoint: Path) -> Any:
    """The engine on it, which every test leaves as it was."""
    from cosyserve_workers.cosyvoice.factory import create
    from tests.model import cosyvoice_kit as kit

    return create(kit.config(small_checkpoint))


@pytest.fixture
def library(cosyvoice: Any) -> Any:
    """The library's own object in that engine."""
    return cosyvoice.library
