"""Clients that break HTTP's and WebSocket's rules, in every phase: it is never a fault of ours, and nothing is left."""

from collections.abc import Iterator

import pytest

from tests.engines import expected_pcm
from tests.http.sessions import PATH
from tests.http.wire import (
    LEAVES,
    MULTIPART,
    URLENCODED,
    Leave,
    connect,
    frame,
    half_close,
    head,
    post,
    received_until_the_end,
    speech,
    upgrade,
)
from tests.serving import Server, wait_for

CHUNKED = head(Content_Type=URLENCODED, Transfer_Encoding="chunked")
PART = b'--cut\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + b"y" * 80_000
PHASES = {
    "nothing": b"",
    "half a head": b"POST /synthesize HTTP/1.1\r\nHost: te",
    "a head": head(Content_Type=URLENCODED, Content_Length="100"),
    "half a form": head(Content_Type=URLENCODED, Content_Length="100") + b"text=hello",
    "half a chunk": CHUNKED + b"9\r\ntext",
    "a chunk": CHUNKED + b"4\r\ntext\r\n",
    "no chunk": CHUNKED + b"zz\r\n",
    "half a file": head(Content_Type=MULTIPART, Content_Length="900000") + PART,
    "half of some JSON": head("POST /v1/audio/speech HTTP/1.1", Content_Type="application/json", Content_Length="99"),
    "half an upload": head("POST /v1/audio/voices HTTP/1.1", Content_Type=MULTIPART, Content_Length="900000") + PART,
    "a body where none is read": head("GET /health HTTP/1.1", Content_Length="900000") + b"x" * 300_000,
    "a body that is refused": head("POST /nowhere HTTP/1.1", Content_Length="9000000") + b"x" * 300_000,
    "expectations": head(Content_Type=URLENCODED, Content_Length="100", Expect="100-continue"),
    "noise": bytes(range(256)) * 10,
    "a tunnel": head("CONNECT example.com:443 HTTP/1.1") + b"\x16\x03\x01",
    "a request and noise": speech("hello") + bytes(range(256)),
    "a last request and noise": post(b"text=hello", Connection="close") + bytes(range(256)),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(300),
    "no WebSocket": upgrade("/nowhere") + frame(1, b"abc"),
    "a wrong version": upgrade(PATH, Sec_WebSocket_Version="7"),
    "odd tokens": upgrade(PATH, Connection="Upgrade, é"),
    "odd protocols": upgrade(PATH, Sec_WebSocket_Protocol="é, a b"),
    "odd extensions": upgrade(PATH, Sec_WebSocket_Extensions='é; "=,;'),
    "half a frame": upgrade(PATH) + frame(1, b"abcdef")[:-2],
    "half a message": upgrade(PATH) + frame(1, b'{"type"', final=False),
    "half an utterance": upgrade(PATH) + frame(1, b'{"type": "input.text", "text": "chunks=100 hello. And"}'),
    "no message": upgrade(PATH) + frame(0, b"abc"),
    "no text": upgrade(PATH) + frame(1, b"\xff\xfe"),
    "no mask": upgrade(PATH) + b"\x81\x03abc",
    "half a reason": upgrade(PATH) + frame(8, b"\x03"),
    "a reason of ours": upgrade(PATH) + frame(8, b"\x03\xee"),
    "more after goodbye": upgrade(PATH) + frame(8, b"\x03\xe8") + frame(1, b"abc") * 100,
    "too much": upgrade(PATH) + frame(1, b"x" * 65_000, final=False) * 5,
    "many pings": upgrade(PATH) + frame(9, b"ping") * 5000,
    "many refusals": upgrade(PATH) + frame(1, b"{}") * 500,
}


def errors_of_ours(server: Server) -> list[str]:
    """Faults, and answers with a 500, which other tests may have asked for."""
    lines = server.get("/metrics").text.splitlines()
    return [line for line in lines if line.startswith("cosyserve_internal_errors_total") or 'status="500"' in line]


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """As healthy after as before."""
    seen, before = len(shared_server.output()), errors_of_ours(shared_server)
    yield shared_server
    shared_server.await_idle()
    shared_server.check_log()
    assert '"level": "error"' not in shared_server.output()[seen:]
    assert errors_of_ours(shared_server) == before
    wait_for(lambda: "cosyserve_websocket_connections 0.0" in shared_server.get("/metrics").text, "the sessions' end")


@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("phase", PHASES.values(), ids=list(PHASES))
def test_leaving_in_every_phase(server: Server, phase: bytes, leave: Leave) -> None:
    with connect(server) as connection:
        try:
            connection.sendall(phase)
            leave(connection)
        except OSError:
            # Some are thrown out before they have said it all.
            pass
        if leave is half_close:
            received_until_the_end(connection)
    assert server.speak(text="hello", seed=1).content == expected_pcm(1, 3)


@pytest.mark.parametrize("phase", ["half a form", "half a file", "half a chunk"])
def test_half_a_body_is_told_so_to_who_still_listens(server: Server, phase: str) -> None:
    with connect(server) as connection:
        connection.sendall(PHASES[phase])
        half_close(connection)
        assert received_until_the_end(connection).startswith(b"HTTP/1.1 400 ")
