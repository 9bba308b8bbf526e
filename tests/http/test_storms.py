"""Crowds that mean no good: meanwhile others are served, nothing grows, and the server still ends as it should."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import h2.config
import h2.connection
import h2.settings
import psutil
import pytest

from tests.engines import expected_pcm
from tests.http.sessions import PATH
from tests.http.wire import connect, frame, head, post, received_until_the_end, reset, upgrade
from tests.serving import Server

REQUEST = {":method": "POST", ":path": "/synthesize", ":scheme": "http", ":authority": "test"}
CLIENTS = 100


def many_streams() -> bytes:
    """50 requests on one HTTP/2 connection whose answers may send nothing."""
    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for stream in range(1, 101, 2):
        client.send_headers(stream, [*REQUEST.items(), ("content-type", "application/x-www-form-urlencoded")])
        client.send_data(stream, b"text=hello", end_stream=True)
    return client.data_to_send()


def rapid_resets() -> bytes:
    """200 requests that are taken back at once."""
    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.initiate_connection()
    for stream in range(1, 401, 2):
        client.send_headers(stream, [*REQUEST.items()])
        client.reset_stream(stream)
    return client.data_to_send()


H2C = head("GET /health HTTP/1.1", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAQAAAAA")
STORMS = {
    "streams": many_streams(),
    "resets": rapid_resets(),
    "h2c and streams": H2C + many_streams(),
    "h2c and resets": H2C + rapid_resets(),
    "requests in a row": post(b"text=hello") * 500,
    "frames": upgrade(PATH) + frame(9) * 5000 + frame(10) * 5000,
}


@pytest.fixture(scope="module")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Told to end when all storms are over, it does."""
    with Server(tmp_path_factory.mktemp("stormy")) as server:
        yield server
        server.terminate()
        assert server.wait_exit() == 0


@pytest.fixture
def server(stormy: Server) -> Iterator[Server]:
    """Serves before and after."""
    assert stormy.speak(text="hello", seed=1).content == expected_pcm(1, 3)
    yield stormy
    stormy.await_idle()
    assert stormy.speak(text="hello", seed=1).content == expected_pcm(1, 3)
    assert '"level": "error"' not in stormy.output()


@pytest.mark.parametrize("storm", STORMS.values(), ids=list(STORMS))
def test_of_connections(server: Server, storm: bytes) -> None:
    def attack(_: int) -> None:
        with connect(server) as connection:
            try:
                connection.sendall(storm)
                connection.recv(65536)
            except OSError:
                pass
            reset(connection)

    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    with ThreadPoolExecutor(CLIENTS) as crowd:
        attacks = [crowd.submit(attack, number) for number in range(3 * CLIENTS)]
        while not all(one.done() for one in attacks):
            assert server.get("/health/live").status_code == 200
    assert [one.result() for one in attacks] == [None] * (3 * CLIENTS)
    assert process.memory_info().rss - before < 64_000_000


@pytest.mark.parametrize("storm", ["streams", "resets"])
def test_of_http_2_goes_no_further_than_its_preface(server: Server, storm: str) -> None:
    with connect(server) as connection:
        connection.sendall(STORMS[storm])
        assert received_until_the_end(connection) == b""
    assert server.model_info()["running"] == server.model_info()["waiting"] == 0


def test_the_end_does_not_wait_for_who_holds_on(tmp_path: Path) -> None:
    """Half heads, sessions, half bodies and refused clients that do not leave."""
    held = [b"GET / HT", upgrade(PATH), H2C, b"\x00" * 100, head(Content_Length="10")]
    with Server(tmp_path) as server, ExitStack() as stack:
        for number in range(CLIENTS):
            stack.enter_context(connect(server)).sendall(held[number % len(held)])
        server.terminate()
        assert server.wait_exit() == 0
