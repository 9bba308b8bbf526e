"""HTTP itself: versions, connections, ids, CORS, and requests that are odd, broken or hostile."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import h2.config
import h2.connection
import httpx
import pytest
import requests

from tests.engines import expected_pcm
from tests.http.wire import (
    URLENCODED,
    check_error,
    connect,
    head,
    post,
    receive,
    receive_until,
    received_until_the_end,
    speech,
)
from tests.serving import Script, Server, wait_for

ORIGIN = "https://app.example.com"


JAVA_CLIENT = """
import java.net.URI;
import java.net.http.*;

class Client {
    public static void main(String[] url) throws Exception {
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).build();
        for (String method : new String[] {"GET", "HEAD", "DELETE", "POST"}) {
            HttpRequest.BodyPublisher body = HttpRequest.BodyPublishers.noBody();
            HttpRequest request = HttpRequest.newBuilder(URI.create(url[0])).method(method, body).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(method + " " + answer.version() + " " + answer.statusCode());
        }
    }
}
"""
"""Offers h2c on every request, as it does by default."""


class TestRequestId:
    @pytest.mark.parametrize("sent", ["a", "7f3c.A_b-9", "x" * 128])
    def test_a_sane_one_is_echoed_and_logged(self, server: Server, sent: str) -> None:
        answer = server.speak(text="hello", headers={"X-Request-Id": sent})
        assert answer.headers["x-request-id"] == sent
        wait_for(lambda: [line for line in server.logs("speech") if line["request_id"] == sent], "the request's line")

    @pytest.mark.parametrize("sent", ["", "x" * 129, "a b", 'a"b', "{}", "a,b", "é"])
    def test_any_other_is_replaced(self, server: Server, sent: str) -> None:
        with connect(server) as connection:
            connection.sendall(head("GET /health HTTP/1.1", X_Request_Id=sent))
            answer = receive(connection, "GET")
        assert answer.headers["x-request-id"] != sent
        assert len(answer.headers["x-request-id"]) == 32

    def test_each_request_has_its_own(self, server: Server) -> None:
        assert server.get("/health").headers["x-request-id"] != server.get("/health").headers["x-request-id"]


class TestConnections:
    def test_keep_alive(self, server: Server) -> None:
        with requests.Session() as session, connect(server) as connection:
            for seed in (1, 2):
                connection.sendall(speech("hello", seed=seed))
                assert receive(connection).content == expected_pcm(seed, 3)
                answer = session.post(f"{server.url}/synthesize", data={"text": "hello", "seed": seed}, timeout=60)
                assert answer.content == expected_pcm(seed, 3)

    def test_keep_alive_after_errors(self, server: Server) -> None:
        with connect(server) as connection:
            for request, status in ((speech(""), 422), (post(b"", "text/plain"), 400), (speech("fail=0"), 500)):
                connection.sendall(request)
                assert receive(connection).status_code == status
            connection.sendall(speech("hello", seed=1))
            assert receive(connection).content == expected_pcm(1, 3)

    def test_close_where_asked(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(post(b"text=hello&seed=1", Connection="close"))
            assert receive(connection).content == expected_pcm(1, 3)
            assert connection.recv(1) == b""

    def test_pipelined(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(speech("hello", seed=1) + speech("hello", seed=2))
            received = receive_until(connection, expected_pcm(2, 3)[-4000:])
        assert received.index(expected_pcm(1, 3)[-4000:]) < received.index(expected_pcm(2, 3)[-4000:])

    def test_http_1_0(self, server: Server) -> None:
        form = b"text=hello&seed=1"
        request = head("POST /synthesize HTTP/1.0", Content_Type=URLENCODED, Content_Length=str(len(form))) + form
        with connect(server) as connection:
            connection.sendall(request)
            answer = receive(connection)
        assert "transfer-encoding" not in answer.headers
        assert (answer.status_code, answer.content) == (200, expected_pcm(1, 3))

    def test_expect_continue(self, server: Server) -> None:
        form = b"text=hello&seed=1"
        with connect(server) as connection:
            connection.sendall(head(Content_Type=URLENCODED, Content_Length=str(len(form)), Expect="100-continue"))
            receive_until(connection, b"HTTP/1.1 100 ")
            connection.sendall(form)
            answer = receive(connection)
        assert answer.content == expected_pcm(1, 3)

    def test_a_body_in_chunks(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(head(Content_Type=URLENCODED, Transfer_Encoding="chunked"))
            for piece in (b"text=hel", b"lo&se", b"ed=1", b""):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            assert receive(connection).content == expected_pcm(1, 3)


class TestHttp2:
    def test_prior_knowledge_ends_at_the_preface(self, server: Server) -> None:
        client = h2.connection.H2Connection(h2.config.H2Configuration())
        client.initiate_connection()
        fields = {":method": "GET", ":path": "/health", ":scheme": "http", ":authority": "test"}
        client.send_headers(1, list(fields.items()), end_stream=True)
        with connect(server) as connection:
            connection.sendall(client.data_to_send())
            assert received_until_the_end(connection) == b""

    @pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.7"])
    def test_other_versions_are_refused(self, server: Server, version: str) -> None:
        with connect(server) as connection:
            connection.sendall(head(f"GET /health HTTP/{version}"))
            assert received_until_the_end(connection).startswith(b"HTTP/1.1 505 ")

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("GET", "/health", 200), ("HEAD", "/health", 200), ("DELETE", "/health", 405), ("OPTIONS", "/health", 405)],
    )
    def test_an_offer_to_upgrade_is_ignored(self, server: Server, method: str, path: str, status: int) -> None:
        offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQAAP__"}
        with connect(server) as connection:
            for _ in range(2):
                connection.sendall(head(f"{method} {path} HTTP/1.1", **offer))
                assert receive(connection, method).status_code == status

    def test_an_offer_with_a_body_is_ignored(self, server: Server) -> None:
        offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQAAP__"}
        with connect(server) as connection:
            for seed in (1, 2):
                connection.sendall(post(f"text=hello&seed={seed}".encode(), **offer))
                assert receive(connection).content == expected_pcm(seed, 3)

    @pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
    @pytest.mark.parametrize("how", [[], ["--head"], ["--request", "DELETE"], ["--data", "text=hello"]])
    def test_curl_that_offers(self, server: Server, how: list[str]) -> None:
        command = ["curl", "-sS", "--http2", *how, "-o", "/dev/null", "-w", "%{http_version} %{http_code}"]
        done = subprocess.run([*command, f"{server.url}/health"], capture_output=True, text=True, check=False)
        assert done.stdout in {"1.1 200", "1.1 405"}, done.stderr

    @pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
    def test_curl_that_insists(self, server: Server) -> None:
        command = ["curl", "-sS", "--http2-prior-knowledge", f"{server.url}/health"]
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0

    @pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK")
    def test_javas_own_client(self, server: Server, tmp_path: Path) -> None:
        program = tmp_path / "Client.java"
        program.write_text(JAVA_CLIENT)
        command = ["java", "-Xint", str(program), f"{server.url}/health"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = ["GET HTTP_1_1 200", "HEAD HTTP_1_1 200", "DELETE HTTP_1_1 405", "POST HTTP_1_1 405"]
        assert done.stdout.splitlines() == said, done.stderr

    def test_alpn_clients_over_plain_text_stay_with_1_1(self, server: Server) -> None:
        with httpx.Client(http2=True, timeout=60) as client:
            answer = client.post(f"{server.url}/synthesize", data={"text": "hello", "seed": 1})
        assert (answer.http_version, answer.content) == ("HTTP/1.1", expected_pcm(1, 3))


class TestCors:
    @pytest.fixture
    def open_to_one(self, tmp_path: Path) -> Iterator[Server]:
        settings = {"server": {"cors_origins": [ORIGIN], "api_keys": ["key"]}}
        with Server(tmp_path, settings) as server:
            yield server

    def test_for_the_configured_origin(self, open_to_one: Server) -> None:
        headers = {"Origin": ORIGIN, "Authorization": "Bearer key"}
        answer = open_to_one.speak(text="hello", headers=headers)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert {"X-Sample-Rate", "X-Request-Id", "X-Seed", "X-Synthesis-Mode", "Retry-After"} <= exposed

        errors = [open_to_one.speak(text="hello", headers={"Origin": ORIGIN}), open_to_one.speak(headers=headers)]
        assert [error.status_code for error in errors] == [401, 400]
        assert [error.headers["access-control-allow-origin"] for error in errors] == [ORIGIN] * 2

        preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        answer = httpx.options(f"{open_to_one.url}/synthesize", headers=preflight)
        assert answer.status_code == 200
        assert "POST" in answer.headers["access-control-allow-methods"]

        stranger = {**headers, "Origin": "https://elsewhere.example.com"}
        assert "access-control-allow-origin" not in open_to_one.speak(text="hello", headers=stranger).headers

    def test_off_by_default(self, server: Server) -> None:
        answer = server.speak(text="hello", headers={"Origin": ORIGIN})
        assert not [name for name in answer.headers if name.startswith("access-control")]


class TestOddRequests:
    @pytest.mark.parametrize("path", ["/health", "/health/live", "/model_info"])
    def test_head(self, server: Server, path: str) -> None:
        answer = httpx.head(server.url + path)
        assert (answer.status_code, answer.content) == (200, b"")

    def test_head_of_speech_makes_none(self, server: Server) -> None:
        with connect(server) as connection:
            form = b"text=hello"
            request = head("HEAD /synthesize HTTP/1.1", Content_Type=URLENCODED, Content_Length=str(len(form))) + form
            connection.sendall(request)
            assert receive(connection, "HEAD").status_code == 405

    def test_websocket(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(
                head(
                    "GET /synthesize HTTP/1.1",
                    Connection="Upgrade",
                    Upgrade="websocket",
                    Sec_WebSocket_Version="13",
                    Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
                )
            )
            assert receive(connection, "GET").status_code in {403, 404}

    @pytest.mark.parametrize(
        "request_",
        [
            pytest.param(head(X_Huge="x" * 1_000_000), id="huge header"),
            pytest.param(head(**{f"X-{number}": "x" * 100 for number in range(10_000)}), id="many headers"),
            pytest.param(head(f"GET /{'x' * 1_000_000} HTTP/1.1"), id="huge path"),
            pytest.param(head(Content_Length="-1"), id="negative length"),
            pytest.param(head(Content_Length="1e3"), id="length that is no number"),
            pytest.param(head(Content_Length="5", Transfer_Encoding="gzip"), id="unknown transfer encoding"),
            pytest.param(head(Transfer_Encoding="chunked") + b"zz\r\n", id="bad chunk"),
            pytest.param(head("POST /synthesize HTTP/3.7"), id="no such version"),
            pytest.param(b"POST /synthesize HTTP/1.1\r\n\r\n", id="no host"),
            pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), id="TLS"),
            pytest.param(b"\x00" * 100, id="zeros"),
        ],
    )
    def test_broken_http(self, server: Server, request_: bytes) -> None:
        """A refusal or a closed connection; never a hang, and no harm to others."""
        seen = len(server.output())
        with connect(server) as connection:
            try:
                connection.sendall(request_)
                answer = connection.recv(65536)
            except ConnectionError:
                answer = b""
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
        assert server.speak(text="hello", seed=1).content == expected_pcm(1, 3)
        assert '"level": "error"' not in server.output()[seen:]

    def test_requests_that_never_get_on(self, server: Server, tmp_path: Path) -> None:
        """Half a head each; meanwhile others are served, and later the half ones are gone."""
        with ExitStack() as stack:
            stalled = [stack.enter_context(connect(server)) for _ in range(200)]
            for connection in stalled:
                connection.sendall(b"POST /synthesize HTTP/1.1\r\nHost: te")
            assert server.speak(text="hello", seed=1).content == expected_pcm(1, 3)
            assert stalled[0].recv(1) == b""

    def test_a_thousand_idle_connections(self, server: Server) -> None:
        with ExitStack() as stack:
            for _ in range(1000):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            assert server.speak(text="hello", seed=1).content == expected_pcm(1, 3)

    def test_a_query_string_is_no_form(self, server: Server) -> None:
        answer = httpx.post(f"{server.url}/synthesize?text=hello", data={"speed": "1"}, timeout=60)
        check_error(answer, 422, "invalid_field", "text")

    def test_the_log_keeps_no_text(self, server: Server, tmp_path: Path) -> None:
        """What people have spoken is theirs."""
        script = Script(tmp_path, "mybankpin1234")
        server.speak(text=script.text, instruction="mysecretmood", headers={"X-Request-Id": "private"})
        wait_for(lambda: [line for line in server.logs("speech") if line["request_id"] == "private"], "its line")
        assert "mybankpin1234" not in server.output()
        assert "mysecretmood" not in server.output()
