"""What every test with real processes needs: an event loop, and the certainty that nothing outlives it."""

import logging
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest
import structlog

from cosyserve.watch import logs
from tests.faults import unannounced
from tests.process.pools import Gate, Journal
from tests.serving import wait_for


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Fail a test that leaves a process behind, this one's resource tracker apart."""
    parent = psutil.Process()
    resource_tracker.ensure_running()
    before = set(parent.children(recursive=True))
    yield
    wait_for(lambda: not set(parent.children(recursive=True)) - before, "the test's processes to be gone")


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are replaced at once."""
    monkeypatch.setattr("cosyserve.pool.worker.BACKOFF_S", (0.0,))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Where engines tell what they do."""
    return Journal(tmp_path)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Where engines wait."""
    return Gate(tmp_path)


@pytest.fixture
def announced() -> list[str]:
    """Words of the tracebacks that the test is about; any other in the log fails it."""
    return []


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announced: list[str]) -> Iterator[Callable[[], str]]:
    """The server's log, set up as the server does: call it for what is in it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as stderr:
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stderr)
            records = logs.configure("info", "json")
        # pytest listens too.
        root.handlers += handlers
        yield lambda: path.read_text(encoding="utf-8")
        records.finish()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    assert not (faults := unannounced(path.read_text(encoding="utf-8"), announced)), "\n".join(faults)
