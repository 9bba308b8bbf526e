"""What the dispatcher asks to have done about processes."""

from dataclasses import dataclass

from cosyserve.protocol import Cancel, Shutdown, Synthesize


@dataclass(frozen=True, slots=True)
class Start:
    """Spawn a process for this worker."""

    worker: int


@dataclass(frozen=True, slots=True)
class Send:
    """Put a message on this worker's queue."""

    worker: int
    message: Synthesize | Cancel | Shutdown


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL this worker's process."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class Forget:
    """This worker was sent home and has no process: it is nobody's any more."""

    worker: int


Action = Start | Send | Kill | Forget
