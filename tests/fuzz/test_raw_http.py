"""Bytes on the socket that need not be HTTP: an answer, a refusal or a close, and never a fault of ours."""

import contextlib
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.exploring import examples, explore
from tests.fuzz.values import mutated
from tests.fuzz.witness import Witness
from tests.http.wire import LEAVES, Leave, connect, half_close, head, post, post_form, speech

PATHS = (
    "/", "/health", "/health/live", "/metrics", "/synthesize", "/v1/models/%00", "/v1/audio/voices/%ff",
    "/page/../../x", "*",
    "http://test/health", "//", "/?a=%", "/v1/audio/voices/" + "x" * 3000, "/é", "/openapi.json",
    "/v1/audio/speech/stream", "",
)  # fmt: skip
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "CONNECT", "PRI", "get", "G\0T", "X" * 200, "")
VERSIONS = ("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "http/1.1", "", "HTTP/1.1 x")
LINES = (
    "Content-Length: 5", "Content-Length: -1", "Content-Length: 5, 5", "Content-Length: 99999999999999999999",
    "Content-Length: ٥",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity",
    "Transfer-Encoding:\x0bchunked",
    "Expect: 100-continue", "Expect: x", "Connection: close", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
    "Upgrade: websocket", "HTTP2-Settings: AAMAAABkAAQAAP__", "Host: a", "Host: ", "Host: [", "Host: a\\b/../?#@c",
    " folded", ": x",
    "no colon", "X-Request-Id: \t", 'X-Request-Id: a"}', "Range: bytes=0-", "Origin: http://[",
    "Accept: " + ";q=" * 500,
    "Authorization: Bearer", "Authorization: Basic ////", "Cookie: " + "a=b; " * 500, "X: " + "y" * 20_000,
    "Te: trailers",
    "Content-Type: application/x-www-form-urlencoded", "Content-Type: multipart/form-data",
    "Content-Type: application/json",
    "Content-Encoding: gzip", "Accept: application/openmetrics-text; version=1.0.0; q=x", 'If-None-Match: "',
)  # fmt: skip
BODIES = (
    b"", b"text=a", b"5\r\ntext=\r\n0\r\n\r\n", b"5;x=y\r\ntext=\r\n0\r\nX: y\r\n\r\n", b"-1\r\n",
    b"ffffffffffffffffffff\r\n",
    b"5\ntext=\n0\n\n", b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n", b"5\r\ntext=xx0\r\n\r\n", b"\0" * 100,
    b"0x5\r\ntext=",
)  # fmt: skip
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME = b"\0\0\0\x04\0\0\0\0\0"
WHOLES = (
    speech("hello"),
    speech("hello", format="mp3"),
    post_form(text=b"hello"),
    post(b"text=hello", Expect="100-continue"),
    speech("hello") + speech("hello"),
    head("GET /health HTTP/1.1") * 20,
    speech("hello") + head("GET /metrics HTTP/1.1"),
    PREFACE + SETTINGS_FRAME,
    PREFACE + SETTINGS_FRAME * 50 + b"\0\0\1\1\5\0\0\0\1\x82" * 20,
)


LAST = head("GET /health/live HTTP/1.1", Connection="close")
"""Ends every stream: a server that is there to read it answers and closes, and need not lose its patience first."""


@st.composite
def made(draw: st.DrawFn) -> bytes:
    """A request line, lines and a body, each by itself possible."""
    line = " ".join([draw(st.sampled_from(METHODS)), draw(st.sampled_from(PATHS)), draw(st.sampled_from(VERSIONS))])
    lines = draw(st.lists(st.sampled_from(LINES), max_size=5))
    newline = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"]))
    host = draw(st.sampled_from([["Host: test"], ["Host: test"], []]))
    return newline.join([line, *host, *lines, "", ""]).encode() + draw(st.sampled_from(BODIES))


def streams() -> SearchStrategy[bytes]:
    """One or more of these in a row, whole or not."""
    one = st.one_of(made(), made(), mutated(made()), mutated(st.sampled_from(WHOLES)), st.binary(max_size=80))
    return st.lists(one, min_size=1, max_size=3).map(lambda some: b"".join(some) + LAST)


def push(witness: Witness, content: bytes, leave: Leave) -> None:
    """Send it, leave, and where the other direction is open still, read to the end."""
    with connect(witness.server) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(content)
            leave(connection)
        if leave is half_close:
            witness.raw(read_on(lambda: connection.recv(65536)))
    witness.case()


def read_on(read: Callable[[], bytes]) -> bytes:
    """Everything up to the end, however it ends."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := read():
            received += piece
    return received


@examples(100, 10_000)
def test_anything(witness: Witness, count: int) -> None:
    leaves = st.sampled_from([half_close, half_close, *LEAVES])
    explore(st.tuples(streams(), leaves), count, lambda case: push(witness, *case))
