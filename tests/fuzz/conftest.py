"""The server that is fuzzed, and the witness to it."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.witness import Witness
from tests.serving import Server, Tables

WATCHED: dict[str, Any] = {"watch_steps": True} if "watch_steps" in inspect.signature(Server).parameters else {}
SETTINGS: Tables = {
    "server": {"max_upload_bytes": 1_000_000},
    "limits": {"max_text_chars": 1000},
    "model": {"engine": "tests.fuzz.engine:create"},
}


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all drivers: what one leaves behind, the next meets."""
    with Server(tmp_path_factory.mktemp("fuzzed"), SETTINGS, **WATCHED) as server:
        yield server


@pytest.fixture(scope="session")
def shared_witness(fuzzed: Server) -> Witness:
    """Counts over all drivers."""
    return Witness(fuzzed)


@pytest.fixture
def witness(shared_witness: Witness) -> Iterator[Witness]:
    """Has a last look after each test."""
    yield shared_witness
    shared_witness.close()
