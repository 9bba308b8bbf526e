"""Connections: how many there may be, how long they may be idle, and how they end."""

import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engines import expected_pcm
from tests.http.wire import URLENCODED, check_error, connect, head, receive, received_until_the_end, reset, speech
from tests.serving import Script, Server, wait_for

HEALTH = head("GET /health/live HTTP/1.1")
REST = b"text=hello&seed=1"


def ask(connection: socket.socket) -> int:
    """The status of one more answer on it."""
    connection.sendall(HEALTH)
    return receive(connection, "GET").status_code


def records(server: Server, event: str) -> list[dict[str, Any]]:
    """What the log says of it: never twice within a second."""
    found = server.logs(event)
    times = [datetime.fromisoformat(record["timestamp"]) for record in found]
    assert all((later - earlier).total_seconds() > 0.9 for earlier, later in pairwise(times))
    return found


class TestTheirNumber:
    @pytest.fixture
    def room_for_five(self, tmp_path: Path) -> Iterator[Server]:
        with Server(tmp_path, {"server": {"max_connections": 5}}) as server:
            yield server

    def test_one_more_is_told_and_closed(self, room_for_five: Server) -> None:
        with ExitStack() as stack:
            occupy(room_for_five, stack, 5)
            with connect(room_for_five) as one_more:
                one_more.sendall(HEALTH)
                answer = receive(one_more, "GET")
                assert "server.max_connections" in check_error(answer, 503, "too_many_connections")
                assert "retry-after" in answer.headers
                assert received_until_the_end(one_more) == b""

    def test_a_place_is_free_again_at_once(self, room_for_five: Server) -> None:
        with ExitStack() as stack:
            first, *others = occupy(room_for_five, stack, 5)
            for leave in (socket.socket.close, reset):
                leave(first)
                (first,) = occupy(room_for_five, stack, 1)
            for other in others:
                other.sendall(REST)
                assert receive(other).content == expected_pcm(1, 3)

    def test_who_waits_for_nothing_makes_room(self, room_for_five: Server) -> None:
        """First those that have asked for nothing yet, the longest there before the others."""
        with ExitStack() as stack:
            occupied = occupy(room_for_five, stack, 2)
            answered, silent, silent_too = (stack.enter_context(connect(room_for_five)) for _ in range(3))
            assert ask(answered) == 200
            for gone in (silent, silent_too):
                assert ask(stack.enter_context(connect(room_for_five))) == 200
                assert received_until_the_end(gone) == b""
            # By now it is the one that was answered first.
            assert ask(stack.enter_context(connect(room_for_five))) == 200
            assert received_until_the_end(answered) == b""
            for one in occupied:
                one.sendall(REST)
                assert receive(one).content == expected_pcm(1, 3)

    def test_a_crowd_without_a_word_keeps_nobody_out(self, room_for_five: Server) -> None:
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(connect(room_for_five))
            assert room_for_five.speak(text="hello", seed=1).content == expected_pcm(1, 3)
        assert not records(room_for_five, "connections refused")

    def test_a_crowd_does_not_fill_the_log(self, room_for_five: Server) -> None:
        with ExitStack() as stack:
            occupy(room_for_five, stack, 5)
            for _ in range(300):
                with connect(room_for_five) as connection:
                    received_until_the_end(connection)
            assert records(room_for_five, "connections refused")
        wait_for(lambda: room_for_five.get("/health").status_code == 200, "room again")


def occupy(server: Server, stack: ExitStack, count: int) -> list[socket.socket]:
    """So many connections with a request under way: the head of its body is missing, REST is what comes next."""

    def begun() -> socket.socket | None:
        connection = stack.enter_context(connect(server))
        connection.sendall(head(Content_Type=URLENCODED, Content_Length=str(len(REST)), Expect="100-continue"))
        return connection if connection.recv(1024).startswith(b"HTTP/1.1 100") else None

    return [connection for _ in range(count) if (connection := wait_for(begun, "a place"))]


class TestDescriptors:
    def test_the_limit_is_raised(self, tmp_path: Path) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with limited(tmp_path, "-S"), Server(tmp_path) as server:
            assert psutil.Process(server.pid).rlimit(psutil.RLIMIT_NOFILE) == (hard, hard)

    def test_connections_leave_enough_for_everything_else(self, tmp_path: Path) -> None:
        """Half bodies from more clients than there are descriptors, while a worker dies and another replaces it."""
        half = head(Content_Type=URLENCODED, Content_Length="100") + b"text=hello"
        with limited(tmp_path, ""), Server(tmp_path) as server, ExitStack() as stack:
            assert server.logs("the limit of open files is low: raise it (ulimit -n, LimitNOFILE)")
            (worker,) = server.worker_pids()
            crowd = [stack.enter_context(connect(server)) for _ in range(300)]
            for connection in crowd:
                with suppress(ConnectionError):
                    connection.sendall(half)
            os.kill(worker, signal.SIGKILL)
            wait_for(lambda: len(server.logs("worker ready")) == 2, "the next worker")
            stack.close()
            wait_for(lambda: server.get("/health").status_code == 200, "room again")
            assert server.speak(text="hello", seed=1).content == expected_pcm(1, 3)
            assert {line["event"] for line in server.logs() if line.get("level") == "error"} == {"worker lost"}

    def test_none_left(self, tmp_path: Path) -> None:
        """Whoever knocks meanwhile is let in when there are some again."""
        with Server(tmp_path) as server:
            process = psutil.Process(server.pid)
            limit = process.rlimit(psutil.RLIMIT_NOFILE)
            with connect(server) as before:
                assert ask(before) == 200
                process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), limit[1]))
                with ExitStack() as stack:
                    knocking = [stack.enter_context(connect(server)) for _ in range(50)]
                    for connection in knocking:
                        connection.sendall(HEALTH)
                    wait_for(lambda: len(records(server, "connections cannot be accepted")) == 2, "the record")
                    assert ask(before) == 200
                    process.rlimit(psutil.RLIMIT_NOFILE, limit)
                    assert [receive(connection, "GET").status_code for connection in knocking] == [200] * 50


@contextmanager
def limited(folder: Path, kind: str) -> Iterator[None]:
    """Python starts with a limit of 128 descriptors."""
    wrapper = folder / "python"
    wrapper.write_text(f'#!/bin/sh\nulimit {kind} -n 128\nexec {sys.executable} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(wrapper))
        yield


class TestIdleOnes:
    def test_heads_that_drip_are_given_up_long_before_answered_clients(self, tmp_path: Path) -> None:
        """One says nothing after its answer; one drips its first head, one its second, one a second that came early."""
        begun = b"GET /health/live HTTP/1.1\r\nHost: test\r\nX-Slow: "
        with Server(tmp_path, {"server": {"keep_alive_s": 600}}) as server, ExitStack() as stack:
            answered, first, second, early = (stack.enter_context(connect(server)) for _ in range(4))
            assert [ask(answered), ask(second)] == [200, 200]
            for dripping in (first, second):
                dripping.sendall(begun)
            early.sendall(head("GET /health/live HTTP/1.1") + begun)
            assert early.recv(12) == b"HTTP/1.1 200"
            drip_until_closed(first, second, early)
            assert ask(answered) == 200

    def test_after_an_answer_for_as_long_as_is_set(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"server": {"keep_alive_s": 0.2}}) as server, connect(server) as connection:
            assert ask(connection) == 200
            assert connection.recv(1) == b""

    def test_no_clock_runs_while_a_request_is_answered(self, tmp_path: Path) -> None:
        """It outlives an idle connection that was opened after it had begun."""
        script = Script(tmp_path, at=0)
        with Server(tmp_path, {"server": {"keep_alive_s": 0.2}}) as server, ExitStack() as stack:
            busy, idle = stack.enter_context(connect(server)), stack.enter_context(connect(server))
            busy.sendall(speech(script.text, seed=1))
            script.await_event("gate")
            assert ask(idle) == 200
            assert idle.recv(1) == b""
            script.open_gate()
            assert receive(busy).content == expected_pcm(1, 3)


def drip_until_closed(*dripping: socket.socket) -> None:
    left = set(dripping)
    for connection in left:
        connection.settimeout(0.25)
    for _ in range(200):
        for connection in [*left]:
            try:
                connection.sendall(b"x")
                closed = connection.recv(1) == b""
            except TimeoutError:
                closed = False
            except ConnectionError:
                closed = True
            if closed:
                left.remove(connection)
        if not left:
            return
    raise AssertionError("a head may take as long as it likes")
