"""Servers that tests share where they leave no mark on them, and browsers."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.http import browser as browsers
from tests.http.browser import NewReader, Reader
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


# Not for the session: while it runs, there is an event loop in this thread, and tests of other files start their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real one, without a window."""
    with browsers.launched() as launched:
        yield launched


@pytest.fixture
def new_reader(browser: Browser) -> Iterator[NewReader]:
    """Makes somebody who reads the page at this address; options as `Reader` takes them."""
    readers: list[Reader] = []

    def new(url: str, **options: object) -> Reader:
        readers.append(Reader(browser, url, **options))
        return readers[-1]

    yield new
    for reader in readers:
        reader.close()


@pytest.fixture
def reader(new_reader: NewReader, server: Server) -> Reader:
    """Somebody in front of the page, which has learned what it wants to know of the server."""
    reader = new_reader(server.url)
    reader.await_text("voice-about", "Instruction:")
    return reader
