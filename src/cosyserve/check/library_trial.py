"""Can the engine `cosyvoice` import the CosyVoice library, tried as its worker will, in a process of its own.

By its files the library may look whole and yet import what is not installed. Nothing of it is imported here.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from cosyserve.check.finding import Finding, State
from cosyserve.check.remedies import install

REINSTALL = install("cosyvoice", "--force-reinstall")


def trial_findings(source_dir: Path | None, model_dir: Path, timeout_s: float = 300) -> list[Finding]:
    """Say that all imports succeed, or what the worker will say instead. timeout_s: a cold disk may need minutes."""
    try:
        tried = _import_elsewhere(source_dir, model_dir, timeout_s)
    except subprocess.TimeoutExpired:
        text = f"the CosyVoice library was not imported in {timeout_s:g} s"
        return [Finding(State.PROBLEM, text, "see that the disk it lies on answers, then check again")]
    try:
        problem = json.loads(tried.stdout.splitlines()[-1])["problem"]
    except (ValueError, LookupError, TypeError):
        return [Finding(State.PROBLEM, f"importing the CosyVoice library ended the process ({_end(tried)})", REINSTALL)]
    if not problem:
        return [Finding(State.OK, "all that the engine imports can be imported")]
    text, _, remedy = problem.rpartition(": ")
    return [Finding(State.PROBLEM, text, remedy)]


def _import_elsewhere(source_dir: Path | None, model_dir: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
    # With the path that a worker inherits, and without the folder that -m would put before it.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-m", "cosyserve_workers.trial", str(model_dir), str(source_dir or "")]
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout_s,
    )


def _end(tried: subprocess.CompletedProcess[str]) -> str:
    if tried.returncode < 0:
        return signal.Signals(-tried.returncode).name
    said = [line.strip() for line in tried.stderr.splitlines() if line.strip()]
    return said[-1] if said else f"exit status {tried.returncode}"
