"""What nvidia-smi and the driver's files say of the GPUs: the front end never loads CUDA to ask."""

import csv
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

DEVICES = Path("/dev")
VISIBLE = "CUDA_VISIBLE_DEVICES"


class NoGpuError(Exception):
    """No GPU is seen; the message says why."""


def query_gpus(*fields: str, timeout_s: float = 10) -> list[list[str]]:
    """One row a GPU, in nvidia-smi's order, with the fields asked for in its words. Raises NoGpuError.

    timeout_s: nvidia-smi can hang with its driver.
    """
    output = _run_nvidia_smi(fields, timeout_s)
    rows = list(csv.reader(output.splitlines(), skipinitialspace=True))
    if not rows or any(len(row) != len(fields) for row in rows):
        raise NoGpuError(f"nvidia-smi listed none ({_first_line(output)})")
    return rows


def described_gpus(timeout_s: float = 10) -> dict[str, str]:
    """What each is, by its index. Raises NoGpuError."""
    rows = query_gpus("index", "name", "memory.total", "driver_version", "compute_cap", timeout_s=timeout_s)
    return {
        index: f"{name}, {memory}, driver {driver}, compute capability {capability}"
        for index, name, memory, driver, capability in rows
    }


def visible_devices(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The devices that a process started now would see: indices, UUIDs or MIG ids; empty where there are none."""
    if VISIBLE in environ:
        # CUDA stops at the first entry that is none.
        devices = [entry.strip() for entry in environ[VISIBLE].split(",")]
        return devices[: devices.index("-1")] if "-1" in devices else [entry for entry in devices if entry]
    return _listed()


def gpu_is_listed() -> bool:
    """Whether there is one that a process started now would see."""
    # Where nothing hides any, the process would see all that are listed.
    return bool(_listed() and (VISIBLE not in os.environ or visible_devices()))


def _listed() -> list[str]:
    """Indices as CUDA counts, in nvidia-smi's order; without it, of a driver's devices that this process is shown."""
    try:
        return [index for (index,) in query_gpus("index")]
    except NoGpuError:
        return [str(index) for index, _ in enumerate(DEVICES.glob("nvidia[0-9]*"))]


def _run_nvidia_smi(fields: Sequence[str], timeout_s: float) -> str:
    path = shutil.which("nvidia-smi")
    if path is None:
        raise NoGpuError("nvidia-smi is not installed")
    command = [path, f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        # Its own session, so that whatever it starts can be killed with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise NoGpuError(f"nvidia-smi cannot be run ({error.strerror})") from error
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _abandon(process)
        raise NoGpuError(f"nvidia-smi gave no answer in {timeout_s:g} s, its driver may hang") from None
    if process.returncode:
        raise NoGpuError(f"nvidia-smi failed ({_first_line(output)})")
    return output


def _abandon(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # Stuck inside the driver it cannot even be killed; then it is not waited for.
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    if process.stdout:
        process.stdout.close()


def _first_line(output: str) -> str:
    return next((line.strip() for line in output.splitlines() if line.strip()), "it said nothing")
