"""Model folders with random weights, and the CosyVoice library that is the measure of all model code."""

import fcntl
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HANGS_S = 600
"""One of models that takes so long hangs. On two cores that others use too, it takes several times longer."""


def every(values: Iterable[int], always: int = 4) -> list[Any]:
    """Parameters of which `make test` tries each `always`-th, and `make test-full` all."""
    return [value if value % always == 0 else pytest.param(value, marks=pytest.mark.full) for value in values]


def first(values: Iterable[Any], count: int = 1) -> list[Any]:
    """Parameters of which `make test` tries the first `count`, and `make test-full` all. A tuple is one of several."""
    sets = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*one, marks=[pytest.mark.full][: place >= count]) for place, one in enumerate(sets)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell a test that hangs from a machine that is busy."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(HANGS_S))


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


@pytest.fixture(scope="session")
def small_checkpoint_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CosyVoice3 folder with random weights."""
    return _build("small", tmp_path_factory, model="3")


@pytest.fixture(scope="session")
def full_checkpoint_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of the published model's size: 4.4 GB."""
    return _build("full", tmp_path_factory, model="3")


def _build(size: str, tmp_path_factory: pytest.TempPathFactory, model: str = "2") -> Path:
    base = tmp_path_factory.getbasetemp()
    # Whichever of xdist's processes comes first builds it for all of them.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"checkpoint-{model}-{size}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            # In a process of its own: the library's imports change more than they should.
            making = folder.with_suffix(".part")
            options = ("--model", model, "--size", size, "--out", str(making))
            subprocess.run([sys.executable, "-m", "tests.checkpoint", *options], cwd=ROOT, check=True)
            making.rename(folder)
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
