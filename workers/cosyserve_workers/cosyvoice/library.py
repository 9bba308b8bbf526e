"""The CosyVoice library: found, imported, and quietened. It has no package; it is a checkout, or lies on the path."""

import importlib
import inspect
import logging
import os
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from cosyserve.check.library_folder import LIBRARY_URL, update
from cosyserve.check.model_folder import Model
from cosyserve.check.report import library_problems
from cosyserve_workers.cosyvoice.voices import load_wav
from cosyserve_workers.engine import LoadError


@dataclass(frozen=True, slots=True)
class Library:
    """The imported library. module: `cosyvoice.cli.cosyvoice`. folder: what was put on the path to reach it."""

    module: ModuleType
    folder: Path

    def constructor(self, model: Model) -> Any:
        """What loads a model of this kind. Raises LoadError where the library is older than the model."""
        auto = getattr(self.module, "AutoModel", None)
        own = getattr(self.module, model.name, None)
        if own is None:
            raise LoadError(f"the CosyVoice library in {self.folder} does not know {model.name}: {self.update()}")
        return auto or own

    def update(self) -> str:
        """How to get a newer one."""
        return update(self.folder)


def open_library(source_dir: str) -> Library:
    """Import it from the checkout `source_dir` or, where that is empty, from the import path. Raises LoadError."""
    source = Path(source_dir) if source_dir else None
    problems = library_problems(source)
    if problems:
        raise LoadError(problems[0])
    if source:
        _put_on_path(source)
    _do_without_pyworld()
    # Both hubs are asked for nothing: what is missing shall be said, not fetched.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        module = _import_quietly("cosyvoice.cli.cosyvoice")
    except ModuleNotFoundError as error:
        raise LoadError(_missing(error, source)) from error
    except ImportError as error:
        raise LoadError(
            f"the CosyVoice library cannot be imported ({error}): pip install --force-reinstall 'cosyserve[cosyvoice]'"
        ) from error
    frontend = sys.modules["cosyvoice.cli.frontend"]
    if hasattr(frontend, "load_wav"):
        frontend.load_wav = load_wav  # type: ignore[attr-defined]
    return Library(module, Path(str(module.__file__)).parents[2])


def takes_path(frontend: Any) -> bool:
    """Whether prompts are handed over as paths (since late 2025) or as tensors (before). Raises LoadError."""
    names = inspect.signature(frontend.frontend_zero_shot).parameters
    if "prompt_wav" in names:
        return True
    if "prompt_speech_16k" in names:
        return False
    raise LoadError(f"this generation of the CosyVoice library is not known: try a checkout of {LIBRARY_URL} of 2026")


def check_generation(library: Library, model: Any) -> None:
    """See that the parts driven by us have the parameters we use. Raises LoadError."""
    wanted = {"uuid": model.llm.inference, "streaming": model.flow.inference, "finalize": model.flow.inference}
    for name, method in wanted.items():
        if name not in inspect.signature(method).parameters:
            raise LoadError(f"the CosyVoice library in {library.folder} is from before May 2025: {library.update()}")


def _do_without_pyworld() -> None:
    """Stand in for a package that has to be compiled, and that a published yaml imports for its training section alone.

    There `!name:` binds functions that serving never calls.
    """
    if find_spec("pyworld") is None:
        stand_in = ModuleType("pyworld", "Not installed: only training needs it.")
        stand_in.__spec__ = ModuleSpec("pyworld", None)
        sys.modules["pyworld"] = stand_in


def _put_on_path(source: Path) -> None:
    folders = [source.resolve(), (source / "third_party" / "Matcha-TTS").resolve()]
    for folder in reversed(folders):
        if folder.is_dir() and str(folder) not in sys.path:
            # First, for PyPI has a package of the same name that is something else.
            sys.path.insert(0, str(folder))


def _missing(error: ModuleNotFoundError, source: Path | None) -> str:
    name = (error.name or "").partition(".")[0]
    if name == "matcha":
        return f"the CosyVoice library lacks its submodule: git -C {source or '.'} submodule update --init --recursive"
    if name == "cosyvoice":
        return f"the CosyVoice library lacks {error.name}: git clone --recursive {LIBRARY_URL} anew"
    return f"the CosyVoice library needs the package {error.name}: pip install 'cosyserve[cosyvoice]'"


def _import_quietly(name: str) -> ModuleType:
    """Import without letting the library set up our log, and drop what it says in passing.

    It logs through the root logger itself, users' texts among it. A filter on that logger sees only those records, not
    the ones that come up from ours.
    """
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        return importlib.import_module(name)
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        root.addFilter(_only_warnings)


def _only_warnings(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
