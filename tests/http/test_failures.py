"""The engine's failures as a client sees them: a true status before the first byte, a broken connection after it."""

import http.client
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from tests.engines import expected_pcm
from tests.http.wire import URLENCODED, check_error, connect, head, receive, speech
from tests.serving import Script, Server, wait_for


def log_line(server: Server, **fields: object) -> dict[str, Any]:
    """The one line of the log that has these fields, once it is there."""

    def lines() -> list[dict[str, Any]]:
        return [line for line in server.logs() if fields.items() <= line.items()]

    (line,) = wait_for(lines, f"a line with {fields}")
    return line


class TestBeforeTheFirstChunk:
    def test_the_engine_raised(self, server: Server) -> None:
        answer = server.speak(text="fail=0", headers={"X-Request-Id": "before-first-chunk"})
        message = check_error(answer, 500, "synthesis_failed")
        assert answer.headers["x-request-id"] == "before-first-chunk"
        assert "told to fail" not in message
        assert "File" not in answer.text

    def test_the_log_has_the_trace(self, server: Server) -> None:
        """It is found from the request's id over the job's number."""
        server.speak(text="fail=0", headers={"X-Request-Id": "find-me"})
        line = log_line(server, event="speech", request_id="find-me")
        assert (line["outcome"], line["audio_s"]) == ("synthesis_failed", 0.0)
        trace = log_line(server, event="the engine failed", job=line["job"])["exception"]
        assert "RuntimeError: told to fail" in trace
        assert "tests/engines.py" in trace

    def test_the_engine_made_no_audio(self, server: Server) -> None:
        assert "no audio" in check_error(server.speak(text="chunks=0"), 500, "synthesis_failed")

    def test_the_engine_refused(self, server: Server) -> None:
        assert check_error(server.speak(text="refuse=0"), 422, "unspeakable_text", "text") == "told to refuse"

    def test_the_server_goes_on(self, server: Server) -> None:
        for _ in range(2):
            check_error(server.speak(text="fail=0"), 500, "synthesis_failed")
            assert server.speak(text="hello", seed=1).content == expected_pcm(1, 3)

    def test_a_failure_is_no_death(self, server: Server, tmp_path: Path) -> None:
        """The request is not tried again."""
        script = Script(tmp_path, fail=0)
        check_error(server.speak(text=script.text), 500, "synthesis_failed")
        assert script.events().count("start") == 1


class TestAfterTheFirstChunk:
    @pytest.mark.parametrize("how", ["fail", "refuse"])
    @pytest.mark.parametrize("fields", [{}, {"format": "wav"}, {"sample_rate": 16_000}])
    def test_httpx_raises(self, server: Server, tmp_path: Path, how: str, fields: dict[str, object]) -> None:
        words: dict[str, Any] = {how: 1}
        script = Script(tmp_path, at=1, **words)
        form = {"text": script.text, **fields}
        with httpx.stream("POST", f"{server.url}/synthesize", data=form, timeout=60) as answer:
            assert answer.status_code == 200
            script.open_gate()
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()

    def test_requests_raises(self, server: Server) -> None:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.post(f"{server.url}/synthesize", data={"text": "fail=1"}, timeout=60)

    def test_never_a_clean_end(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(speech("chunks=5 fail=4", seed=1))
            with pytest.raises(http.client.IncompleteRead) as broken:
                receive(connection)
        assert broken.value.partial == expected_pcm(1, 4)

    def test_never_a_clean_end_in_http_1_0_either(self, server: Server) -> None:
        form = b"text=chunks=5 fail=4"
        request = head("POST /synthesize HTTP/1.0", Content_Type=URLENCODED, Content_Length=str(len(form))) + form
        with connect(server) as connection:
            connection.sendall(request)
            with pytest.raises(ConnectionResetError):
                receive(connection)

    def test_the_log_says_how_it_ended(self, server: Server) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            server.speak(text="chunks=5 fail=4", headers={"X-Request-Id": "half-done"})
        line = log_line(server, event="speech", request_id="half-done")
        assert (line["outcome"], line["audio_s"]) == ("synthesis_failed", 0.4)


class TestAnEngineThatCannotStart:
    @pytest.mark.parametrize("engine", ["cosyvoice", "native"])
    def test_the_server_stays_up_to_say_so(self, tmp_path: Path, engine: str) -> None:
        """Whatever is missing first, the packages or the weights: a line with the command that gets it."""
        model = {"engine": engine, "dir": str(tmp_path / "gone")}
        with Server(tmp_path, {"model": model}, await_health="unavailable") as server:
            assert server.get("/health").status_code == 503
            assert server.get("/health/live").status_code == 200
            (worker,) = server.model_info()["workers"]
            assert "pip install" in worker["reason"]
            assert "\n" not in worker["reason"]
            assert worker["restarts"] == 0
            check_error(server.speak(text="hello"), 503, "no_worker")

    def test_a_mistyped_name_is_an_error_of_usage(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "cosyserve", "serve", "--engine", "demmo"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("cosyserve: the engine demmo is not known: use auto, one of native, ")
        assert done.stderr.count("\n") == 1
