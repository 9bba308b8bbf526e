"""What a pool tells of itself and of its workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class WorkerState(StrEnum):
    """starting -> ready -> dying -> resting -> starting ...; unfit is final.

    spare: ready, and not in service before the whole of its generation is. leaving: speaks its last streams.
    """

    STARTING = "starting"
    SPARE = "spare"
    READY = "ready"
    LEAVING = "leaving"
    DYING = "dying"
    RESTING = "resting"
    UNFIT = "unfit"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What /model_info shows of one worker."""

    worker: int
    generation: int
    state: str
    device: str | None
    pid: int | None
    streams: int
    running: int
    restarts: int
    reason: str
    details: Mapping[str, str]
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PoolState:
    """The pool at one moment.

    generation: which settings it serves by: one more with each reload. engine: by its name. workers: each one.
    """

    running: int
    waiting: int
    max_concurrency: int
    buffered_bytes: int
    generation: int
    engine: str
    workers: Sequence[WorkerStatus]
