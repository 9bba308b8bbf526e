"""Bodies that are too large, that stop, or that nobody wants: refused early, legibly, and nothing stays behind."""

import contextlib
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests import sounds
from tests.http.metering import pending_bytes
from tests.http.wire import MULTIPART, URLENCODED, check_error, connect, head, post_form, receive, reset_on_close
from tests.serving import Script, Server, wait_for

LIMIT = 4_000_000
"""The shared server's."""
PART = b'--cut\r\nContent-Disposition: form-data; name="prompt_wav"; filename="v.wav"\r\n\r\n'
MIB = bytes(1 << 20)
CUT_OFF = (ConnectionResetError, BrokenPipeError)


def established(server: Server) -> list[int]:
    """The remote ports of the connections that the server's process holds."""
    connections = psutil.Process(server.pid).net_connections("tcp4")
    return [connection.raddr.port for connection in connections if connection.raddr]


def spooled(server: Server) -> list[str]:
    """The nameless files into which the server's process spools uploads."""
    links = []
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(descriptor.readlink()))
    return [link for link in links if link.endswith(" (deleted)")]


def send_for_ever(connection: socket.socket, piece: bytes) -> None:
    while True:
        connection.sendall(piece)


def chunked(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


class TestTooLarge:
    @pytest.mark.parametrize("content_type", [MULTIPART, URLENCODED])
    def test_by_declared_length(self, server: Server, content_type: str) -> None:
        with connect(server) as connection:
            connection.sendall(head(Content_Type=content_type, Content_Length=str(LIMIT + 1)))
            message = check_error(receive(connection), 413, "upload_too_large")
            assert str(LIMIT) in message

    @pytest.mark.parametrize(("content_type", "start"), [(MULTIPART, PART), (URLENCODED, b"text=")])
    def test_by_what_comes(self, server: Server, content_type: str, start: bytes) -> None:
        """The last chunk is never sent: the answer cannot have waited for it."""
        with connect(server) as connection:
            connection.sendall(head(Content_Type=content_type, Transfer_Encoding="chunked") + chunked(start))
            for _ in range(4):
                connection.sendall(chunked(MIB))
            check_error(receive(connection), 413, "upload_too_large")

    def test_the_answer_is_legible_while_the_client_still_sends(self, server: Server) -> None:
        """What a client does that writes all before it reads: only a lingering close lets it come to reading."""
        with connect(server) as connection:
            connection.sendall(head(Content_Type=MULTIPART, Content_Length=str(40 * len(MIB))))
            for _ in range(40):
                connection.sendall(MIB)
            check_error(receive(connection), 413, "upload_too_large")

    def test_plain_requests_upload(self, server: Server) -> None:
        files = {"prompt_wav": ("voice.wav", bytes(40_000_000))}
        answer = requests.post(f"{server.url}/synthesize", data={"text": "hello"}, files=files, timeout=60)
        check_error(answer, 413, "upload_too_large")

    def test_plain_requests_upload_without_length(self, server: Server) -> None:
        def pieces() -> Iterator[bytes]:
            yield PART
            yield from [MIB] * 40

        headers = {"Content-Type": MULTIPART}
        answer = requests.post(f"{server.url}/synthesize", data=pieces(), headers=headers, timeout=60)
        check_error(answer, 413, "upload_too_large")

    def test_expect_continue(self, server: Server) -> None:
        with connect(server) as connection:
            length = str(LIMIT + 1)
            connection.sendall(head(Content_Type=MULTIPART, Content_Length=length, Expect="100-continue"))
            check_error(receive(connection), 413, "upload_too_large")

    @pytest.mark.parametrize("path", ["/synthesize", "/health", "/nowhere"])
    def test_a_client_that_never_stops_is_cut_off(self, server: Server, path: str) -> None:
        with connect(server) as connection:
            connection.sendall(head(f"POST {path} HTTP/1.1", Content_Type=MULTIPART, Content_Length=str(10**12)))
            with pytest.raises(CUT_OFF):
                send_for_ever(connection, MIB)
            port = connection.getsockname()[1]
        wait_for(lambda: port not in established(server), "the connection to be closed")

    def test_so_is_one_that_keeps_every_queue_full(self, server: Server) -> None:
        """Pieces so small that the patience ends before the limit is reached, and more come than are read."""
        with connect(server) as connection:
            connection.sendall(head(Content_Type="text/plain", Transfer_Encoding="chunked"))
            with pytest.raises(CUT_OFF):
                send_for_ever(connection, chunked(b"x") * 10_000)
            port = connection.getsockname()[1]
        wait_for(lambda: port not in established(server), "the connection to be closed")

    def test_the_connection_can_be_used_again(self, server: Server) -> None:
        """Once the whole body has been read, nothing is wrong with it."""
        with connect(server) as connection:
            body = bytes(LIMIT + 1)
            connection.sendall(head(Content_Type=MULTIPART, Content_Length=str(len(body))) + body)
            check_error(receive(connection), 413, "upload_too_large")
            connection.sendall(head("GET /health HTTP/1.1"))
            assert receive(connection, "GET").status_code == 200

    def test_up_to_the_limit(self, server: Server) -> None:
        start = b'--cut\r\nContent-Disposition: form-data; name="text"\r\n\r\nhello\r\n' + PART.replace(b"prompt_", b"")
        end = b"\r\n--cut--\r\n"
        body = start + bytes(LIMIT - len(start) - len(end)) + end
        with connect(server) as connection:
            connection.sendall(head(Content_Type=MULTIPART, Content_Length=str(LIMIT)) + body)
            assert receive(connection).status_code == 200


class TestSpooled:
    def test_gone_before_the_speech_begins(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, at=0)
        prompt = sounds.prompt(10, 96_000)
        assert len(prompt) > len(MIB)
        with connect(server) as connection:
            connection.sendall(post_form(text=script.text.encode(), prompt_wav=prompt))
            script.await_event("gate")
            assert not spooled(server)
            script.open_gate()
            assert receive(connection).headers["x-synthesis-mode"] == "cross_lingual"

    @pytest.mark.parametrize("path", ["/synthesize", "/v1/audio/voices"])
    def test_a_disk_that_is_full(self, tmp_path: Path, path: str) -> None:
        """No file of the server's may grow over a megabyte and a bit from now on: what is spooled does."""
        recording = sounds.prompt(10, 96_000)
        with Server(tmp_path) as server:
            limit = len(MIB) + 100_000
            psutil.Process(server.pid).rlimit(psutil.RLIMIT_FSIZE, (limit, limit))
            assert len(recording) > limit
            check_error(server.post(path, text="hello", name="bob", prompt_wav=recording), 507, "storage_failed")
            assert pending_bytes(server) == 0
            assert not spooled(server)
            assert server.speak(text="hello", prompt_wav=sounds.prompt()).status_code == 200


class TestUnfinished:
    @pytest.mark.parametrize("ending", ["close", "half-close", "reset"])
    @pytest.mark.parametrize("content_type", [MULTIPART, URLENCODED])
    def test_disconnect_leaves_nothing_behind(self, server: Server, content_type: str, ending: str) -> None:
        seen = len(server.output())
        with connect(server) as connection:
            size = 3_000_000 if content_type == MULTIPART else 1_000_000
            connection.sendall(head(Content_Type=content_type, Content_Length=str(size)) + PART + bytes(size // 2))
            port = connection.getsockname()[1]
            wait_for(lambda: port in established(server), "the connection")
            if content_type == MULTIPART:
                wait_for(lambda: spooled(server), "the upload to be spooled")
            if ending == "reset":
                reset_on_close(connection)
            if ending == "half-close":
                connection.shutdown(socket.SHUT_WR)
                assert b"200" not in connection.recv(65536)
        wait_for(lambda: port not in established(server), "the connection to be closed")
        wait_for(lambda: not spooled(server), "the spooled upload to be gone")
        assert server.speak(text="hello").status_code == 200
        assert "error" not in server.output()[seen:].lower()

    @pytest.mark.parametrize("content_type", [MULTIPART, URLENCODED])
    def test_one_that_stops_is_told_and_cut_off(self, tmp_path: Path, content_type: str) -> None:
        with Server(tmp_path, {"server": {"client_stall_timeout_s": 0.5}}) as server, connect(server) as connection:
            connection.sendall(head(Content_Type=content_type, Content_Length="1000") + PART)
            check_error(receive(connection), 408, "upload_stalled")
            server.await_idle()

    @pytest.mark.parametrize("content_type", [MULTIPART, URLENCODED, "application/json"])
    def test_one_that_trickles_is_told_and_cut_off(self, tmp_path: Path, content_type: str) -> None:
        path = "/v1/audio/speech" if content_type == "application/json" else "/synthesize"
        request = head(f"POST {path} HTTP/1.1", Content_Type=content_type, Content_Length="500000")
        with Server(tmp_path, {"server": {"body_timeout_s": 1}}) as server, connect(server) as connection:
            connection.sendall(request + PART)
            while not select.select([connection], [], [], 0.05)[0]:
                connection.sendall(b"x")
            check_error(receive(connection), 408, "upload_too_slow")
            assert pending_bytes(server) == 0

    def test_many_slow_uploads_do_no_harm(self, server: Server) -> None:
        with_one_more_byte_to_come = head(Content_Type=URLENCODED, Content_Length="11") + b"text=hello"
        connections = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(200)]
        try:
            for connection in connections:
                connection.sendall(with_one_more_byte_to_come)
            assert server.speak(text="hello").status_code == 200
            connections[-1].sendall(b"!")
            assert receive(connections[-1]).status_code == 200
        finally:
            for connection in connections:
                connection.close()

    def test_an_upload_in_single_bytes(self, server: Server) -> None:
        form = PART + sounds.prompt(1)[:500] + b"\r\n--cut--\r\n"
        with connect(server) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(head(Content_Type=MULTIPART, Content_Length=str(len(form))))
            for position in range(len(form)):
                connection.sendall(form[position : position + 1])
            check_error(receive(connection), 422, "invalid_field", "text")
