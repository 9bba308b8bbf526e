"""Imports that fail inside the library: whatever is raised, the operator is told in one line what to do."""

import importlib
from collections.abc import Callable
from pathlib import Path
from pydoc import ErrorDuringImport
from types import ModuleType

import pytest

from cosyserve_workers.engine import LoadError
from tests.model import cosyvoice_kit as kit

torch = pytest.importorskip("torch")
from cosyserve_workers.cosyvoice.accelerations import Machine  # noqa: E402
from cosyserve_workers.cosyvoice.failed_imports import in_one_line, told_in_one_line  # noqa: E402
from cosyserve_workers.cosyvoice.library import Library  # noqa: E402
from cosyserve_workers.cosyvoice.loading import load  # noqa: E402

pytestmark = kit.LIBRARY

SOURCE = Path("/opt/CosyVoice")
MODULES = {
    "import no_such_package": r"needs the package no_such_package: .*does not bring it, pip install no_such_package",
    "import no_such_package.part": r"needs the package no_such_package: ",
    "import torch.no_such_part": r"needs torch.no_such_part, which the installed torch does not have: pip",
    "import matcha.no_such_part": r"lacks its submodule: git -C /opt/CosyVoice submodule update --init --recursive",
    "import cosyvoice.no_such_part": r"lacks cosyvoice.no_such_part: git clone --recursive",
    "from torch import no_such_name": r"cannot be imported \(ImportError: cannot import name 'no_such_name'",
    "raise RuntimeError('torn\\nin two')": r"cannot be imported \(RuntimeError: torn in two\): pip install --force",
    "raise OSError('libcudart.so.13')": r"cannot be imported \(OSError: libcudart.so.13\)",
    "raise SystemExit('install me')": r"cannot be imported \(SystemExit: install me\)",
    "def broken(:": r"cannot be imported \(SyntaxError: ",
    "try:\n    import no_such_package\nexcept ImportError as error:\n    raise RuntimeError('lazy') from error": (
        "needs the package no_such_package: "
    ),
    "try:\n    import no_such_package\nexcept ImportError:\n    raise RuntimeError('lazy')": (
        "needs the package no_such_package: "
    ),
}


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module's, that can be written into the test's folder and imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(kit.library_dir())
    return tmp_path.name


def imported_by_the_library(name: str, _: Path) -> None:
    with told_in_one_line(SOURCE):
        importlib.import_module(name)


def named_by_a_yaml(name: str, folder: Path) -> None:
    yaml = folder / "model.yaml"
    yaml.write_text(f"sample_rate: 24000\nfunctions: [!name:math.sin , !name:{name}.function ]\n")
    Library(ModuleType("cosyvoice.cli.cosyvoice"), SOURCE).import_named(yaml)


@pytest.mark.parametrize("text", MODULES)
@pytest.mark.parametrize("importing", [imported_by_the_library, named_by_a_yaml])
def test_a_module_that_cannot_be_imported(
    tmp_path: Path, name: str, text: str, importing: Callable[[str, Path], None]
) -> None:
    (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(LoadError, match=MODULES[text]) as refusal:
        importing(name, tmp_path)
    assert "\n" not in str(refusal.value)


def test_what_a_yaml_does_not_use_is_not_imported(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise RuntimeError")
    yaml = tmp_path / "model.yaml"
    yaml.write_text(f"sample_rate: 24000 # !name:{name}.function\nother: !name:{name}_of_another_version.function\n")
    Library(ModuleType("cosyvoice.cli.cosyvoice"), SOURCE).import_named(yaml)


def test_memory_that_is_short_while_importing_may_be_there_later(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise MemoryError")
    with pytest.raises(ErrorDuringImport):
        named_by_a_yaml(name, tmp_path)


def test_errors_that_go_round_in_a_circle() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert "(RuntimeError: first)" in in_one_line(first, None)


@pytest.mark.full
def test_an_import_that_fails_as_late_as_in_the_constructor(
    small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(kit.config(small_checkpoint), Machine(None, None, None))
    library = importlib.import_module("cosyvoice.cli.cosyvoice")

    def construct(**arguments: object) -> None:
        importlib.import_module("no_such_accelerator")

    monkeypatch.setattr(library, "CosyVoice2", construct)
    with pytest.raises(LoadError, match="needs the package no_such_accelerator: pip install"):
        load(kit.config(small_checkpoint), Machine(None, None, None))
