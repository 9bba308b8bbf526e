"""Where a worker process begins: pins the device and the threads, then imports the worker side by name.

Nothing here or above here in the import chain may load numpy, torch or CUDA: the variables set below are read once,
when those are loaded.
"""

import importlib
import os
from multiprocessing.connection import Connection

from cosyserve.wire.worker_spec import WorkerSpec

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
STDOUT, STDERR = 1, 2


def run(spec: WorkerSpec, jobs: Connection, results: Connection, output: Connection) -> None:
    """The spawn target.

    jobs: read end of the job queue. results: write end of the result queue. output: where stdout and stderr go, so that
    the log has also what the interpreter and C libraries print when they die.
    """
    # A group of its own: whatever the engine starts ends with it.
    os.setpgid(0, 0)
    for stream in (STDOUT, STDERR):
        os.dup2(output.fileno(), stream)
    output.close()
    if spec.engine.device == "cpu":
        # Whatever the engine's libraries do by themselves, they do without a GPU.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif spec.device is not None:
        if "CUDA_VISIBLE_DEVICES" not in os.environ:
            # Then indices are nvidia-smi's, and CUDA must count like it.
            os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.device
    # Who sets the first of them means all: PyTorch goes by MKL's.
    threads = os.environ.get(THREAD_VARIABLES[0], str(spec.threads))
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, threads)
    importlib.import_module("cosyserve_workers.main").main(spec, jobs, results)
