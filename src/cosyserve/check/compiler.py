"""What Triton builds its kernels' launchers with, on a machine with a GPU: tried, as it would, before it is needed."""

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from cosyserve.check.finding import Finding, State

CACHE = "TRITON_CACHE_DIR"
SOURCE = "#include <Python.h>\nint main(void) { return 0; }\n"
COMPILERS = ("gcc", "clang", "cc")


def compiler_findings(timeout_s: float = 60) -> list[Finding]:
    """A line that says that there are a C compiler, Python's headers and a cache folder, or one for each that lacks."""
    lacks = [lack for lack in (_compiling(timeout_s), _caching()) if lack is not None]
    return lacks or [Finding(State.OK, "Triton can build kernels: a C compiler, Python.h and a cache folder are there")]


def _compiling(timeout_s: float) -> Finding | None:
    compiler = os.environ.get("CC") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        return Finding(State.NOTE, "Triton cannot build kernels: there is no C compiler", "apt install gcc libc6-dev")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "trial.c"
        source.write_text(SOURCE)
        command = [compiler, "-fsyntax-only", f"-I{sysconfig.get_path('include')}", str(source)]
        try:
            tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Finding(State.NOTE, f"Triton cannot build kernels: {compiler} cannot be run ({error})", "see to it")
    if tried.returncode == 0:
        return None
    said = next((line for line in tried.stderr.splitlines() if "error" in line), tried.stderr.strip()[:200])
    remedy = "apt install python3-dev libc6-dev, those of this Python" if "Python.h" in said else "see to the compiler"
    return Finding(State.NOTE, f"Triton cannot build kernels: {compiler} says {said}", remedy)


def _caching() -> Finding | None:
    folder = Path(os.environ.get(CACHE) or Path.home() / ".triton" / "cache")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        text = f"Triton cannot keep its kernels: {folder} cannot be written ({error.strerror})"
        return Finding(State.NOTE, text, f"set {CACHE} to a folder that can be")
