"""Servers that tests share where they leave no mark on them."""

from collections.abc import Iterator

import pytest

from tests.serving import Server


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Scripted engine, one worker of ten streams, small limits on text and upload."""
    settings = {"server": {"max_upload_bytes": 4_000_000}, "limits": {"max_text_chars": 1000}}
    with Server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients reach the server itself, whatever this machine's proxy is."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """The shared one, idle before and after."""
    yield shared_server
    shared_server.await_idle()
    shared_server.check_log()
