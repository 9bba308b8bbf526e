"""What is heard of one answer, from a peer on a real socket that answers as it is told."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cosyserve.client.measure.asking import Asker
from cosyserve.client.measure.plan import Ask
from cosyserve.client.measure.record import Outcome, Run
from cosyserve.client.measure.recordings import Recordings
from cosyserve.client.measure.target import Target
from cosyserve.settings.sections import DEFAULT_PROMPT, PACKAGED
from tests import sounds

TENTH = bytes(4800)
HELD_S = 2.0
"""Longer than a busy machine keeps anybody."""
HELLO = Ask("你好", 1)
PROMPT = PACKAGED / DEFAULT_PROMPT

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Lets the test read and answer."""

    protocol_version = "HTTP/1.1"
    answer: Answer

    def do_POST(self) -> None:
        type(self).answer(self)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def begin(self, status: int = 200, kind: str = "audio/pcm") -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "X-Sample-Rate": "24000", "X-Request-Id": "r"}.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def peer(answer: Answer) -> Iterator[str]:
    handler = type("Told", (Handler,), {"answer": staticmethod(answer)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def heard(answer: Answer, ask: Ask = HELLO, recording: Path = PROMPT, seconds: float = 60) -> Run:
    async def listen(url: str) -> Run:
        asker = Asker(Target.at(url, None), Recordings(recording))
        async with asker.target.open() as client:
            return await asker.ask(client, ask, asyncio.get_running_loop().time() + seconds)

    with peer(answer) as url:
        return asyncio.run(listen(url))


def test_a_whole_answer() -> None:
    def answer(peer: Handler) -> None:
        assert "你好".encode() in peer.body()
        peer.begin()
        for content in (TENTH, TENTH, b""):
            peer.piece(content)

    run = heard(answer)
    assert (run.outcome, run.request_id, run.text_chars) == (Outcome.WHOLE, "r", 2)
    assert run.audio_bytes == 9600
    assert run.audio_s == pytest.approx(0.2)
    assert run.first_s is not None
    assert 0 < run.first_s <= run.total_s


def test_first_audio_counts_from_the_last_byte_that_was_sent(tmp_path: Path) -> None:
    """The peer keeps the sender waiting in the middle of the request; that is not the service's time."""
    recording = tmp_path / "long.wav"
    recording.write_bytes(sounds.prompt(120, 48_000))

    def answer(peer: Handler) -> None:
        time.sleep(HELD_S)
        peer.body()
        peer.begin()
        for content in (TENTH, b""):
            peer.piece(content)

    run = heard(answer, Ask("a", 1, recording=0), recording)
    assert run.outcome is Outcome.WHOLE
    assert run.first_s is not None
    assert run.first_s < HELD_S


def test_an_underrun() -> None:
    def answer(peer: Handler) -> None:
        peer.body()
        peer.begin()
        peer.piece(TENTH)
        time.sleep(HELD_S)
        for content in (TENTH, b""):
            peer.piece(content)

    run = heard(answer)
    assert run.underruns == 1
    assert run.silence_s > 0


def test_no_room_is_no_failure() -> None:
    def answer(peer: Handler) -> None:
        peer.body()
        peer.begin(503, "application/json")
        for content in (b'{"error": {"code": "overloaded", "message": "too many"}}', b""):
            peer.piece(content)

    run = heard(answer)
    assert (run.outcome, run.code, run.first_s) == (Outcome.REFUSED, "overloaded", None)
    assert "too many" in run.message


def test_what_fails() -> None:
    def break_off(peer: Handler) -> None:
        peer.body()
        peer.begin()
        peer.piece(TENTH)
        peer.connection.close()
        peer.close_connection = True

    def hang_up(peer: Handler) -> None:
        peer.body()
        peer.connection.close()
        peer.close_connection = True

    def say_nothing(peer: Handler) -> None:
        peer.body()
        peer.begin()
        peer.piece(b"")

    def be_another(peer: Handler) -> None:
        peer.body()
        peer.begin(200, "text/html")
        for content in (b"<p>hello", b""):
            peer.piece(content)

    runs = [heard(answer) for answer in (break_off, hang_up, say_nothing, be_another)]
    assert [run.code for run in runs] == ["broken_off", "no_answer", "no_audio", "status_200"]
    assert {run.outcome for run in runs} == {Outcome.FAILED}
    assert "not a cosyserve server's" in runs[-1].message
    assert runs[0].first_s is not None


def test_the_time_is_over() -> None:
    gone = threading.Event()

    def answer(peer: Handler) -> None:
        peer.body()
        peer.begin()
        peer.piece(TENTH)
        # Until the client has hung up.
        while peer.connection.recv(1):
            pass
        gone.set()
        peer.close_connection = True

    run = heard(answer, seconds=1)
    assert run.outcome is Outcome.CUT
    assert gone.is_set()


def test_nobody_there() -> None:
    async def listen() -> Run:
        asker = Asker(Target.at("http://127.0.0.1:1", None), Recordings(PROMPT))
        async with asker.target.open() as client:
            return await asker.ask(client, Ask("a", 1), asyncio.get_running_loop().time() + 60)

    run = asyncio.run(listen())
    assert (run.outcome, run.code) == (Outcome.FAILED, "no_answer")
