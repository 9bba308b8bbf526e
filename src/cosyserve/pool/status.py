"""What a pool tells of itself and of its workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class WorkerState(StrEnum):
    """starting -> ready -> dying -> resting -> starting ...; unfit is final."""

    STARTING = "starting"
    READY = "ready"
    DYING = "dying"
    RESTING = "resting"
    UNFIT = "unfit"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What /model_info shows of one worker."""

    worker: int
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

    workers: each one's state. restarts: how often each one's process was replaced. engine: by its name. details: what
    each worker's engine tells of itself. counters: what each one's has counted.
    """

    running: int
    waiting: int
    max_concurrency: int
    buffered_bytes: int
    workers: Sequence[WorkerState]
    restarts: Sequence[int]
    engine: str
    details: Sequence[Mapping[str, str]]
    counters: Sequence[Mapping[str, int]]
