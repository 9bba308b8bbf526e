"""Clients that read slowly or not at all: the bound on what is held for them, and who is cut off."""

import hashlib
import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engines import expected_pcm
from tests.http.wire import check_error, connect, receive, speech
from tests.serving import Script, Server, wait_for

LONG: dict[str, Any] = {"chunks": 500, "length": 24_000}
LONG_BYTES = 500 * 24_000 * 2
"""More than the sockets of both ends take on before a sender blocks."""


def established(server: Server) -> list[int]:
    """The remote ports of the connections that the server's process holds."""
    connections = psutil.Process(server.pid).net_connections("tcp4")
    return [connection.raddr.port for connection in connections if connection.raddr]


def test_ten_that_stop_reading(tmp_path: Path) -> None:
    """The bound holds at every moment, the streams come free, and the unread connections are closed."""
    limit = 2_000_000
    # One that is cut off before its answer has begun gets a whole one, an error, and its connection may rest after it.
    settings = {"server": {"max_buffered_bytes": limit, "client_stall_timeout_s": 3, "keep_alive_s": 1}}
    scripts = [Script(tmp_path, f"job{number}", **LONG) for number in range(10)]
    with Server(tmp_path, settings) as server, ExitStack() as stack:
        connections = [stack.enter_context(connect(server, receive_buffer=4096)) for _ in scripts]
        for connection, script in zip(connections, scripts, strict=True):
            connection.sendall(speech(script.text))
        held = []

        def streams_are_free() -> bool:
            info = server.model_info()
            held.append(info["buffered_bytes"])
            return bool(info["running"] == 0 and all("closed" in script.events() for script in scripts))

        wait_for(streams_are_free, "free streams")
        assert max(held) <= limit
        ports = {connection.getsockname()[1] for connection in connections}
        wait_for(lambda: not ports.intersection(established(server)), "the connections to be closed")
        assert server.model_info()["buffered_bytes"] == 0
        assert {line["outcome"] for line in server.logs("speech")} == {"listener_stalled"}
        assert server.speak(text="hello", seed=1).content == expected_pcm(1, 3)


def test_the_furthest_behind_is_cut_off_first(tmp_path: Path) -> None:
    """One that reads along is not made to pay for one that does not."""
    script, steady = Script(tmp_path, "stuck", **LONG), Script(tmp_path, "steady", chunks=400)
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, {"server": {"max_buffered_bytes": 2_000_000}}))
        connection = stack.enter_context(connect(server, receive_buffer=4096))
        threads = stack.enter_context(ThreadPoolExecutor(1))
        connection.sendall(speech(script.text))
        answer = threads.submit(server.speak, text=steady.text, seed=7)
        script.await_event("closed")
        assert answer.result().content == expected_pcm(7, 400)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            receive(connection)


def test_those_that_read_nothing_are_cut_off(tmp_path: Path) -> None:
    """And told from those that have gone, though the buffers of one fill only as its sound is made."""
    script, paced = Script(tmp_path, at=499, **LONG), Script(tmp_path, "paced", at=1, chunks=8, length=24_000)
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, {"server": {"client_stall_timeout_s": 3}}))
        connections = [stack.enter_context(connect(server, receive_buffer=4096)) for _ in range(2)]
        for connection, text in zip(connections, (script.text, paced.text), strict=True):
            connection.sendall(speech(text))
        paced.await_event("gate")
        time.sleep(1)  # The pace of this engine; nothing is waited for.
        paced.open_gate()
        script.await_event("closed")
        assert "chunk 499" not in script.events()
        server.await_idle()
        lines = wait_for(lambda: told if len(told := server.logs("speech")) == 2 else [], "the requests' lines")
        assert {line["outcome"] for line in lines} == {"listener_stalled"}
        ports = {connection.getsockname()[1] for connection in connections}
        wait_for(lambda: not ports.intersection(established(server)), "the connections to be closed")
        for connection in connections:
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                receive(connection)


def test_one_that_reads_slowly_is_not(tmp_path: Path) -> None:
    """Several times the stall timeout at some times the pace of speech, with the sender blocked all the while."""
    script = Script(tmp_path, **LONG)
    content = hashlib.sha256()
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, {"server": {"client_stall_timeout_s": 3}}))
        connection = stack.enter_context(connect(server))
        connection.sendall(speech(script.text, seed=5))
        answer = stack.enter_context(http.client.HTTPResponse(connection, method="POST"))
        answer.begin()
        for _ in range(40):
            content.update(answer.read(60_000))
            time.sleep(0.2)  # The pace of this client; nothing is waited for.
        assert server.model_info()["buffered_bytes"] > LONG_BYTES / 4
        while piece := answer.read(1_000_000):
            content.update(piece)
    assert content.digest() == hashlib.sha256(expected_pcm(5, 500, 24_000)).digest()


def test_a_pause_of_the_engine_is_not_the_clients(tmp_path: Path) -> None:
    """The stall clock runs only while there is something to read."""
    script, clock = Script(tmp_path, at=1), Script(tmp_path, "clock", at=499, **LONG)
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, {"server": {"client_stall_timeout_s": 1}}))
        answer = stack.enter_context(server.stream(text=script.text, seed=1))
        script.await_event("gate")
        other = stack.enter_context(connect(server, receive_buffer=4096))
        other.sendall(speech(clock.text))
        clock.await_event("closed")
        script.open_gate()
        assert answer.read() == expected_pcm(1, 3)


def test_a_buffer_too_small_for_one_chunk(tmp_path: Path) -> None:
    """Nothing can be said with it; the client is told so in the shape of every error."""
    with Server(tmp_path, {"server": {"max_buffered_bytes": 1000}}) as server:
        assert "max_buffered_bytes" in check_error(server.speak(text="hello"), 500, "listener_stalled")
