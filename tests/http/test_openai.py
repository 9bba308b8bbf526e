"""OpenAI's API, mostly through the official client: what works with theirs works with this."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import numpy as np
import openai
import pytest

from cosyserve.audio.formats import AudioFormat
from tests import sounds
from tests.decoding import decode
from tests.engines import expected_pcm
from tests.http.request_lines import told
from tests.http.test_contract import request_seen
from tests.http.wire import check_error, connect, head, receive
from tests.serving import Script, Server, wait_for

SPEECH = "/v1/audio/speech"
AUDIO = sounds.prompt(seconds=2.5, rate=22_050)
MEDIA_TYPES = {
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "aac": "audio/aac",
}


def client_of(server: Server, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with client_of(server) as client:
        yield client


def post(server: Server, **fields: Any) -> httpx.Response:
    return httpx.post(server.url + SPEECH, json=fields, timeout=60)


class TestOfficialClient:
    def test_create(self, client: openai.OpenAI) -> None:
        speech = client.audio.speech.create(
            model="tts-1", voice="alloy", input="chunks=4", response_format="pcm", extra_body={"seed": 3}
        )
        assert speech.content == expected_pcm(3, 4)

    def test_streamed_as_it_is_made(self, client: openai.OpenAI, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=3, at=1)
        with client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts",
            voice="coral",
            input=script.text,
            instructions="Speak in a cheerful tone.",
            response_format="pcm",
            extra_body={"seed": 1},
        ) as answer:
            pieces = answer.iter_bytes()
            first = next(pieces)
            assert "chunk 1" not in script.events()
            script.open_gate()
            assert first + b"".join(pieces) == expected_pcm(1, 3)
        assert request_seen(script)["instruction"] == "Speak in a cheerful tone.<|endofprompt|>"

    def test_to_a_file(self, client: openai.OpenAI, tmp_path: Path) -> None:
        with client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="nova", input="hello", response_format="wav", speed=1.5
        ) as answer:
            answer.stream_to_file(tmp_path / "speech.wav")
        assert (tmp_path / "speech.wav").read_bytes().startswith(b"RIFF")

    def test_mp3_by_default(self, client: openai.OpenAI) -> None:
        speech = client.audio.speech.create(model="tts-1", voice="alloy", input="hello")
        assert speech.response.headers["content-type"] == "audio/mpeg"

    @pytest.mark.parametrize("name", AudioFormat)
    def test_formats(self, client: openai.OpenAI, name: Any) -> None:
        speech = client.audio.speech.create(model="tts-1-hd", voice="alloy", input="hello", response_format=name)
        assert speech.response.headers["content-type"] == MEDIA_TYPES[name]
        assert len(speech.content) > 200

    @pytest.mark.parametrize("name", ["pcm", "mp3"])
    def test_events(self, client: openai.OpenAI, server: Server, name: Any) -> None:
        plain = client.audio.speech.create(
            model="tts-1", voice="alloy", input="chunks=10", response_format=name, extra_body={"seed": 1}
        )
        with client.audio.speech.with_streaming_response.create(
            model="tts-1",
            voice="alloy",
            input="chunks=10",
            response_format=name,
            stream_format="sse",
            extra_body={"seed": 1},
        ) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
        *deltas, done = events
        assert {event["type"] for event in deltas} == {"speech.audio.delta"}
        assert b"".join(base64.b64decode(event["audio"]) for event in deltas) == plain.content
        usage = {"input_tokens": 9, "output_tokens": 25, "total_tokens": 34}
        assert done == {"type": "speech.audio.done", "usage": usage}

    def test_models(self, client: openai.OpenAI) -> None:
        listed = client.models.list()
        assert [model.id for model in listed] == ["scripted", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
        assert client.models.retrieve("tts-1").owned_by == "cosyserve"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("whisper-1")

    def test_open_webui_finds_the_same_names(self, client: openai.OpenAI, server: Server) -> None:
        """Its own lines, at version 0.12.4."""
        models = server.get("/v1/audio/models").json().get("models", [])
        assert [model["id"] for model in models] == [model.id for model in client.models.list()]
        voices = server.get("/v1/audio/voices").json().get("voices", [])
        assert {voice["id"]: voice["name"] for voice in voices} == {"default": "default"}

    def test_voices(self, client: openai.OpenAI, server: Server, tmp_path: Path) -> None:
        voice = client.audio.voices.create(name="Bob", audio_sample=("bob.wav", AUDIO), consent="c-1")
        assert (voice.id, voice.name, voice.type) == ("Bob", "Bob", "audio_sample")
        ways: dict[str, Any] = {"name": "Bob", "object": {"id": "Bob"}}
        for way, asked in ways.items():
            script = Script(tmp_path, way)
            client.audio.speech.create(model="tts-1", voice=asked, input=script.text, response_format="pcm")
            assert request_seen(script)["prompt_rate"] == 22_050
        assert client.audio.voices.delete("Bob").deleted


FOUND_BY = {"the front end": "👍 ...", "the engine": "refuse=0"}
"""Texts in which there is nothing to say, by who finds that out."""


@pytest.mark.parametrize("text", FOUND_BY.values(), ids=FOUND_BY)
class TestNothingToSay:
    @pytest.mark.parametrize("name", AudioFormat)
    def test_is_a_moment_of_silence(self, server: Server, text: str, name: AudioFormat) -> None:
        answer = post(server, input=text, response_format=name, sample_rate=16_000)
        assert (answer.status_code, answer.headers["x-unspeakable"]) == (200, "true")
        assert answer.headers["content-type"] == MEDIA_TYPES[name]
        assert answer.headers["x-sample-rate"] == "16000"
        if name is AudioFormat.PCM:
            assert answer.content == bytes(2 * 3_200)
        else:
            samples, rate = decode(name, answer.content, 3_200)
            assert np.abs(samples).max(initial=0) < 0.01
            assert len(samples) / rate == pytest.approx(0.2, abs=0.2)

    def test_at_the_models_rate_where_none_is_asked_for(self, server: Server, text: str) -> None:
        answer = post(server, input=text, response_format="pcm")
        assert (answer.headers["x-sample-rate"], len(answer.content)) == ("24000", 2 * 4_800)

    def test_as_events(self, server: Server, text: str) -> None:
        answer = post(server, input=text, response_format="pcm", stream_format="sse")
        assert answer.headers["content-type"] == "text/event-stream"
        audio, done = (json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: "))
        assert base64.b64decode(audio["audio"]) == bytes(2 * 4_800)
        assert done["type"] == "speech.audio.done"

    def test_the_log_tells(self, server: Server, text: str, request: pytest.FixtureRequest) -> None:
        request_id = re.sub(r"\W+", "-", request.node.name)
        httpx.post(server.url + SPEECH, json={"input": text}, headers={"X-Request-Id": request_id})
        (line,) = wait_for(lambda: told(server, request_id), "the request's line")
        assert (line["status"], line["unspeakable"], line["route"]) == (200, True, SPEECH)

    def test_the_rest_of_the_request_is_checked(self, server: Server, text: str) -> None:
        check_error(
            post(server, input=text, response_format="opus", sample_rate=22_050), 422, "invalid_field", "sample_rate"
        )


@pytest.mark.parametrize("text", FOUND_BY.values(), ids=FOUND_BY)
def test_nothing_to_say_is_an_error_where_that_is_set(strict: Server, text: str) -> None:
    check_error(post(strict, input=text), 422, "unspeakable_text", "input")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("strict"), {"speech": {"unspeakable": "error"}}) as server:
        yield server


class TestErrorsInTheClient:
    @pytest.mark.parametrize(
        ("fields", "error", "code", "param"),
        [
            ({"voice": "nobody"}, openai.UnprocessableEntityError, "unknown_voice", "voice"),
            ({"input": ""}, openai.UnprocessableEntityError, "invalid_field", "input"),
            ({"input": "x" * 4097}, openai.UnprocessableEntityError, "text_too_long", "input"),
            ({"input": " \n "}, openai.UnprocessableEntityError, "invalid_field", "input"),
            ({"speed": 9}, openai.UnprocessableEntityError, "invalid_field", "speed"),
            ({"input": "fail=0"}, openai.InternalServerError, "synthesis_failed", None),
        ],
    )
    def test_status(
        self, client: openai.OpenAI, fields: dict[str, Any], error: type[openai.APIStatusError], code: str, param: str
    ) -> None:
        with pytest.raises(error) as raised:
            client.audio.speech.create(**{"model": "tts-1", "voice": "alloy", "input": "hello", **fields})
        assert (raised.value.code, raised.value.param) == (code, param)
        assert raised.value.request_id

    def test_no_json(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            client.post("/audio/speech", body=[1, 2], cast_to=object)
        assert raised.value.code == "malformed_json"

    def test_a_wrong_key(self, tmp_path: Path) -> None:
        with (
            Server(tmp_path, {"server": {"api_keys": ["right"]}}) as server,
            client_of(server, "right") as friend,
            client_of(server, "wrong") as stranger,
        ):
            friend.audio.speech.create(model="tts-1", voice="alloy", input="hello")
            with pytest.raises(openai.AuthenticationError):
                stranger.audio.speech.create(model="tts-1", voice="alloy", input="hello")

    def test_overload(self, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        limits = {"max_concurrency": 1, "max_waiting": 0}
        with (
            Server(tmp_path, {"limits": limits}) as server,
            client_of(server) as client,
            server.stream(text=script.text) as running,
        ):
            with pytest.raises(openai.InternalServerError) as raised:
                client.audio.speech.create(model="tts-1", voice="alloy", input="hello")
            assert (raised.value.status_code, raised.value.code) == (503, "overloaded")
            script.open_gate()
            running.read()

    def test_a_stream_that_breaks(self, client: openai.OpenAI) -> None:
        with (
            client.audio.speech.with_streaming_response.create(
                model="tts-1", voice="alloy", input="chunks=3 fail=2", response_format="pcm", stream_format="sse"
            ) as answer,
            pytest.raises(httpx2.RemoteProtocolError),
        ):
            answer.read()


class TestBodies:
    @pytest.mark.parametrize("name", ["WAV", "Wav", "MP3"])
    def test_formats_in_any_case(self, server: Server, name: str) -> None:
        answer = post(server, input="hello", response_format=name)
        assert answer.headers["content-type"] == MEDIA_TYPES[name.lower()]

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("text/plain", b'{"input": "hello"}'),
            ("application/x-www-form-urlencoded", b"input=hello"),
            ("application/json", b""),
            ("application/json", b'{"input": "hello"'),
        ],
    )
    def test_no_json(self, server: Server, content_type: str, body: bytes) -> None:
        answer = httpx.post(server.url + SPEECH, content=body, headers={"Content-Type": content_type})
        check_error(answer, 400, "malformed_json")

    def test_a_charset_is_no_harm(self, server: Server) -> None:
        headers = {"Content-Type": "Application/JSON; charset=utf-8"}
        body = json.dumps({"input": "你好", "response_format": "pcm"}, ensure_ascii=False).encode()
        assert httpx.post(server.url + SPEECH, content=body, headers=headers).status_code == 200

    def test_too_large(self, server: Server) -> None:
        check_error(post(server, input="hello", ref_audio="x" * 4_000_000), 413, "upload_too_large")

    def test_one_that_stops(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"server": {"client_stall_timeout_s": 0.5}}) as server, connect(server) as connection:
            request = head(f"POST {SPEECH} HTTP/1.1", Content_Type="application/json", Content_Length="100")
            connection.sendall(request + b'{"input":')
            check_error(receive(connection), 408, "upload_stalled")


class TestRecordings:
    @pytest.mark.parametrize("prefix", ["", "data:audio/wav;base64,"])
    @pytest.mark.parametrize(("text", "mode"), [("", "cross_lingual"), ("希望你以后", "zero_shot")])
    def test_speak_with_them(self, server: Server, tmp_path: Path, prefix: str, text: str, mode: str) -> None:
        script = Script(tmp_path)
        audio = prefix + base64.b64encode(AUDIO).decode()
        answer = post(server, input=script.text, voice="alloy", ref_audio=audio, ref_text=text, response_format="pcm")
        assert (answer.status_code, answer.headers["x-synthesis-mode"]) == (200, mode)
        seen = request_seen(script)
        assert (seen["prompt_rate"], seen["prompt_text"]) == (22_050, text)

    def test_what_is_no_recording(self, server: Server) -> None:
        answer = post(server, input="hello", ref_audio=base64.b64encode(b"junk").decode())
        check_error(answer, 422, "invalid_prompt", "ref_audio")

    def test_nothing_is_fetched(self, server: Server) -> None:
        answer = post(server, input="hello", ref_audio=f"{server.url}/v1/audio/voices/default/audio")
        assert "not fetched" in check_error(answer, 422, "invalid_field", "ref_audio")
