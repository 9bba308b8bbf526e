"""The service where it is started here: up as it is configured, on this machine alone, and gone at the end."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosyserve.client.measure.target import MeasureError
from cosyserve.settings.sections import Settings

END_S, LAST_S = 15.0, 5.0
"""For its end, before it is asked once more, and after that."""
TIED = "cosyserve.client.measure.tied"
ALONE = ("--host", "127.0.0.1", "--port", "0")
"""On this machine alone and beside a service that runs, where the flags do not say otherwise."""
TALKING = ("--log-level", "info")
"""Less would not say where it listens."""
ANNOUNCED = "serving on "
LISTENING_S = 60.0
"""Until it says where it listens; what it loads, it loads after that."""
TAIL_LINES = 5


@dataclass(frozen=True, slots=True)
class Service:
    """Runs. key: one that it takes; None where it wants none."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str
    key: str | None

    @property
    def ended(self) -> bool:
        """Whether its process has gone."""
        return self.process.poll() is not None


@contextlib.contextmanager
def started(flags: Sequence[str], settings: Settings, log: Path) -> Iterator[Service]:
    """Up when entered, as far as listening; gone when left. log: where its lines go. Raises MeasureError."""
    talking = () if "debug" in flags else TALKING
    key = secrets.token_urlsafe() if settings.server.needs_key else None
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", TIED, str(os.getpid()), "serve", *ALONE, *flags, *talking],
            env={**os.environ, **_environment(settings, key)},
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
            # Ctrl-C is for the measurement, which then ends the service.
            start_new_session=True,
        )
    try:
        yield Service(process, log, _address(process, log), key)
    finally:
        _end(process)


def _environment(settings: Settings, key: str | None) -> Mapping[str, str]:
    """What the log is read by; and a key of our own beside the configured ones, which may be none of our business."""
    told = {"COSYSERVE_LOG__FORMAT": "json"}
    if key is not None:
        told["COSYSERVE_SERVER__API_KEYS"] = json.dumps([*settings.server.api_keys, key])
    return told


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    give_up_at = time.monotonic() + LISTENING_S
    while time.monotonic() < give_up_at:
        gone = process.poll() is not None
        for event in _events(log):
            if event.startswith(f"{ANNOUNCED}http"):
                return event.removeprefix(ANNOUNCED)
        if gone:
            break
        time.sleep(0.05)
    raise MeasureError(f"the service did not start: {tail(log)}")


def _events(log: Path) -> Iterator[str]:
    for line in log.read_text("utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            yield str(json.loads(line)["event"])


def tail(log: Path) -> str:
    """The last lines of it, in one."""
    lines = log.read_text("utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    return f"{' / '.join(line.strip() for line in lines) or 'it said nothing'} (all of it: {log})"


def _end(process: subprocess.Popen[bytes]) -> None:
    """With its workers, which it sends home itself; at the second signal, by force; a second Ctrl-C hastens it."""
    try:
        for patience_s in (END_S, LAST_S):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(patience_s)
                return
    finally:
        process.kill()
        process.wait()
