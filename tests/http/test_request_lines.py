"""Every request has one line in the log, whatever becomes of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests import sounds
from tests.http.request_lines import told
from tests.http.sessions import PATH, session
from tests.http.wire import MULTIPART, connect, head, post, receive, received_until_the_end, speech
from tests.serving import Script, Server, wait_for

KEY = {"Authorization": "Bearer abc"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One key, whose name is shop; one stream, nobody in line."""
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "keys").write_text("shop:abc\n")
    settings: dict[str, Any] = {
        "server": {"api_keys_file": "keys", "max_upload_bytes": 2_000_000, "trusted_proxies": ["127.0.0.0/8"]},
        "limits": {"max_concurrency": 1, "max_waiting": 0},
    }
    with Server(folder, settings) as server:
        yield server


def line_of(server: Server, request_id: str) -> dict[str, Any]:
    (line,) = wait_for(lambda: told(server, request_id), f"the line of {request_id}")
    return line


def unread(line: dict[str, Any], status: int) -> bool:
    """Whether it is that of a request which could not be read."""
    return line["method"] is None and (line["status"], line["route"]) == (status, "unmatched")


SYNTHESIZE = "/synthesize"
NOBODY = "/v1/audio/voices/{name}"
GET_MODELS = "GET /v1/models HTTP/1.1"

REFUSED: dict[str, tuple[bytes, int, str, str]] = {
    "no-key": (head(GET_MODELS), 401, "invalid_api_key", "/v1/models"),
    "wrong-key": (head(GET_MODELS, Authorization="Bearer x"), 401, "invalid_api_key", "/v1/models"),
    "nowhere": (head("GET /no/where HTTP/1.1", **KEY), 404, "not_found", "unmatched"),
    "no-method": (head("PUT /synthesize HTTP/1.1", **KEY), 405, "method_not_allowed", "/synthesize"),
    "no-voice": (
        head("GET /v1/audio/voices/nobody HTTP/1.1", **KEY),
        404,
        "voice_not_found",
        "/v1/audio/voices/{name}",
    ),
    "no-form": (post(b"{}", "application/json", **KEY), 400, "malformed_form", "/synthesize"),
    "no-text": (post(b"text=", **KEY), 422, "invalid_field", "/synthesize"),
    "too-large": (
        head(Content_Type=MULTIPART, Content_Length="3000000", **KEY),
        413,
        "upload_too_large",
        "/synthesize",
    ),
}


class TestRefusals:
    @pytest.mark.parametrize("request_id", REFUSED)
    def test_their_line(self, keyed: Server, request_id: str) -> None:
        request, status, code, route = REFUSED[request_id]
        with connect(keyed) as connection:
            connection.sendall(request.replace(b"Host:", f"X-Request-Id: {request_id}\r\nHost:".encode(), 1))
            assert receive(connection, request.split()[0].decode()).status_code == status
        line = line_of(keyed, request_id)
        assert (line["event"], line["level"]) == ("request", "info")
        assert (line["status"], line["code"], line["route"], line["peer"]) == (status, code, route, "127.0.0.1")
        assert line["key"] == (None if status == 401 else "shop")
        assert line["duration_s"] >= 0

    def test_no_room(self, keyed: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with keyed.stream(text=script.text, headers=KEY) as running:
            assert keyed.speak(text="hello", headers={**KEY, "X-Request-Id": "no-room"}).status_code == 503
            script.open_gate()
            running.read()
        assert line_of(keyed, "no-room")["code"] == "overloaded"

    @pytest.mark.parametrize(
        ("request_", "status"), [(b"GET / HTTP/3.7\r\nHost: t\r\n\r\n", 505), (b"what is this\r\n\r\n", 400)]
    )
    def test_of_a_head_that_is_none(self, keyed: Server, request_: bytes, status: int) -> None:
        with connect(keyed) as connection:
            connection.sendall(request_)
            received_until_the_end(connection)
        lines = wait_for(lambda: [one for one in keyed.logs("request") if unread(one, status)], "its line")
        assert [line["peer"] for line in lines] == ["127.0.0.1"]


class TestAnswers:
    def test_one_that_went_well(self, keyed: Server) -> None:
        headers = {**KEY, "X-Request-Id": "well", "X-Forwarded-For": "1.1.1.1, 203.0.113.9, 127.0.0.7"}
        assert keyed.get("/v1/models/", headers).status_code == 200
        line = line_of(keyed, "well")
        assert (line["route"], line["status"], line["code"], line["method"]) == ("/v1/models", 200, None, "GET")
        assert (line["key"], line["peer"]) == ("shop", "203.0.113.9")

    def test_speech_has_one_line(self, keyed: Server) -> None:
        keyed.speak(text="hello", headers={**KEY, "X-Request-Id": "spoken"})
        line = line_of(keyed, "spoken")
        assert (line["event"], line["status"], line["outcome"], line["text_chars"]) == ("speech", 200, "ok", 5)
        assert (line["key"], line["peer"], line["route"]) == ("shop", "127.0.0.1", "/synthesize")
        assert len([other for other in keyed.logs() if other.get("request_id") == "spoken"]) == 1

    @pytest.mark.parametrize("path", ["/health", "/health/live", "/metrics"])
    def test_what_machines_ask_is_for_debugging(self, tmp_path: Path, path: str) -> None:
        with Server(tmp_path, {"log": {"level": "debug"}}) as server:
            server.get(path, {"X-Request-Id": "machine"})
            assert line_of(server, "machine")["level"] == "debug"

    def test_users_words_stay_out(self, keyed: Server) -> None:
        words = {"text": "mybankpin1234", "instruction": "mysecretmood", "voice": "mybestfriend", "format": "myformat"}
        keyed.speak(headers={**KEY, "X-Request-Id": "wordy"}, **words)
        keyed.get("/mypath?and=myquery", {**KEY, "X-Request-Id": "pathy"})
        line_of(keyed, "wordy")
        assert line_of(keyed, "pathy")["route"] == "unmatched"
        for word in (*words.values(), "mypath", "myquery"):
            assert word not in keyed.output()


class TestClientsThatGo:
    def test_in_the_midst_of_their_upload(self, keyed: Server) -> None:
        with connect(keyed) as connection:
            form = head(Content_Type=MULTIPART, Content_Length="900", X_Request_Id="half", **KEY)
            connection.sendall(form + b"--cut")
        line = line_of(keyed, "half")
        assert (line["status"], line["code"], line["route"]) == (None, "listener_gone", "/synthesize")

    def test_before_their_audio(self, keyed: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, at=0)
        with connect(keyed) as connection:
            headers = b"Authorization: Bearer abc\r\nX-Request-Id: early\r\nHost:"
            connection.sendall(speech(script.text).replace(b"Host:", headers))
            script.await_event("gate")
        line = line_of(keyed, "early")
        assert (line["event"], line["status"], line["code"]) == ("speech", None, "listener_gone")


class TestSessions:
    def test_one_that_ends(self, keyed: Server) -> None:
        with session(keyed, headers={**KEY, "X-Request-Id": "talk", "X-Forwarded-For": "203.0.113.9"}) as client:
            assert client.connection.response is not None
            assert client.connection.response.headers["x-request-id"] == "talk"
            client.say("hello")
            client.until("session.done")
        line = line_of(keyed, "talk")
        assert (line["event"], line["status"], line["outcome"]) == ("websocket closed", 101, "ok")
        assert (line["route"], line["key"], line["peer"]) == (PATH, "shop", "203.0.113.9")
        (clause,) = [one for one in keyed.logs("speech") if one["request_id"] == "talk"]
        assert (clause["route"], clause["key"], clause["peer"]) == (PATH, "shop", "203.0.113.9")

    @pytest.mark.parametrize(
        ("headers", "status", "code"),
        [({}, 401, "invalid_api_key"), ({**KEY, "Origin": "https://elsewhere.example"}, 403, "forbidden_origin")],
    )
    def test_one_that_is_refused(self, keyed: Server, headers: dict[str, str], status: int, code: str) -> None:
        with pytest.raises(InvalidStatus) as refused, session(keyed, headers={**headers, "X-Request-Id": code}):
            pass
        assert refused.value.response.headers["x-request-id"] == code
        assert "error" in json.loads(refused.value.response.body)
        line = line_of(keyed, code)
        assert (line["event"], line["status"], line["code"], line["route"]) == ("request", status, code, PATH)


def test_how_long_one_waited_in_vain(tmp_path: Path) -> None:
    script = Script(tmp_path, at=1)
    limits = {"max_concurrency": 1, "wait_timeout_s": 0.5}
    with Server(tmp_path, {"limits": limits}) as server, server.stream(text=script.text) as running:
        assert server.speak(text="hello", headers={"X-Request-Id": "waited"}).status_code == 503
        line = line_of(server, "waited")
        assert (line["code"], line["queue_wait_s"]) == ("wait_timeout", pytest.approx(line["total_s"], abs=0.4))
        script.open_gate()
        running.read()


def test_a_voice_is_stored_in_one_line_more(keyed: Server) -> None:
    """What is done to voices is told beside it."""
    headers = {**KEY, "X-Request-Id": "stored"}
    assert keyed.post("/v1/audio/voices", headers, name="bob", audio_sample=sounds.prompt()).status_code == 201
    assert line_of(keyed, "stored")["status"] == 201
