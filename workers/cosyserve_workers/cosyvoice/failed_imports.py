"""Why an import inside the CosyVoice library fails, whatever is raised: one line with the remedy.

Modules that a yaml names are imported by `pydoc.locate`, which wraps what they raise; transformers and diffusers import
lazily, and raise errors of their own over the first one.
"""

import itertools
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pydoc import ErrorDuringImport

from cosyserve.check.acceleration import package_version
from cosyserve.check.library_folder import LIBRARY_URL
from cosyserve.check.remedies import install
from cosyserve_workers.engine import LoadError

DEEPEST = 20
"""How many errors, each raised over the next, are looked through."""
WORDS = 200
"""Characters of an error that are quoted."""
REINSTALL = (
    f"{install('cosyvoice', '--force-reinstall')}; where that does not help, a fresh clone of "
    f"{LIBRARY_URL} at the commit that docs/gpu-server.md names"
)


@contextmanager
def told_in_one_line(source: Path | None) -> Iterator[None]:
    """Raise LoadError for whatever the imports in here raise. source: the library's checkout, if it is one."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if any(isinstance(cause, MemoryError) for cause in _causes(error)):
            # Another process may have it, and give it back: trying again may help.
            raise
        raise LoadError(in_one_line(error, source)) from error


def is_import(error: BaseException) -> bool:
    """Whether an error comes from a module that could not be imported."""
    return bool(missing_module(error)) or any(isinstance(cause, ErrorDuringImport) for cause in _causes(error))


def in_one_line(error: BaseException, source: Path | None) -> str:
    """Say what an import has failed on, and the remedy."""
    name = missing_module(error)
    package = name.partition(".")[0]
    if not name:
        return f"the CosyVoice library cannot be imported ({_in_short(error)}): {REINSTALL}"
    if package == "matcha":
        folder = shlex.quote(str(source or "."))
        return f"the CosyVoice library lacks its submodule: git -C {folder} submodule update --init --recursive"
    if package == "cosyvoice":
        return f"the CosyVoice library lacks {name}: git clone --recursive {LIBRARY_URL} anew"
    if package_version(package):
        return f"the CosyVoice library needs {name}, which the installed {package} does not have: {REINSTALL}"
    remedy = f"{install('cosyvoice')}; where that does not bring it, pip install {package}"
    return f"the CosyVoice library needs the package {package}: {remedy}"


def missing_module(error: BaseException) -> str:
    """Name the module whose absence is at the bottom of an error; empty where it is none's."""
    causes = (cause for cause in _causes(error) if isinstance(cause, ModuleNotFoundError))
    return next((cause.name for cause in causes if cause.name), "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it wraps or was raised over, and so on."""
    beneath: BaseException | None = error
    for _ in range(DEEPEST):
        if beneath is None:
            return
        yield beneath
        beneath = _beneath(beneath)


def _beneath(error: BaseException) -> BaseException | None:
    if isinstance(error, ErrorDuringImport):
        return error.value
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _in_short(error: BaseException) -> str:
    raised = next(itertools.dropwhile(lambda cause: isinstance(cause, ErrorDuringImport), _causes(error)), error)
    return f"{type(raised).__name__}: {' '.join(str(raised).split())[:WORDS]}"
