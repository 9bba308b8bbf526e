"""Raw sockets for what HTTP clients do not do, and what every error's answer has in common."""

import http.client
import json
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from tests.serving import DEADLINE_S, Server

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=cut"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
ERROR_TYPES = {
    "invalid_request_error",
    "authentication_error",
    "rate_limit_error",
    "overloaded_error",
    "server_error",
}


@dataclass(frozen=True)
class Answer:
    """What came over a raw socket, whole."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class HasError(Protocol):
    """An httpx.Response, a requests.Response or an Answer."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def json(self) -> Any: ...


def check_error(answer: HasError, status: int, code: str, param: str | None = None) -> str:
    """Assert the one shape of errors. Returns the message."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    error: dict[str, str] = body["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] in ERROR_TYPES
    assert (error["type"] == "overloaded_error") == (status == 503)
    assert (error["type"] == "authentication_error") == (status == 401)
    assert answer.headers["x-request-id"]
    assert (error["type"] == "rate_limit_error") == (status == 429)
    assert ("retry-after" in answer.headers) == (status in {429, 503})
    assert int(answer.headers.get("retry-after", "1")) > 0
    assert error["message"]
    assert "Traceback" not in error["message"]
    return error["message"]


@contextmanager
def connect(server: Server, receive_buffer: int = 0) -> Iterator[socket.socket]:
    """A connection. receive_buffer: bytes that the kernel keeps for us unread, where it matters."""
    with socket.socket() as connection:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(DEADLINE_S)
        connection.connect(("127.0.0.1", server.port))
        yield connection


def head(request_line: str = "POST /synthesize HTTP/1.1", **headers: str) -> bytes:
    """A request's head; underscores in names are dashes."""
    lines = [request_line, "Host: test", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def post(body: bytes, content_type: str = URLENCODED, **headers: str) -> bytes:
    """A whole POST /synthesize."""
    return head(Content_Type=content_type, Content_Length=str(len(body)), **headers) + body


def speech(text: str, **fields: object) -> bytes:
    """A whole request for speech."""
    return post(urlencode({"text": text, **fields}).encode())


def post_form(**parts: bytes) -> bytes:
    """A whole POST /synthesize in multipart; what is named *_wav is a file."""
    pieces = (
        f'--cut\r\nContent-Disposition: form-data; name="{name}"'.encode()
        + (b'; filename="voice.wav"' if name.endswith("_wav") else b"")
        + b"\r\n\r\n"
        + content
        + b"\r\n"
        for name, content in parts.items()
    )
    return post(b"".join([*pieces, b"--cut--\r\n"]), MULTIPART)


def upgrade(path: str, **headers: str) -> bytes:
    """A request for a WebSocket."""
    return head(f"GET {path} HTTP/1.1", **{**UPGRADE, **headers})


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0) -> bytes:
    """A client's WebSocket frame, masked with zeros."""
    first = bytes([opcode | reserved | (0x80 if final else 0)])
    if len(payload) < 126:
        return first + bytes([0x80 | len(payload)]) + bytes(4) + payload
    return first + b"\xfe" + struct.pack(">H", len(payload)) + bytes(4) + payload


def receive(connection: socket.socket, method: str = "POST") -> Answer:
    """Read one answer. Raises http.client.IncompleteRead where it breaks off."""
    with http.client.HTTPResponse(connection, method=method) as answer:
        answer.begin()
        content = answer.read()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)


def receive_until(connection: socket.socket, mark: bytes) -> bytes:
    """Read until `mark` has come."""
    received = b""
    while mark not in received:
        piece = connection.recv(65536)
        assert piece, f"the connection ended too early, with {received[-200:]!r}"
        received += piece
    return received


def received_until_the_end(connection: socket.socket) -> bytes:
    """All that comes before the server closes the connection, by FIN or RST."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def reset_on_close(connection: socket.socket) -> None:
    """Make its close a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(connection: socket.socket) -> None:
    """FIN, as most clients go."""
    connection.close()


def half_close(connection: socket.socket) -> None:
    """FIN for one direction: the client could still read. Nothing, where the server has ended the connection."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def reset(connection: socket.socket) -> None:
    """RST, as a crashed client or a proxy goes."""
    reset_on_close(connection)
    connection.close()


Leave = Callable[[socket.socket], None]
LEAVES: tuple[Leave, ...] = (close, half_close, reset)
"""Every way in which a client goes."""
