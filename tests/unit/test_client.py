"""`cosyserve say` against a real server on a socket: it sends canned streams, refuses, or breaks off in the middle."""

import argparse
import email.message
import email.policy
import io
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import cosyserve
from cosyserve.client import command as client

PCM = struct.pack("<24000h", *(index % 2000 - 1000 for index in range(24000)))
"""One second of audio."""
WAV_HEADER = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, 24000, 48000, 2, 16, b"data", 0xFFFFFFFF),
)
AUDIO_HEADERS = {
    "X-Sample-Rate": "24000",
    "X-Channels": "1",
    "X-Bits-Per-Sample": "16",
    "X-Synthesis-Mode": "zero_shot",
    "X-Seed": "42",
    "X-Request-Id": "req-7",
}


class Handler(BaseHTTPRequestHandler):
    """Reads a form, notes it, and answers as the test has scripted."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        peer = self.server
        assert isinstance(peer, Peer)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        peer.requests.append(Request(self.path, self.headers, body))
        peer.answer(self)

    def begin(self, content_type: str = "audio/pcm", **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": content_type, **AUDIO_HEADERS, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def stream(self, *chunks: bytes, content_type: str = "audio/pcm", **headers: str) -> None:
        self.begin(content_type, **headers)
        for data in (*chunks, b""):
            self.chunk(data)

    def refuse(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def wait_for_disconnect(self) -> None:
        self.connection.recv(1)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        pass


@dataclass
class Request:
    """What came in."""

    path: str
    headers: email.message.Message
    body: bytes

    def form(self) -> dict[str, email.message.Message]:
        """The multipart form's parts by name."""
        kind = self.headers["Content-Type"]
        assert kind.startswith("multipart/form-data")
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        message = BytesParser(policy=email.policy.HTTP).parsebytes(head + self.body)
        return {str(part.get_param("name", header="Content-Disposition")): part for part in message.iter_parts()}

    def values(self) -> dict[str, str]:
        """The fields that are not files, as text."""
        parts = self.form().items()
        return {name: content(part).decode() for name, part in parts if part.get_filename() is None}


def content(part: email.message.Message) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


class Peer(ThreadingHTTPServer):
    """The server; `answer` is what it does with a request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[Request] = []
        self.answer: Callable[[Handler], None] = lambda handler: handler.stream(PCM)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the tests."""


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("COSYSERVE_URL", "COSYSERVE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def say(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    client.add_arguments(parser)
    return client.run(parser.parse_args(argv))


def start_say(*argv: str, stdout: int | None = None, stderr: int | None = None) -> "subprocess.Popen[bytes]":
    """The same in a process of its own, for what concerns signals, pipes and terminals."""
    program = (
        "import argparse, sys; from cosyserve.client import command as client; parser = argparse.ArgumentParser();"
        "client.add_arguments(parser); sys.exit(client.run(parser.parse_args()))"
    )
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    surroundings["PYTHONPATH"] = str(Path(cosyserve.__file__).parents[1])
    command = [sys.executable, "-c", program, *argv]
    return subprocess.Popen(command, env=surroundings, stdout=stdout, stderr=stderr)


class TestAudio:
    def test_wav_file_gets_its_true_sizes(self, peer: Peer, tmp_path: Path) -> None:
        peer.answer = lambda handler: handler.stream(
            WAV_HEADER + PCM[:1000], PCM[1000:20001], PCM[20001:], content_type="audio/wav"
        )
        assert say("hello", "-o", "out.wav", "--url", peer.url) == 0
        with wave.open(str(tmp_path / "out.wav")) as file:
            assert (file.getnframes(), file.getframerate(), file.getnchannels()) == (24000, 24000, 1)
            assert file.readframes(24000) == PCM
        assert (tmp_path / "out.wav").read_bytes()[4:8] == struct.pack("<I", 36 + len(PCM))
        assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]

    def test_wav_header_with_more_in_it(self, peer: Peer, tmp_path: Path) -> None:
        header = WAV_HEADER[:36] + b"LIST" + struct.pack("<I", 5) + b"INFO\0\0" + WAV_HEADER[36:]
        peer.answer = lambda handler: handler.stream(header[:10], header[10:] + PCM, content_type="audio/wav")
        assert say("hello", "-o", "out.wav", "--url", peer.url) == 0
        with wave.open(str(tmp_path / "out.wav")) as file:
            assert file.readframes(25000) == PCM

    def test_wav_sizes_that_are_known_stay(self, peer: Peer, tmp_path: Path) -> None:
        whole = io.BytesIO()
        with wave.open(whole, "wb") as file:
            file.setparams((1, 2, 24000, 0, "NONE", ""))
            file.writeframes(PCM)
        trailer = b"LIST" + struct.pack("<I", 4) + b"INFO"
        peer.answer = lambda handler: handler.stream(whole.getvalue() + trailer, content_type="audio/wav")
        assert say("hello", "-o", "out.wav", "--url", peer.url) == 0
        assert (tmp_path / "out.wav").read_bytes() == whole.getvalue() + trailer

    @pytest.mark.parametrize("name", ["out.pcm", "out.raw", "OUT.PCM"])
    def test_raw_file(self, peer: Peer, tmp_path: Path, name: str) -> None:
        peer.answer = lambda handler: handler.stream(PCM[:7], PCM[7:])
        assert say("hello", "-o", name, "--url", peer.url) == 0
        assert (tmp_path / name).read_bytes() == PCM
        assert peer.requests[0].values()["format"] == "pcm"

    def test_default_is_a_wav_file(self, peer: Peer, tmp_path: Path) -> None:
        peer.answer = lambda handler: handler.stream(WAV_HEADER, PCM, content_type="audio/wav")
        assert say("hello", "--url", peer.url) == 0
        assert peer.requests[0].values()["format"] == "wav"
        with wave.open(str(tmp_path / "speech.wav")) as file:
            assert file.getnframes() == 24000

    def test_stdout_has_audio_and_nothing_else(self, peer: Peer, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        assert say("hello", "-o", "-", "--url", peer.url) == 0
        captured = capfdbinary.readouterr()
        assert captured.out == PCM
        assert b"wrote                standard output\n" in captured.err
        assert peer.requests[0].values()["format"] == "pcm"

    def test_named_pipe_stays_one(self, peer: Peer, tmp_path: Path) -> None:
        fifo = tmp_path / "player"
        os.mkfifo(fifo)
        heard: list[bytes] = []
        player = threading.Thread(target=lambda: heard.append(fifo.read_bytes()))
        player.start()
        assert say("hello", "-o", str(fifo), "--format", "pcm", "--url", peer.url) == 0
        player.join()
        assert heard == [PCM]
        assert fifo.is_fifo()

    def test_link_stays_one(self, peer: Peer, tmp_path: Path) -> None:
        (tmp_path / "link.pcm").symlink_to("real.pcm")
        assert say("hello", "-o", "link.pcm", "--url", peer.url) == 0
        assert (tmp_path / "link.pcm").is_symlink()
        assert (tmp_path / "real.pcm").read_bytes() == PCM

    def test_summary(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        peer.answer = lambda handler: handler.stream(PCM, PCM, **{"X-Sample-Rate": "48000"})
        assert say("hello", "-o", "out.pcm", "--url", peer.url) == 0
        captured = capsys.readouterr()
        lines = dict(line.split(maxsplit=1) for line in captured.err.splitlines() if not line.startswith(" "))
        assert captured.out == ""
        assert lines["wrote"] == "out.pcm"
        assert lines["audio"] == "1.00 s, pcm, 48000 Hz"
        assert lines["mode"] == "zero_shot"
        assert lines["seed"] == "42"
        assert lines["request"] == "req-7"
        assert lines["first-chunk"].endswith(" ms")
        assert {"total", "real-time"} <= set(lines)

    def test_wav_header_is_no_audio(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        peer.answer = lambda handler: handler.stream(WAV_HEADER + PCM[:4800], content_type="audio/wav")
        assert say("hello", "--url", peer.url) == 0
        assert "0.10 s, wav" in capsys.readouterr().err

    def test_quiet(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        assert say("hello", "-o", "out.pcm", "--quiet", "--url", peer.url) == 0
        assert capsys.readouterr() == ("", "")

    def test_progress_is_for_terminals(self, peer: Peer) -> None:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        process = start_say("hello", "-o", "out.pcm", "--url", peer.url, stderr=theirs)
        os.close(theirs)
        seen = b""
        try:
            while data := os.read(ours, 1024):
                seen += data
        except OSError:
            pass  # how Linux says that the other side of a pseudo-terminal is closed
        finally:
            os.close(ours)
        assert process.wait() == 0
        assert b"0.0 s of audio" in seen


class TestRequest:
    def test_everything_given_is_sent(self, peer: Peer, tmp_path: Path) -> None:
        (tmp_path / "提示.wav").write_bytes(b"RIFF\0\r\n--")
        options = "--instruction 温柔 --prompt-text 你好 --voice 爱丽丝 --prompt-wav 提示.wav"
        options += " --speed 1.5 --seed 7 --sample-rate 16000"
        code = say("早上好", "-o", "out.pcm", *options.split(), "--api-key", "k-1\n", "--url", f"{peer.url}/")
        assert code == 0
        [request] = peer.requests
        assert request.path == "/synthesize"
        assert request.headers["Authorization"] == "Bearer k-1"
        assert request.values() == {
            "text": "早上好",
            "format": "pcm",
            "instruction": "温柔",
            "prompt_text": "你好",
            "voice": "爱丽丝",
            "speed": "1.5",
            "seed": "7",
            "sample_rate": "16000",
        }
        assert content(request.form()["prompt_wav"]) == b"RIFF\0\r\n--"
        assert request.form()["prompt_wav"].get_filename()

    def test_nothing_else_is_sent(self, peer: Peer) -> None:
        assert say("hello", "-o", "out.pcm", "--url", peer.url) == 0
        [request] = peer.requests
        assert set(request.form()) == {"text", "format"}
        assert request.headers["Authorization"] is None

    def test_format_beats_the_suffix(self, peer: Peer, tmp_path: Path) -> None:
        assert say("hello", "-o", "out.wav", "--format", "pcm", "--url", peer.url) == 0
        assert peer.requests[0].values()["format"] == "pcm"
        assert (tmp_path / "out.wav").read_bytes() == PCM

    def test_environment(self, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COSYSERVE_URL", peer.url)
        monkeypatch.setenv("COSYSERVE_API_KEY", "k-2")
        # A proxy must not stand between this machine and itself.
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        assert say("hello", "-o", "out.pcm") == 0
        assert peer.requests[0].headers["Authorization"] == "Bearer k-2"

    def test_text_from_stdin(self, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("你好\nworld\n".encode())))
        assert say("-", "-o", "out.pcm", "--url", peer.url) == 0
        assert peer.requests[0].values()["text"] == "你好\nworld"


class TestUsage:
    @pytest.mark.parametrize(
        ("argv", "told"),
        [
            (("--speed", "fast"), "--speed must be a number, not 'fast'"),
            (("--speed", "nan"), "--speed must be a number, not 'nan'"),
            (("--seed", "1.5"), "--seed must be a whole number, not '1.5'"),
            (("--seed", "9" * 400), "--seed must be a whole number, not '999"),
            (("--prompt-wav", "gone.wav"), "cannot read the prompt gone.wav: No such file or directory"),
            (("--prompt-wav", "."), "cannot read the prompt .: Is a directory"),
            (("-o", "gone/out.wav"), "cannot write gone/out.wav: No such file or directory"),
            (("-o", "folder.wav"), "cannot write folder.wav: Is a directory"),
            (("-o", f"{'x' * 300}.wav"), ".wav: File name too long"),
            (("-o", "out.mp3"), "cannot tell the format from the name out.mp3: add --format"),
            (("-o", "out"), "cannot tell the format from the name out: add --format"),
            (("--url", "127.0.0.1:50000"), "'127.0.0.1:50000' is not a "),
            (("--url", "http://host:port"), "'http://host:port' is not a URL"),
            (("--url", "http://"), "'http://' is not a server's URL"),
            (("--api-key", "schlüssel"), "the API key has characters that no key has"),
        ],
    )
    def test_one_line_and_nothing_sent(
        self, peer: Peer, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], told: str
    ) -> None:
        (tmp_path / "folder.wav").mkdir()
        assert say("hello", "--url", peer.url, *argv) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("cosyserve say: ")
        assert told in line
        assert peer.requests == []
        assert [path.name for path in tmp_path.iterdir()] == ["folder.wav"]

    def test_text_that_is_no_text(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        assert say("\udcff", "--url", peer.url) == 2
        assert capsys.readouterr().err == "cosyserve say: text is not UTF-8 text\n"

    def test_stdin_that_is_no_text(
        self, peer: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
        assert say("-", "--url", peer.url) == 2
        assert "standard input is not readable as UTF-8 text" in capsys.readouterr().err

    def test_terminal_gets_no_audio(self, peer: Peer) -> None:
        ours, theirs = pty.openpty()
        process = start_say("hello", "-o", "-", "--url", peer.url, stdout=theirs, stderr=subprocess.PIPE)
        _, told = process.communicate()
        os.close(ours)
        os.close(theirs)
        assert process.returncode == 2
        assert told.startswith(b"cosyserve say: audio does not go to a terminal")


class TestFailures:
    @pytest.fixture(autouse=True)
    def _earlier_file(self, tmp_path: Path) -> Iterator[None]:
        """A failure leaves what was there before, and nothing beside it."""
        (tmp_path / "out.wav").write_bytes(b"earlier")
        yield
        assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]
        assert (tmp_path / "out.wav").read_bytes() == b"earlier"

    def fail(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> str:
        assert say("hello", "-o", "out.wav", "--url", peer.url) == 1
        [line] = capsys.readouterr().err.splitlines()
        return line

    def test_server_error(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        error = {"message": "speed must be\nat most 4", "type": "invalid", "code": "invalid_field", "param": "speed"}
        body = json.dumps({"error": error}).encode()
        peer.answer = lambda handler: handler.refuse(422, body, X_Request_Id="req-8")
        assert self.fail(peer, capsys) == "cosyserve say: speed must be at most 4 (422 invalid_field, request req-8)"

    def test_server_error_with_less(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        body = json.dumps({"error": {"message": "no", "type": "x", "code": None, "param": None}}).encode()
        peer.answer = lambda handler: handler.refuse(500, body)
        assert self.fail(peer, capsys) == "cosyserve say: no (500)"

    @pytest.mark.parametrize(
        "body", [b"<html>Bad gateway</html>", b"[]", b'{"error": "x"}', b'{"detail": []}', b"\xff"]
    )
    def test_error_of_another_server(self, peer: Peer, capsys: pytest.CaptureFixture[str], body: bytes) -> None:
        peer.answer = lambda handler: handler.refuse(502, body)
        line = self.fail(peer, capsys)
        assert line == (f"cosyserve say: {peer.url} sent an error that is not a cosyserve server's: check --url (502)")

    def test_answer_of_another_server(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        peer.answer = lambda handler: handler.refuse(200, b"<html>", "text/html")
        assert self.fail(peer, capsys) == (
            f"cosyserve say: the answer is text/html, not audio: is {peer.url} a cosyserve server?"
        )

    def test_broken_stream(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        def break_off(handler: Handler) -> None:
            handler.begin("audio/wav")
            handler.chunk(WAV_HEADER + PCM)
            handler.close_connection = True

        peer.answer = break_off
        line = self.fail(peer, capsys)
        assert line.startswith("cosyserve say: the audio broke off after 1.0 s (")
        assert line.endswith("nothing was kept, try again (request req-7)")

    def test_reset_stream(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        def reset(handler: Handler) -> None:
            handler.begin("audio/wav")
            handler.chunk(WAV_HEADER + PCM)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # The handler's files hold the socket open until they are closed too.
            for closable in (handler.rfile, handler.wfile, handler.connection):
                closable.close()

        peer.answer = reset
        # A reset may overtake what was sent before it, the status line included.
        line = self.fail(peer, capsys)
        assert "the audio broke off after" in line or "gave no answer" in line

    def test_connection_closed_without_an_answer(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        peer.answer = lambda handler: setattr(handler, "close_connection", True)
        assert self.fail(peer, capsys).startswith(f"cosyserve say: {peer.url} gave no answer (")

    def test_no_audio(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        peer.answer = lambda handler: handler.stream(content_type="audio/wav")
        assert self.fail(peer, capsys) == "cosyserve say: the server sent no audio (request req-7)"

    def test_wav_without_audio(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        peer.answer = lambda handler: handler.stream(WAV_HEADER, content_type="audio/wav")
        assert self.fail(peer, capsys) == "cosyserve say: the server sent no audio (request req-7)"

    def test_audio_that_is_not_wav(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        peer.answer = lambda handler: handler.stream(PCM)
        assert "the server's answer is not WAV" in self.fail(peer, capsys)

    def test_server_not_reachable(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            assert say("hello", "-o", "out.wav", "--url", url) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"cosyserve say: cannot reach {url} (")
        assert "`make run` or `cosyserve serve`" in line
        assert "--url" in line

    def test_password_in_the_url_is_not_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{deaf.getsockname()[1]}"
            assert say("hello", "-o", "out.wav", "--url", f"http://me:secret@{address}") == 1
        told = capsys.readouterr().err
        assert f"cannot reach http://{address} " in told
        assert "secret" not in told

    def test_broken_stream_to_stdout(self, peer: Peer, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        def break_off(handler: Handler) -> None:
            handler.begin()
            handler.chunk(PCM)
            handler.close_connection = True

        peer.answer = break_off
        assert say("hello", "-o", "-", "--url", peer.url) == 1
        captured = capfdbinary.readouterr()
        assert captured.out == PCM
        assert b"what was written is not all" in captured.err

    def test_interrupt(self, peer: Peer) -> None:
        streaming = threading.Event()

        def stall(handler: Handler) -> None:
            handler.begin("audio/wav")
            handler.chunk(WAV_HEADER + PCM)
            streaming.set()
            handler.wait_for_disconnect()

        peer.answer = stall
        process = start_say("hello", "-o", "out.wav", "--url", peer.url, stderr=subprocess.PIPE)
        assert streaming.wait(30)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
        assert process.returncode == 130
        assert told == b"cosyserve say: interrupted\n"

    def test_reader_of_stdout_goes_away(self, peer: Peer) -> None:
        def endless(handler: Handler) -> None:
            handler.begin()
            while True:
                # Less than stdout's buffer, so that something is left in it when the reader has gone.
                handler.chunk(PCM[:1000])

        peer.answer = endless
        process = start_say("hello", "-o", "-", "--url", peer.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(1000) == PCM[:1000]
        process.stdout.close()
        told = process.stderr.read()
        process.stderr.close()
        assert process.wait() == 1
        assert told == b"cosyserve say: whoever read the audio has gone away\n"

    def test_full_disk(self, peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
        if not Path("/dev/full").is_char_device():
            pytest.skip("this system has no /dev/full")
        assert say("hello", "-o", "/dev/full", "--format", "pcm", "--url", peer.url) == 1
        assert capsys.readouterr().err == "cosyserve say: cannot write /dev/full: No space left on device\n"
        assert Path("/dev/full").is_char_device()
