"""What a worker process is told at birth, and the signals that it is born with blocked.

Nothing here or above here in the import chain may load numpy, torch or CUDA: a worker unpickles this before its device
and its threads are set.
"""

import signal
from dataclasses import dataclass

from cosyserve.protocol import EngineConfig

GROUP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""What Ctrl-C, service managers and a closed terminal send to the whole group.

Blocked when a worker is born, until it ignores them."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """device: for CUDA_VISIBLE_DEVICES; None leaves it as inherited. threads: for the numeric libraries' pools."""

    index: int
    engine: EngineConfig
    device: str | None
    threads: int
    log_level: str
