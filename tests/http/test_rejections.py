"""What a client is told when its request is at fault: the status, the one shape, the field."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest

from tests import sounds
from tests.http.wire import MULTIPART, URLENCODED, check_error, connect, post, receive, speech
from tests.serving import Server

GOOD_PARTS = (
    b'--cut\r\nContent-Disposition: form-data; name="text"\r\n\r\nhello\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="prompt_text"\r\n\r\nworld\r\n--cut--\r\n'
)


def tone(seconds: float, rate: int, **kind: Any) -> bytes:
    return sounds.encode(sounds.sine(seconds, rate), rate, **kind)


def wav_claiming(seconds: float, rate: int, frames_claimed: int) -> bytes:
    """A WAV file whose header promises more than follows."""
    pcm = sounds.encode(sounds.sine(seconds, rate), rate)[44:]
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + frames_claimed * 2, b"WAVE", b"fmt ", 16, 1, 1, rate,
                       rate * 2, 2, 16, b"data", frames_claimed * 2)  # fmt: skip
    return head + pcm


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with API keys."""
    keys = ["first-key", "second-key"]
    with Server(tmp_path_factory.mktemp("locked"), {"server": {"api_keys": keys}}) as server:
        yield server


class TestText:
    @pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u3000", None])
    def test_empty(self, server: Server, text: str | None) -> None:
        fields: dict[str, Any] = {} if text is None else {"text": text}
        assert "text" in check_error(server.speak(speed="1", **fields), 422, "invalid_field", "text")

    @pytest.mark.parametrize("text", ["...", "?!", "。,!", "😀", "😀 😀!", "---", "\u200b", "\x00", "♪♪"])
    def test_nothing_to_speak(self, server: Server, text: str) -> None:
        check_error(server.speak(text=text), 422, "unspeakable_text", "text")

    @pytest.mark.parametrize("text", ["a", "1", "你", "あ", "é", "١", "Ⅷ", "!a"])
    def test_something_to_speak(self, server: Server, text: str) -> None:
        assert server.speak(text=text).status_code == 200

    def test_up_to_the_limit(self, server: Server) -> None:
        assert server.speak(text="好" * 1000).status_code == 200

    @pytest.mark.parametrize("name", ["text", "instruction", "prompt_text"])
    def test_too_long(self, server: Server, name: str) -> None:
        fields: dict[str, Any] = {"text": "hello", name: "好" * 1001}
        message = check_error(server.speak(**fields), 422, "text_too_long", name)
        assert "1001" in message
        assert "1000" in message

    def test_long_multipart_text_has_the_same_answer(self, server: Server) -> None:
        answer = server.speak(text="好" * 600_000, prompt_wav=sounds.prompt())
        check_error(answer, 422, "text_too_long", "text")

    @pytest.mark.parametrize("name", ["text", "instruction", "prompt_text", "format", "speed", "seed", "voice"])
    def test_sent_as_a_file(self, server: Server, name: str) -> None:
        fields: dict[str, Any] = {"text": "hello", name: b"hello"}
        assert "file" in check_error(server.speak(**fields), 422, "invalid_field", name)

    def test_the_engine_finds_nothing_to_speak(self, server: Server) -> None:
        check_error(server.speak(text="refuse=0"), 422, "unspeakable_text", "text")


class TestFields:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("format", value) for value in ("ogg", "audio/wav", "x" * 5000)),
            *(("speed", value) for value in ("0.24", "4.01", "0", "-1", "nan", "inf", "-inf", "1e999", "fast", "1,5")),
            *(("seed", value) for value in ("-1", str(2**31), "1.0", "1e3", "0x10", "٣", "9" * 5000, "seed")),
            *(("sample_rate", value) for value in ("7999", "48001", "0", "-16000", "16000.0", "16k", "²", "9" * 5000)),
        ],
    )
    def test_value(self, server: Server, name: str, value: str) -> None:
        fields: dict[str, Any] = {"text": "hello", name: value}
        message = check_error(server.speak(**fields), 422, "invalid_field", name)
        assert name in message
        assert len(message) < 200

    def test_unknown_voice(self, server: Server) -> None:
        assert "/v1/audio/voices" in check_error(server.speak(text="hello", voice="x"), 422, "unknown_voice", "voice")

    def test_everything_is_checked_before_the_prompt(self, server: Server) -> None:
        check_error(server.speak(text="hello", speed="0", prompt_wav=b"junk"), 422, "invalid_field", "speed")


class TestForm:
    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/json", b'{"text": "hello"}'),
            ("text/plain", b"text=hello"),
            ("", b"text=hello"),
            ("multipart/mixed; boundary=cut", GOOD_PARTS),
            (URLENCODED, b"text=\xff\xfe"),
            (URLENCODED, b"text=%ff%fe"),
            (URLENCODED, "text=你好".encode("gb18030")),
            (URLENCODED, b"&".join(b"f%d=x" % number for number in range(101))),
            ("multipart/form-data", GOOD_PARTS),
            ("multipart/form-data; boundary=", GOOD_PARTS),
            ("multipart/form-data; boundary=other", GOOD_PARTS),
            (MULTIPART, b""),
            (MULTIPART, b"text=hello"),
            (MULTIPART, bytes(range(256)) * 40),
            (MULTIPART, GOOD_PARTS.replace(b'; name="text"', b"")),
            (MULTIPART, GOOD_PARTS.replace(b"\r\n\r\nhello", b"\r\nhello")),
            *((MULTIPART, GOOD_PARTS[:size]) for size in range(1, len(GOOD_PARTS) - 4, 7)),
        ],
    )
    def test_broken(self, server: Server, content_type: str, body: bytes) -> None:
        with connect(server) as connection:
            connection.sendall(post(body, content_type))
            check_error(receive(connection), 400, "malformed_form")

    def test_no_body_at_all(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(b"POST /synthesize HTTP/1.1\r\nHost: test\r\n\r\n")
            check_error(receive(connection), 400, "malformed_form")

    def test_the_good_parts_are_good(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(post(GOOD_PARTS, MULTIPART))
            answer = receive(connection)
        assert (answer.status_code, answer.headers["x-synthesis-mode"]) == (200, "zero_shot")

    @pytest.mark.parametrize("kind", ["; filename=f", ""])
    def test_too_many_parts(self, server: Server, kind: str) -> None:
        parts = (f"--cut\r\nContent-Disposition: form-data; name=p{n}{kind}\r\n\r\nx\r\n" for n in range(101))
        with connect(server) as connection:
            connection.sendall(post("".join([*parts, "--cut--\r\n"]).encode(), MULTIPART))
            assert "100" in check_error(receive(connection), 400, "malformed_form")


class TestPrompt:
    @pytest.mark.parametrize(
        ("prompt", "says"),
        [
            pytest.param(b"this is not audio", "not audio", id="text"),
            pytest.param(b"RIFF\xff\xff\xff\xffWAVEfmt ", "not audio", id="a header cut short"),
            pytest.param(b"\x00" * 100_000, "not audio", id="zeros"),
            pytest.param(b"ID3" + b"\xff" * 5000, "not audio", id="no mp3"),
            pytest.param(tone(0.99, 16_000), "0.99 s long: at least 1 s", id="short"),
            pytest.param(wav_claiming(0.5, 16_000, 80_000), "at least 1 s", id="short, claims to be long"),
            pytest.param(tone(30.01, 16_000), "longer than 30 s", id="long"),
            pytest.param(sounds.encode(np.full(9_600_000, 0.5, np.float32), 16_000, "FLAC"), "longer", id="bomb"),
            pytest.param(tone(2, 15_999), "15999 Hz: at least 16000", id="rate too low"),
            pytest.param(tone(2, 8_000), "8000 Hz", id="telephone"),
            pytest.param(tone(1, 400_000), "400000 Hz: at most", id="rate too high"),
            pytest.param(sounds.encode(np.zeros(32_000, np.float32), 16_000), "silent", id="silent"),
            pytest.param(sounds.encode(sounds.sine(2, 16_000, peak=0.003), 16_000), "silent", id="all but silent"),
            pytest.param(
                sounds.encode(np.full(32_000, np.nan, np.float32), 16_000, subtype="FLOAT"), "no numbers", id="NaN"
            ),
            pytest.param(
                sounds.encode(np.full(32_000, np.inf, np.float32), 16_000, subtype="FLOAT"), "no numbers", id="infinity"
            ),
            pytest.param(
                sounds.encode(np.full((20_000, 9), 0.5, np.float32), 16_000), "9 channels: at most 8", id="channels"
            ),
        ],
    )
    def test_unusable(self, server: Server, prompt: bytes, says: str) -> None:
        assert says in check_error(server.speak(text="hello", prompt_wav=prompt), 422, "invalid_prompt", "prompt_wav")

    @pytest.mark.parametrize(
        "prompt",
        [
            pytest.param(tone(1, 16_000), id="shortest"),
            pytest.param(tone(30, 16_000), id="longest"),
            pytest.param(tone(1, 192_000), id="highest rate"),
            pytest.param(sounds.encode(np.full((20_000, 8), 0.5, np.float32), 16_000), id="most channels"),
            pytest.param(sounds.encode(sounds.sine(2, 16_000, peak=0.004), 16_000, subtype="FLOAT"), id="quiet"),
        ],
    )
    def test_just_usable(self, server: Server, prompt: bytes) -> None:
        assert server.speak(text="hello", prompt_wav=prompt).status_code == 200

    def test_sent_as_text(self, server: Server) -> None:
        message = check_error(server.speak(text="hello", prompt_wav="./voice.wav"), 422, "invalid_field", "prompt_wav")
        assert "file" in message

    def test_empty(self, server: Server) -> None:
        check_error(server.speak(text="hello", prompt_wav=b""), 422, "invalid_field", "prompt_wav")

    def test_a_truncated_one_is_not_replaced_by_the_default(self, server: Server) -> None:
        part = b'--cut\r\nContent-Disposition: form-data; name="prompt_wav"; filename="v.wav"\r\n\r\n'
        form = GOOD_PARTS.removesuffix(b"--cut--\r\n") + part + sounds.prompt()
        with connect(server) as connection:
            connection.sendall(post(form, MULTIPART))
            check_error(receive(connection), 400, "malformed_form")

    def test_none_configured(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"defaults": {"prompt_wav": str(tmp_path / "nowhere.wav")}}) as server:
            message = check_error(server.speak(text="hello"), 422, "missing_prompt", "prompt_wav")
            assert message == "No prompt_wav provided and default file not found"
            assert server.speak(text="hello", prompt_wav=sounds.prompt()).status_code == 200


class TestApiKey:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer wrong-key"},
            {"Authorization": "Bearer first-ke"},
            {"Authorization": "Bearer"},
            {"Authorization": "Basic first-key"},
            {"Authorization": "first-key"},
            {"X-Api-Key": "wrong-key"},
            {"X-Api-Key": ""},
        ],
    )
    def test_missing_or_wrong(self, locked: Server, headers: dict[str, str]) -> None:
        for answer in (locked.speak(text="hello", headers=headers), locked.get("/model_info", headers=headers)):
            check_error(answer, 401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": "Bearer first-key"},
            {"Authorization": "bearer second-key"},
            {"X-Api-Key": "second-key"},
        ],
    )
    def test_known(self, locked: Server, headers: dict[str, str]) -> None:
        assert locked.speak(text="hello", headers=headers).status_code == 200
        assert locked.get("/model_info", headers=headers).status_code == 200

    def test_not_ascii(self, locked: Server) -> None:
        with connect(locked) as connection:
            connection.sendall(b"GET /model_info HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer \xe4\xbd\xa0\r\n\r\n")
            check_error(receive(connection, "GET"), 401, "invalid_api_key")

    @pytest.mark.parametrize("path", ["/health", "/health/live", "/health/"])
    def test_health_is_open(self, locked: Server, path: str) -> None:
        assert locked.get(path).status_code == 200

    @pytest.mark.parametrize("path", ["//health", "/health//", "/health/../model_info", "/%68ealth/x", "/nowhere"])
    def test_nothing_else_is_open(self, locked: Server, path: str) -> None:
        with connect(locked) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            check_error(receive(connection, "GET"), 401, "invalid_api_key")

    def test_a_long_upload_learns_it_before_the_end(self, locked: Server) -> None:
        with connect(locked) as connection:
            request = speech("hello").replace(b"Content-Length: 10", b"Content-Length: 1000000")
            connection.sendall(request)
            check_error(receive(connection), 401, "invalid_api_key")

    def test_keys_are_not_logged(self, locked: Server) -> None:
        locked.speak(text="hello", headers={"Authorization": "Bearer first-key"})
        assert "-key" not in locked.output()


class TestRouting:
    @pytest.mark.parametrize("path", ["/page/x", "/nowhere", "/synthesize/x", "/v1", "/v1/audio", "/%00", "/%ff"])
    def test_unknown_path(self, server: Server, path: str) -> None:
        assert "/docs" in check_error(server.get(path), 404, "not_found")

    @pytest.mark.parametrize(
        "path",
        ["/health", "/v1/models", "/v1/models/tts-1", "/v1/audio/voices", "/v1/audio/voices/default/audio"],
    )
    def test_a_slash_at_the_end_changes_nothing(self, server: Server, path: str) -> None:
        slashed = server.get(f"{path}/")
        assert (slashed.status_code, slashed.content) == (200, server.get(path).content)

    def test_a_slash_at_the_end_of_what_is_posted_to(self, server: Server) -> None:
        for path, body in (
            ("/v1/audio/speech/", {"json": {"input": "hello"}}),
            ("/synthesize/", {"data": {"text": "x"}}),
        ):
            assert httpx.post(server.url + path, **body, timeout=60).status_code == 200  # type: ignore[arg-type]
        check_error(httpx.put(f"{server.url}/synthesize/"), 405, "method_not_allowed")
        for path in ("/nowhere/", "/synthesize//"):
            check_error(httpx.post(server.url + path), 404, "not_found")

    def test_the_pages_link_leads_from_either_address(self, server: Server) -> None:
        for path in ("/docs", "/docs/"):
            link = re.findall('href="([^"]+)"', server.get(path).text)[0]
            assert httpx.get(urljoin(server.url + path, link)).json()["openapi"]

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("GET", "/synthesize", {"POST"}),
            ("PUT", "/synthesize", {"POST"}),
            ("DELETE", "/synthesize", {"POST"}),
            ("OPTIONS", "/synthesize", {"POST"}),
            ("BREW", "/synthesize", {"POST"}),
            ("GET", "/v1/audio/speech", {"POST"}),
            ("PUT", "/inference_sft", {"GET", "POST"}),
            ("POST", "/v1/models", {"GET", "HEAD"}),
            ("POST", "/health", {"GET", "HEAD"}),
            ("POST", "/model_info", {"GET", "HEAD"}),
        ],
    )
    def test_wrong_method(self, server: Server, method: str, path: str, allowed: set[str]) -> None:
        answer = httpx.request(method, server.url + path)
        message = check_error(answer, 405, "method_not_allowed")
        assert all(one in message for one in allowed)
        assert set(answer.headers["allow"].split(", ")) == allowed
