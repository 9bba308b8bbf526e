"""`cosyserve measure` in a process of its own, for tests, and what it has written."""

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil
import pytest

from cosyserve.client.measure.counters import AUDIO, FIRST_CHUNK, REQUESTS, total
from cosyserve.client.measure.record import Report, read
from tests.serving import ROOT

WITHIN = 0.05
NOT_FOR_SURE_S = 1.0
"""What a busy machine may add to a request between the service's clock and the client's."""
MARK = "MEASUREMENT_OF_A_TEST"


class Measurement:
    """One run. Every process that comes of it carries a mark in its environment. settings: a file for `--config`."""

    def __init__(self, folder: Path, *arguments: str, settings: str = "", env: Mapping[str, str] | None = None) -> None:
        self._mark = uuid.uuid4().hex
        self.base = folder / "report"
        if settings:
            (folder / "measured.toml").write_text(settings, encoding="utf-8")
            arguments = ("--config", str(folder / "measured.toml"), *arguments)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COSYSERVE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cosyserve", "measure", "-o", str(self.base), *arguments],
            cwd=folder,
            env={**inherited, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", MARK: self._mark, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever the test has found, nothing of it stays."""
        self.process.kill()
        self.process.communicate()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def finish(self) -> tuple[int, str, str]:
        """Wait for its end: exit status, stdout and stderr."""
        stdout, stderr = self.process.communicate()
        return self.process.returncode, stdout, stderr

    @property
    def report(self) -> Report:
        """What it has found."""
        return read(self.base.with_suffix(".json"))

    def log(self) -> str:
        """Of the service that it has started, so far."""
        log = self.base.with_suffix(".log")
        return log.read_text("utf-8") if log.exists() else ""

    def processes(self) -> list[int]:
        """Those that carry the mark and are not the measurement's own."""
        return [process.pid for process in psutil.process_iter() if self._is_marked(process)]

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return process.pid != self.process.pid and process.environ().get(MARK) == self._mark
        except psutil.Error:
            return False


def check_against_counts(report: Report) -> None:
    """Requests and audio to the byte; first audio as near as a busy machine lets two clocks be."""
    assert report.stages
    # A request that was broken off when the time was over may or may not have been sent.
    for stage in (stage for stage in report.stages if not stage.cut):
        assert total(stage.counters, REQUESTS) == len(stage.runs), stage.name
        samples = sum(run.audio_bytes for run in stage.runs) / 2
        assert total(stage.counters, AUDIO) * 24_000 == pytest.approx(samples, abs=0.01), stage.name
        own = [told for name, told in stage.times.items() if name.startswith(FIRST_CHUNK)]
        heard = [run.first_s for run in stage.runs if run.first_s is not None]
        assert sum(told.count for told in own) == len(heard)
        slack_s = NOT_FOR_SURE_S * len(heard)
        assert sum(heard) == pytest.approx(sum(told.sum for told in own), rel=WITHIN, abs=slack_s)
