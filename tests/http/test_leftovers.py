"""Requests and sessions that are over leave nothing to the garbage collector, whose passes hold the event loop."""

import json
import os
import signal
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests import sounds
from tests.http.sessions import session
from tests.http.wire import LEAVES, connect, head, post, receive, speech
from tests.leftovers import LEFTOVERS
from tests.serving import Server, wait_for


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("leftovers"), module="tests.leftovers") as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    """What earlier tests, and the first of each kind of request, have left is forgotten."""
    shared.await_idle()
    leftovers(shared)
    return shared


def leftovers(server: Server) -> dict[str, int]:
    file = server.folder / LEFTOVERS
    file.unlink(missing_ok=True)
    os.kill(server.pid, signal.SIGUSR1)
    wait_for(file.exists, "the leftovers")
    kinds: dict[str, int] = json.loads(file.read_text())
    return kinds


def whole(server: Server) -> None:
    assert server.speak(text="chunks=5 tone=440", format="mp3").status_code == 200


def with_a_prompt(server: Server) -> None:
    assert server.speak(text="chunks=5 tone=440", prompt_wav=sounds.prompt(30, 48_000)).status_code == 200


def refused(server: Server) -> None:
    assert server.speak(text="").status_code == 422


def unreadable(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"\0\r\n\r\n")
        receive(connection, "GET")


def pipelined(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(speech("chunks=2") + head("GET /health HTTP/1.1"))
        receive(connection, "POST")


def abandoned(server: Server) -> None:
    for leave in LEAVES:
        with connect(server) as connection:
            connection.sendall(speech("chunks=200 period=0.05"))
            connection.recv(1000)
            leave(connection)


def half_sent(server: Server) -> None:
    for leave in LEAVES:
        with connect(server) as connection:
            connection.sendall(post(b"text=")[:-2])
            leave(connection)


def talked(server: Server) -> None:
    with session(server) as client:
        client.say("chunks=2 tone=440.")
        client.until("session.done")
        client.send("input.text", text="chunks=200 tone=440. ")
        client.until_audio()
        client.send("input.cancel")
        client.until("input.cancelled")


def left_while_it_talked(server: Server) -> None:
    with session(server) as client:
        client.say("chunks=200 tone=440.")
        client.until_audio()


CLIENTS = [whole, with_a_prompt, refused, unreadable, pipelined, abandoned, half_sent, talked, left_while_it_talked]


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_of_ours_is_left(server: Server, client: Callable[[Server], None]) -> None:
    for _ in range(3):
        client(server)
    server.await_idle()
    wait_for(lambda: len(psutil.Process(server.pid).net_connections()) == 1, "every connection to be closed")
    left = leftovers(server)
    assert not {kind: count for kind, count in left.items() if kind.startswith(("cosyserve.", "h11.", "hypercorn."))}
    assert sum(left.values()) < 100, left
