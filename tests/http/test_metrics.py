"""/metrics after things have happened, and the line in the log that goes with each request."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.metering import Since, read
from tests.http.wire import check_error, connect, receive_until, speech
from tests.serving import Script, Server, wait_for


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("small"), {"limits": {"max_concurrency": 1, "max_waiting": 0}}) as server:
        yield server


@pytest.fixture
def since(small: Server) -> Since:
    small.await_idle()
    return Since(small)


def test_a_request_that_went_well(small: Server, since: Since) -> None:
    assert small.speak(text="chunks=20", format="mp3").status_code == 200
    wait_for(lambda: since("cosyserve_speech_requests_total"), "the request to be counted")
    labels = {"route": "/synthesize", "mode": "instruct2", "format": "mp3", "outcome": "ok"}
    assert since("cosyserve_speech_requests_total", **labels) == 1
    for name in ("first_chunk_seconds", "queue_wait_seconds", "real_time_factor", "request_seconds"):
        assert since(f"cosyserve_{name}_count", route="/synthesize") == 1, name
    assert since("cosyserve_audio_seconds_total", format="mp3") == pytest.approx(2)
    for stage in ("first_chunk", "total"):
        assert since("cosyserve_stage_seconds_count", stage=stage) == 1
    assert read(small, "cosyserve_running") == read(small, "cosyserve_waiting") == 0
    assert read(small, "cosyserve_workers", state="ready") == 1


def test_underruns(small: Server, since: Since, tmp_path: Path) -> None:
    """The engine waits at the gate until well after the only chunk, a hundredth of a second, has been played."""
    script = Script(tmp_path, chunks=3, length=240, at=1)
    with small.stream(text=script.text) as answer:
        script.await_event("gate")
        # Each question takes the server a while, and the audio before the gate lasts 10 ms.
        for _ in range(20):
            small.model_info()
        script.open_gate()
        answer.read()
    wait_for(lambda: since("cosyserve_underruns_total"), "the underrun to be counted")
    assert since("cosyserve_underrun_seconds_total") > 0


def test_a_fault_of_the_service_itself(small: Server, since: Since) -> None:
    """Counted, and told once, as a record; the worker whose message met it is replaced, and the request is answered."""
    small.announce("what is no message")
    # Three times under the same request, which then is given up.
    check_error(small.speak(text="stray=0"), 500, "worker_died")
    assert since("cosyserve_internal_errors_total") == 3
    told = wait_for(lambda: lines if len(lines := small.logs("internal error")) == 3 else [], "their lines")
    assert [line["where"] for line in told] == ["a worker's message met a fault"] * 3
    assert all("what is no message" in line["exception"] for line in told)
    wait_for(lambda: small.health() == "ok", "the worker to be back")
    assert small.speak(text="hello").status_code == 200
    wait_for(lambda: since("cosyserve_speech_requests_total") == 2, "the requests to be counted")


def test_what_fails(small: Server, since: Since, tmp_path: Path) -> None:
    script = Script(tmp_path, at=1)
    check_error(small.speak(text=""), 422, "invalid_field", "text")
    check_error(small.speak(text="fail=0"), 500, "synthesis_failed")
    with connect(small) as connection:
        connection.sendall(speech(script.text))
        script.await_event("gate")
        assert read(small, "cosyserve_running") == 1
        check_error(small.speak(text="hello"), 503, "overloaded")
    wait_for(lambda: since("cosyserve_speech_requests_total", outcome="listener_gone"), "the loss to count")
    answers = {code: since("cosyserve_error_answers_total", code=code) for code in ("invalid_field", "x")}
    assert answers == {"invalid_field": 1, "x": 0}
    for code, status in (("overloaded", "503"), ("synthesis_failed", "500")):
        assert since("cosyserve_speech_requests_total", outcome=code) == 1
        assert since("cosyserve_error_answers_total", code=code, status=status) == 1
    assert since("cosyserve_speech_requests_total") == 3


def test_a_worker_that_was_replaced(small: Server, since: Since) -> None:
    (pid,) = small.worker_pids()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: since("cosyserve_worker_restarts_total", worker="0") == 1, "the restart to be counted")
    wait_for(lambda: read(small, "cosyserve_workers", state="ready") == 1, "the successor")


def test_what_clients_choose_makes_no_labels(small: Server, since: Since) -> None:
    def series() -> int:
        return sum(not line.startswith("#") for line in small.get("/metrics").text.splitlines())

    small.speak(text="hello")
    wait_for(lambda: since("cosyserve_speech_requests_total") == 1, "the request to be counted")
    before = series()
    for number in range(5):
        small.get(f"/nowhere/{number}")
        small.speak(text="hello", voice=f"nobody{number}")
        small.speak(text="hello", seed=number, speed=1 + number / 10)
    wait_for(lambda: since("cosyserve_speech_requests_total") == 6, "the requests to be counted")
    # The counter of unknown voices and its time of creation, however many the names were.
    assert series() == before + 2


def test_a_key_is_needed_where_keys_are(tmp_path: Path) -> None:
    with Server(tmp_path, {"server": {"api_keys": ["key"]}}) as server:
        check_error(server.get("/metrics"), 401, "invalid_api_key")
        answer = server.get("/metrics", {"Authorization": "Bearer key"})
        assert 'cosyserve_error_answers_total{code="invalid_api_key",status="401"} 1.0' in answer.text
        assert answer.headers["content-type"].startswith("text/plain")


class TestLine:
    def test_of_a_request_that_went_well(self, server: Server) -> None:
        server.speak(text="chunks=4", format="wav", headers={"X-Request-Id": "the-line"})
        (line,) = wait_for(
            lambda: [line for line in server.logs("speech") if line["request_id"] == "the-line"], "the request's line"
        )
        assert line["outcome"] == "ok"
        expected = {"route": "/synthesize", "mode": "instruct2", "voice": "default", "format": "wav", "text_chars": 8}
        assert {name: line[name] for name in expected} == expected
        assert line["audio_s"] == 0.4
        assert 0 <= line["queue_wait_s"] <= line["first_chunk_s"] <= line["total_s"]
        assert line["real_time_factor"] > 0
        assert "key" in line

    def test_has_the_text_only_where_that_is_asked_for(self, server: Server, tmp_path: Path) -> None:
        secret = "nobody-else-says-this"
        server.speak(text=secret)
        wait_for(lambda: [line for line in server.logs("speech") if line["text_chars"] == len(secret)], "the line")
        assert secret not in server.output()
        with Server(tmp_path, {"log": {"text": True}}) as other:
            other.speak(text=secret)
            (line,) = wait_for(lambda: other.logs("speech"), "the line")
            assert line["text"] == secret

    def test_of_a_broken_stream_says_why(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1, fail=1)
        with connect(server) as connection:
            connection.sendall(speech(script.text))
            receive_until(connection, b"\r\n\r\n")
            script.open_gate()
            while connection.recv(65536):
                pass
        lines = wait_for(
            lambda: [line for line in server.logs("speech") if line["outcome"] == "synthesis_failed"], "the line"
        )
        assert "log" in lines[-1]["reason"]
