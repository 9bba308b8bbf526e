"""Clients that go away, in every way and at every moment: the job stops at once and nothing of it stays behind."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest

from cosyserve.audio.formats import AudioFormat
from tests.engines import expected_pcm
from tests.http.wire import LEAVES, Leave, close, connect, half_close, post, receive, receive_until, reset, speech
from tests.serving import Script, Server, wait_for

FIRST_CHUNK = expected_pcm(1, 1)
MORE_THAN_SOCKETS_HOLD: dict[str, Any] = {"chunks": 500, "length": 24_000, "at": 499}
"""24 MB: Linux's loopback takes some 10 MB before a sender blocks."""


every_way = pytest.mark.parametrize("leave", LEAVES)


@pytest.fixture(scope="module")
def one_stream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose only stream must come free for anything to go on."""
    with Server(tmp_path_factory.mktemp("one-stream"), {"limits": {"max_concurrency": 1}}) as server:
        yield server


@pytest.fixture
def server(one_stream: Server) -> Iterator[Server]:
    """Idle before; idle, empty and at work again after."""
    seen = len(one_stream.output())
    yield one_stream
    one_stream.await_idle()
    assert one_stream.speak(text="hello", seed=3).content == expected_pcm(3, 3)
    assert one_stream.model_info()["buffered_bytes"] == 0
    assert '"level": "error"' not in one_stream.output()[seen:]


def outcome(server: Server, request_id: str) -> str:
    """What the log says became of a request, once it does."""

    def outcomes() -> list[str]:
        return [line["outcome"] for line in server.logs("speech") if line["request_id"] == request_id]

    (found,) = wait_for(outcomes, "the request's line")
    return found


def await_taken(server: Server, places: int) -> None:
    """Wait until so many run and wait together."""

    def taken() -> int:
        info: dict[str, int] = server.model_info()
        return info["running"] + info["waiting"]

    wait_for(lambda: taken() == places, f"{places} places to be taken")


def ask(connection: socket.socket, script: Script, request_id: str = "gone") -> None:
    form = urlencode({"text": script.text, "seed": 1}).encode()
    connection.sendall(post(form, X_Request_Id=request_id))


@every_way
def test_while_it_waits_in_line(server: Server, tmp_path: Path, leave: Leave) -> None:
    running, waiting, last = (Script(tmp_path, name, at=1) for name in ("running", "waiting", "last"))
    with connect(server) as first, connect(server) as second, connect(server) as third:
        first.sendall(speech(running.text, seed=1))
        running.await_event("gate")
        second.sendall(speech(waiting.text))
        wait_for(lambda: server.model_info()["waiting"] == 1, "the second to wait")
        third.sendall(speech(last.text, seed=2))
        wait_for(lambda: server.model_info()["waiting"] == 2, "the third to wait")
        leave(second)
        wait_for(lambda: server.model_info()["waiting"] == 1, "the second to be gone")
        assert running.events()[-1] == "gate"
        running.open_gate()
        last.open_gate()
        assert receive(first).content == expected_pcm(1, 3)
        assert receive(third).content == expected_pcm(2, 3)
    assert waiting.events() == []


@every_way
def test_while_it_waits_for_the_first_chunk(server: Server, tmp_path: Path, leave: Leave) -> None:
    script = Script(tmp_path, at=0)
    with connect(server) as connection:
        ask(connection, script)
        script.await_event("gate")
        leave(connection)
        script.await_event("closed")
        server.await_idle()
    assert script.events()[-3:] == ["gate", "cancelled", "closed"]


@every_way
def test_in_mid_stream(server: Server, tmp_path: Path, leave: Leave) -> None:
    script = Script(tmp_path, at=1)
    with connect(server) as connection:
        ask(connection, script, f"in-mid-stream-{leave.__name__}")
        receive_until(connection, FIRST_CHUNK)
        script.await_event("gate")
        leave(connection)
        script.await_event("closed")
        server.await_idle()
    assert script.events()[-4:] == ["chunk 0", "gate", "cancelled", "closed"]
    assert outcome(server, f"in-mid-stream-{leave.__name__}") == "listener_gone"


@pytest.mark.parametrize("audio_format", [audio_format for audio_format in AudioFormat if audio_format.compressed])
def test_in_mid_stream_of_compressed_audio(server: Server, tmp_path: Path, audio_format: AudioFormat) -> None:
    """The engine runs free, so that some codec or other is at work in a thread when the client goes."""
    script = Script(tmp_path, chunks=1_000_000)
    with connect(server) as connection:
        connection.sendall(speech(script.text, format=audio_format))
        received = receive_until(connection, b"\r\n\r\n")
        while len(received) < 20_000:
            received += connection.recv(65536)
        close(connection)
        script.await_event("closed")
        server.await_idle()
    assert "end" not in script.events()


@every_way
def test_while_it_never_reads(server: Server, tmp_path: Path, leave: Leave) -> None:
    """The sender is blocked in a full socket when the client goes."""
    script = Script(tmp_path, **MORE_THAN_SOCKETS_HOLD)
    with connect(server, receive_buffer=4096) as connection:
        ask(connection, script)
        script.await_event("gate")
        wait_for(lambda: server.model_info()["buffered_bytes"] > 0, "a backlog")
        leave(connection)
        script.await_event("closed")
        server.await_idle()
    assert script.events()[-3:] == ["gate", "cancelled", "closed"]


@every_way
def test_after_the_engine_has_made_it_all(server: Server, tmp_path: Path, leave: Leave) -> None:
    """Nothing is left to cancel; what the client has not fetched is dropped, not pushed into the closed socket."""
    script = Script(tmp_path, chunks=500, length=24_000)
    with connect(server, receive_buffer=4096) as connection:
        ask(connection, script, f"all-made-{leave.__name__}")
        script.await_event("end")
        wait_for(lambda: server.model_info()["buffered_bytes"] > 0, "a backlog")
        leave(connection)
        assert outcome(server, f"all-made-{leave.__name__}") == "listener_gone"


@every_way
def test_while_the_engine_runs_free(server: Server, tmp_path: Path, leave: Leave) -> None:
    """No gate: the engine is in the midst of its chunks, its messages on their way."""
    script = Script(tmp_path, chunks=1_000_000)
    with connect(server) as connection:
        ask(connection, script)
        receive_until(connection, FIRST_CHUNK)
        leave(connection)
        script.await_event("closed")
        server.await_idle()
    assert "end" not in script.events()


def test_half_a_goodbye_is_answered_with_a_whole_one(server: Server, tmp_path: Path) -> None:
    """Shutting down the sending side counts as leaving: the connection is closed, with no end to the answer."""
    script = Script(tmp_path, at=1)
    with connect(server) as connection:
        ask(connection, script)
        receive_until(connection, FIRST_CHUNK)
        half_close(connection)
        rest = b""
        while piece := connection.recv(65536):
            rest += piece
    assert b"0\r\n\r\n" not in rest


def test_many_at_once(server: Server, tmp_path: Path) -> None:
    """A crowd comes and goes; whoever stays is served."""
    running = Script(tmp_path, "running", at=1)
    with connect(server) as first:
        first.sendall(speech(running.text, seed=1))
        running.await_event("gate")
        crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
        scripts = [Script(tmp_path, f"crowd{number}") for number in range(50)]
        for connection, script in zip(crowd, scripts, strict=True):
            connection.sendall(speech(script.text))
        wait_for(lambda: server.model_info()["waiting"] == 50, "the crowd in line")
        for number, connection in enumerate(crowd[1:]):
            (close, reset)[number % 2](connection)
        wait_for(lambda: server.model_info()["waiting"] == 1, "the crowd to be gone")
        running.open_gate()
        assert receive(first).content == expected_pcm(1, 3)
        assert receive(crowd[0]).status_code == 200
        crowd[0].close()
    assert [script.events() for script in scripts[1:]] == [[]] * 49


def test_with_more_behind_the_request(tmp_path: Path) -> None:
    """As from clients that pipeline, or end a body with one line break too many."""
    script = Script(tmp_path, at=0)
    with Server(tmp_path) as server:
        with connect(server) as connection:
            connection.sendall(speech(script.text) + b"\r\n")
            script.await_event("gate")
        wait_for(lambda: "closed" in script.events(), "the job to stop", deadline_s=5)


BEHIND = {
    "a line break": b"\r\n",
    "another request": speech("chunks=1"),
    "a hundred": speech("chunks=1") * 100,
    "an upload that nobody keeps": post(b"x" * 2_000_000),
}


@every_way
@pytest.mark.parametrize("behind", BEHIND.values(), ids=list(BEHIND))
def test_five_with_more_behind_their_requests(server: Server, tmp_path: Path, leave: Leave, behind: bytes) -> None:
    """In line and in mid-stream: whoever has left takes no place and no turn."""
    scripts = [Script(tmp_path, f"pipelined{number}", at=1) for number in range(5)]
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in scripts]
        for taken, (connection, script) in enumerate(zip(connections, scripts, strict=True), 1):
            connection.sendall(speech(script.text) + behind)
            await_taken(server, taken)
        scripts[0].await_event("gate")
        for others, connection in reversed([*enumerate(connections)]):
            leave(connection)
            await_taken(server, others)
        server.await_idle()
    assert scripts[0].events()[-2:] == ["cancelled", "closed"]
    assert [script.events() for script in scripts[1:]] == [[]] * 4


def test_what_is_behind_a_request_is_not_kept(tmp_path: Path) -> None:
    """40 MB: the answer to the request before is whole all the same, and the last on its connection."""
    script = Script(tmp_path, at=1)
    with Server(tmp_path) as server, connect(server) as connection:
        connection.sendall(speech(script.text, seed=1))
        script.await_event("gate")
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        for _ in range(40):
            connection.sendall(b"x" * 1_000_000)
        server.health()
        assert process.memory_info().rss - before < 20_000_000
        script.open_gate()
        assert receive(connection).content == expected_pcm(1, 3)
        assert connection.recv(1) == b""


@pytest.mark.parametrize("behind", [b"\r\n", b"x" * 1000, speech("hello")])
def test_what_comes_after_a_last_request_harms_nobody(server: Server, tmp_path: Path, behind: bytes) -> None:
    script = Script(tmp_path, at=1)
    request = urlencode({"text": script.text, "seed": 1}).encode()
    with connect(server) as connection:
        connection.sendall(post(request, Connection="close") + behind)
        script.await_event("gate")
        script.open_gate()
        assert receive(connection).content == expected_pcm(1, 3)
        assert connection.recv(1) == b""
