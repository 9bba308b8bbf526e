"""What a measurement found, as it is kept in JSON. All times are seconds, all sizes bytes."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cosyserve.client.order import UsageError

FORMAT = 1


class Outcome(StrEnum):
    """How a request ended. cut: the time was over; refused: the service had no room (503, 429)."""

    WHOLE = "whole"
    REFUSED = "refused"
    FAILED = "failed"
    CUT = "cut"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Run(_Part):
    """One request. first_s, total_s: from its last byte sent to the first, the last byte of sound received.

    underruns: pieces later than the sound before them lasted. silence_s: what a listener waited for them, together.
    """

    request_id: str
    text_chars: int
    outcome: Outcome
    code: str
    message: str
    first_s: float | None
    total_s: float
    audio_bytes: int
    audio_s: float
    underruns: int
    silence_s: float


class Spread(_Part):
    """Of several values: nearest rank, so that each is one that was measured."""

    count: int
    mean: float
    p50: float
    p95: float
    worst: float


class OwnTime(_Part):
    """What a histogram of the service's has counted: how often, and the sum."""

    count: float
    sum: float


class StageReport(_Part):
    """What one stage found.

    planned: requests. without_underrun: share of the whole ones; None where none was. client_busy: the share of a core
    that the measuring client took. counters, times: what the service's /metrics counted meanwhile, by name and labels.
    """

    name: str
    clients: int
    voice: str
    level: bool
    planned: int
    whole: int
    refused: Mapping[str, int]
    failed: Mapping[str, int]
    cut: int
    first: Spread | None
    underruns: int
    silence_s: float
    without_underrun: float | None
    audio_s: float
    wall_s: float
    client_busy: float
    counters: Mapping[str, float]
    times: Mapping[str, OwnTime]
    runs: Sequence[Run] = Field(repr=False)

    @property
    def rate(self) -> float:
        """Seconds of audio for a second."""
        return self.audio_s / self.wall_s if self.wall_s else 0.0


class Kill(_Part):
    """A worker killed in the middle of a stream. in_stream: whether that was still running when the signal was sent.

    ready_s: until its successor was ready; None where it never was. first_s: the first audio of a request after that.
    """

    worker: int
    in_stream: bool
    heard_s: float
    ready_s: float | None
    first_s: float | None
    note: str = ""


class MemorySample(_Part):
    """at_s: since the beginning. Of processes, what is resident; of GPUs, what is taken by whomever."""

    at_s: float
    front_end: int | None = None
    workers: int | None = None
    gpus: int | None = None


class Report(BaseModel):
    """All of it. said: what was left out or shortened, and why. failures: what went wrong outright.

    totals: what /metrics had at the end, counters and gauges alike.
    """

    format: int = FORMAT
    version: str
    began_at: str
    command: str
    url: str
    started: bool
    interrupted: bool = False
    load_s: float | None = None
    minutes: float
    wall_s: float = 0.0
    machine: dict[str, str] = {}
    info: dict[str, Any] = {}
    stages: list[StageReport] = []
    kill: Kill | None = None
    memory: list[MemorySample] = []
    peaks: dict[str, int] = {}
    totals: dict[str, float] = {}
    said: list[str] = []
    failures: list[str] = []

    @property
    def workers(self) -> Sequence[Mapping[str, Any]]:
        """What /model_info tells of each."""
        found = self.info.get("workers")
        return [worker for worker in found if isinstance(worker, dict)] if isinstance(found, list) else []


def read(path: Path) -> Report:
    """A report that was kept. Raises UsageError."""
    try:
        report = Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise UsageError(f"{path} is no report of `cosyserve measure`: it must be its .json file") from error
    if report.format != FORMAT:
        raise UsageError(f"{path} was written by another version of `cosyserve measure` (format {report.format})")
    return report
