"""The CosyVoice library: found, imported, and quietened. It has no package; it is a checkout, or lies on the path."""

import importlib
import inspect
import logging
import os
import pydoc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cosyserve.check.engines import library_problems
from cosyserve.check.library_folder import LIBRARY_URL, update
from cosyserve.check.model_folder import Model
from cosyserve_workers.cosyvoice.failed_imports import told_in_one_line
from cosyserve_workers.cosyvoice.stand_ins import stand_in_for_what_is_never_called
from cosyserve_workers.cosyvoice.voices import load_wav
from cosyserve_workers.engine import LoadError

_NAMED = re.compile(r"!(?:new|name|apply|module):([\w.]+)")
"""What a yaml binds or makes, in the words of hyperpyyaml."""


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

    def import_named(self, structure: Path) -> None:
        """Import what a model's yaml names, as the library's reader of it will. Raises LoadError."""
        for line in structure.read_text(encoding="utf-8", errors="replace").splitlines():
            for name in _NAMED.findall(line.partition("#")[0]):
                with told_in_one_line(self.folder), _quietly():
                    pydoc.locate(name)


def open_library(source_dir: str) -> Library:
    """Import it from the checkout `source_dir` or, where that is empty, from the import path. Raises LoadError."""
    source = Path(source_dir) if source_dir else None
    problems = library_problems(source)
    if problems:
        raise LoadError(problems[0])
    if source:
        _put_on_path(source)
    stand_in_for_what_is_never_called()
    # Both hubs are asked for nothing: what is missing shall be said, not fetched.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with told_in_one_line(source), _quietly():
        module = importlib.import_module("cosyvoice.cli.cosyvoice")
    frontend = sys.modules["cosyvoice.cli.frontend"]
    if hasattr(frontend, "load_wav"):
        frontend.load_wav = load_wav  # type: ignore[attr-defined]
    return Library(module, Path(str(module.__file__)).parents[2])


def open_for(model: Model, folder: Path, source_dir: str) -> Library:
    """Import the library and what the yaml of the model in `folder` names, as loading it will. Raises LoadError."""
    library = open_library(source_dir)
    library.constructor(model)
    library.import_named(folder / model.yaml)
    return library


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


def _put_on_path(source: Path) -> None:
    folders = [source.resolve(), (source / "third_party" / "Matcha-TTS").resolve()]
    for folder in reversed(folders):
        if folder.is_dir() and str(folder) not in sys.path:
            # First, for PyPI has a package of the same name that is something else.
            sys.path.insert(0, str(folder))


@contextmanager
def _quietly() -> Iterator[None]:
    """Import in here without letting the library set up our log, and drop what it says in passing.

    It logs through the root logger itself, users' texts among it. A filter on that logger sees only those records, not
    the ones that come up from ours.
    """
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        root.addFilter(_only_warnings)


def _only_warnings(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
