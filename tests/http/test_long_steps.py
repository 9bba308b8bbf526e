"""What would hold the event loop: refused or done elsewhere. No step takes over 50 ms of the loop thread's own time."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import sounds
from tests.http.metering import read
from tests.http.sessions import session
from tests.http.wire import MULTIPART, URLENCODED, check_error, connect, head, receive
from tests.serving import Script, Server

SPEECH, VOICES = "/v1/audio/speech", "/v1/audio/voices"
WIDE = "\ufdfa"
"""Eighteen characters when it is normalised."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("watched"), watch_steps=True) as server:
        yield server


@pytest.fixture
def watched(shared: Server) -> Iterator[Server]:
    yield shared
    shared.await_idle()
    shared.check_log()


def post(server: Server, path: str, content: bytes, kind: str) -> httpx.Response:
    return httpx.post(server.url + path, content=content, headers={"Content-Type": kind}, timeout=60)


def part(name: str, content: bytes) -> bytes:
    return f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content + b"\r\n--cut--\r\n"


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "unicode_escape"])
def test_codecs_that_are_no_charsets(watched: Server, charset: str) -> None:
    """Punycode is quadratic: 400 kB were 10 s."""
    body = part("text", b"text-" + b"a" * 400_000)
    message = check_error(post(watched, "/synthesize", body, f"{MULTIPART}; charset={charset}"), 400, "malformed_form")
    assert charset in message
    of_the_part = part("text", b"text-" + b"a" * 400_000).replace(
        b"\r\n\r\n", f"\r\nContent-Type: text/plain; charset={charset}\r\n\r\n".encode(), 1
    )
    check_error(post(watched, "/synthesize", of_the_part, MULTIPART), 400, "malformed_form")


@pytest.mark.parametrize(("charset", "text"), [("utf-8", "😀"), ("gbk", "好"), ("gb18030", "😀")])
def test_long_texts_in_charsets(watched: Server, charset: str, text: str) -> None:
    """As much as is taken at all; of which the length is told, and of more it is not."""
    kind = f"{MULTIPART}; charset={charset}"
    whole = text.encode(charset) * (1_000_000 // len(text.encode(charset)))
    check_error(post(watched, "/synthesize", part("text", whole), kind), 422, "text_too_long", "text")
    check_error(post(watched, "/synthesize", part("text", 10 * whole), kind), 422, "text_too_long", "text")


class TestNames:
    @pytest.mark.parametrize("path", ["/synthesize", "/inference_instruct2", "/inference_zero_shot"])
    def test_in_forms(self, watched: Server, path: str) -> None:
        fields = {"text": "hello", "tts_text": "hello", "voice": WIDE * 100_000}
        check_error(httpx.post(watched.url + path, data=fields), 422, "text_too_long", "voice")
        files = {"prompt_wav": ("v.wav", sounds.prompt())}
        check_error(httpx.post(watched.url + path, data=fields, files=files), 422, "text_too_long", "voice")

    def test_of_speakers(self, watched: Server) -> None:
        fields = {"tts_text": "hello", "spk_id": WIDE * 100_000}
        check_error(httpx.post(f"{watched.url}/inference_sft", data=fields), 422, "text_too_long", "spk_id")

    @pytest.mark.parametrize("escaped", [True, False])
    @pytest.mark.parametrize("voice", [WIDE * 1_000_000, {"id": WIDE * 1_000_000}])
    def test_in_json(self, watched: Server, voice: Any, escaped: bool) -> None:
        body = json.dumps({"input": "hello", "voice": voice}, ensure_ascii=escaped).encode()
        check_error(post(watched, SPEECH, body, "application/json"), 422, "text_too_long", "voice")

    def test_of_voices(self, watched: Server) -> None:
        answer = watched.post(VOICES, name=WIDE * 200_000, audio_sample=sounds.prompt())
        check_error(answer, 422, "text_too_long", "name")
        for method in ("GET", "DELETE"):
            with connect(watched) as connection:
                connection.sendall(head(f"{method} {VOICES}/{'%EF%B7%BA' * 1000} HTTP/1.1"))
                check_error(receive(connection, method), 404, "voice_not_found")

    def test_in_sessions(self, watched: Server) -> None:
        with session(watched) as client:
            client.connection.send(json.dumps({"type": "session.config", "voice": WIDE * 21_000}, ensure_ascii=False))
            (error,) = client.until("error").of("error")
            assert (error["error"]["code"], error["error"]["param"]) == ("invalid_field", "voice")


@pytest.mark.parametrize("name", ["text", "instruction", "prompt_text", "format", "speed", "seed", "prompt_wav"])
@pytest.mark.parametrize("filler", [" ", "\u3000", WIDE, "9"])
def test_every_field_of_a_form(watched: Server, name: str, filler: str) -> None:
    fields = {"text": "hello", name: filler * (900_000 // len(filler.encode()))}
    files = {"unknown": ("v.wav", b"RIFF")}
    answer = httpx.post(f"{watched.url}/synthesize", data=fields, files=files)
    code = "text_too_long" if name in {"text", "instruction", "prompt_text"} else "invalid_field"
    assert len(check_error(answer, 422, code, name)) < 200


class TestUrlencoded:
    def test_as_much_as_is_taken(self, watched: Server) -> None:
        body = b"text=" + b"%E4%BD%A0" * 116_000
        check_error(post(watched, "/synthesize", body, URLENCODED), 422, "text_too_long", "text")

    @pytest.mark.parametrize("declared", [True, False])
    def test_more(self, watched: Server, declared: bool) -> None:
        body = b"text=" + b"%E4%BD%A0" * 1_800_000
        content = body if declared else iter([body[: 1 << 20], body[1 << 20 :]])
        answer = httpx.post(f"{watched.url}/synthesize", content=content, headers={"Content-Type": URLENCODED})
        assert str(1 << 20) in check_error(answer, 413, "upload_too_large")


class TestJson:
    @pytest.mark.parametrize(
        "body",
        [
            b'{"input": "hello", "x": [' + b"1," * 6_000_000 + b"1]}",
            b'{"input": "hello"' + b',"x":1' * 2_000_000 + b"}",
            b'{"input": "hello", "x": "\\ud800", "y": ' + b"[[]," * 2_000_000 + b"1]}",
        ],
        ids=["list", "object", "nested"],
    )
    def test_many_values(self, watched: Server, body: bytes) -> None:
        check_error(post(watched, SPEECH, body, "application/json"), 400, "malformed_json")

    @pytest.mark.parametrize("text", [b"\\u597d" * 2_000_000, b"\\ud83d" * 2_000_000 + b"x" * 5000, b"x" * 12_000_000])
    def test_a_long_text(self, watched: Server, text: bytes) -> None:
        body = b'{"input": "' + text + b'"}'
        check_error(post(watched, SPEECH, body, "application/json"), 422, "text_too_long", "input")

    def test_a_long_recording(self, watched: Server) -> None:
        """Of which each letter stands alone: as a list of words it would take 300 MB."""
        body = {"input": "hello", "ref_audio": " ".join(base64.b64encode(bytes(6_000_000)).decode())}
        answer = httpx.post(watched.url + SPEECH, json=body, timeout=60)
        check_error(answer, 422, "invalid_prompt", "ref_audio")


def test_texts_of_sessions(watched: Server) -> None:
    """As much text as may wait, in clauses as short as they get, forgotten and sent again."""
    with session(watched) as client:
        for _ in range(20):
            client.send("input.text", text="你好。" * 1666)
            client.send("input.cancel")
        for _ in range(20):
            client.until("input.cancelled")


def test_the_end_of_what_was_not_begun(watched: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    script = Script(tmp_path_factory.mktemp("script"), at=1)
    with session(watched) as client:
        client.say(script.text)
        client.until_audio()
        done = json.dumps({"type": "input.done"}).encode()
        client.connection.socket.sendall((bytes([0x81, 0x80 | len(done)]) + bytes(4) + done) * 10_000)
        for _ in range(50):
            client.send("input.text", text="more. ")
        client.send("input.cancel")
        client.until("input.cancelled")


def test_many_voices_with_long_texts(watched: Server) -> None:
    texts: dict[str, Any] = {
        "ref_text": "好" * 5000,
        "instruction": "好" * 5000,
        "consent": "好" * 1000,
        "description": "好" * 1000,
    }
    for number in range(40):
        assert watched.post(VOICES, name=f"bob{number}", audio_sample=sounds.prompt(), **texts).status_code == 201
    assert len(watched.get(VOICES).json()["uploaded_voices"]) == 40


def test_what_newcomers_read(watched: Server) -> None:
    for path in ("/docs", "/openapi.json", "/", "/metrics"):
        assert watched.get(path).status_code == 200


def test_the_lag_is_told(watched: Server) -> None:
    assert read(watched, "cosyserve_event_loop_lag_seconds_count") > 0


@pytest.mark.parametrize("audio_format", ["pcm", "wav", "flac", "mp3", "opus", "aac"])
def test_what_everybody_asks_for(watched: Server, audio_format: str) -> None:
    answer = watched.speak(text="chunks=50 tone=440", format=audio_format, prompt_wav=sounds.prompt(30, 48_000))
    assert answer.status_code == 200
